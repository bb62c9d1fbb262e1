"""Method api against a small server of the test: what is asked, what is kept, and what can go wrong."""

import json
import logging
import socket
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from inference.core import (
    ApiBudgetError,
    ApiError,
    Conversation,
    Endpoint,
    LimitError,
    Problem,
    ReasoningError,
    ReasonSettings,
    explain_api,
)
from inference.core import conversation as calls
from inference.core.api import api_provenance
from inference.core.examples import EXAMPLES
from inference.core.reasoning import messages
from inference.tests.chat_server import CHAIN, WHY, Reply, chat_server, completion

KEY = "sk-very-secret-1234567890"
PROBLEM = Problem("What is 3 + 4?", ("7", "6", "8"))
GREEDY = ReasonSettings()
MIDNIGHT = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def server():
    with chat_server() as server:
        yield server


@pytest.fixture
def endpoint(server):
    return Endpoint(server.url, KEY, retries=0, timeout=5)


def run(endpoint, settings=GREEDY):
    return explain_api(Conversation(endpoint, "small"), PROBLEM, settings)


# -- what is asked and kept ----------------------------------------------------------------------------------------


def test_the_problem_is_posed_as_to_a_local_model_and_the_reason_asked_for_in_the_same_chat(server, endpoint):
    made = run(endpoint)
    first, second = (body["messages"] for body in server.bodies)
    assert first == messages(PROBLEM)
    assert second[: len(first)] == first
    assert second[len(first) :] == [
        {"role": "assistant", "content": CHAIN.format("7")},
        {"role": "user", "content": "Why did you choose “7”? Explain it in two or three sentences."},
    ]
    assert {body["path"] for body in server.bodies} == {"/v1/chat/completions"}
    assert (made.text("chain"), made.text("explanation")) == (CHAIN.format("7"), WHY)


def test_the_trace_has_text_steps_and_answer_and_claims_nothing_else(endpoint):
    trace = run(endpoint).trace
    assert (trace.answer.index, trace.answer.text, trace.answer.read_by) == (0, "7", "stated value")
    assert [trace.chain[step.char_start : step.char_end] for step in trace.steps] == [
        step.text for step in trace.steps
    ]
    assert [step.text for step in trace.steps] == ["Step 1: Think of it.", "Step 2: 3.5 is not it.", "Answer: 7"]
    assert (trace.prompt, trace.prompt_ids, trace.tokens) == ("", (), ())
    assert type(trace).from_json(json.loads(json.dumps(trace.to_json()))) == trace


@pytest.mark.parametrize(("seed", "sampled"), [(0, False), (5, True)])
def test_the_chain_is_sampled_by_its_seed_and_the_explanation_is_greedy(server, endpoint, seed, sampled):
    run(endpoint, ReasonSettings(max_new_tokens=99, seed=seed))
    chain, why = (
        {name: value for name, value in body.items() if name not in ("messages", "path")} for body in server.bodies
    )
    greedy = {"model": "small", "max_tokens": 99, "seed": 0, "temperature": 0.0}
    assert why == greedy
    assert chain == (greedy | {"seed": 5, "temperature": 0.7, "top_p": 0.95} if sampled else greedy)


def test_only_what_the_server_takes_is_sent(server, endpoint):
    run(replace(endpoint, sends=("max_completion_tokens",)), ReasonSettings(seed=3))
    assert set(server.bodies[0]) == {"path", "messages", "model", "max_completion_tokens"}


def test_the_transcript_tells_all_that_went_over_the_line(server, endpoint):
    ticks = iter(MIDNIGHT + timedelta(seconds=second) for second in (0, 2, 10, 13))
    conversation = Conversation(endpoint, "small", clock=lambda: next(ticks))
    explain_api(conversation, PROBLEM, ReasonSettings())
    told = json.loads(json.dumps(api_provenance(conversation)))
    assert (told["model"], told["api_url"]) == ("small", server.url)
    chain, why = told["transcript"]
    assert chain["messages"] == server.bodies[0]["messages"]
    assert chain["parameters"] == {"model": "small", "max_tokens": 160, "seed": 0, "temperature": 0.0}
    assert (chain["text"], chain["finish_reason"], chain["model"]) == (CHAIN.format("7"), "stop", "small@today")
    assert chain["usage"] == {"prompt_tokens": 300, "completion_tokens": 40, "total_tokens": 340}
    assert (chain["at"], chain["seconds"]) == ("2026-01-01T00:00:00+00:00", 2.0)
    assert (why["text"], why["at"], why["seconds"]) == (WHY, "2026-01-01T00:00:10+00:00", 3.0)
    assert chain["logprobs"] is None


def test_log_probabilities_and_reasoning_are_kept_where_the_server_gives_them(server, endpoint):
    with_more = completion("Answer: 7", reasoning_content="Hm.")
    with_more["choices"][0]["logprobs"] = {"content": [{"token": "An", "logprob": -0.5, "bytes": [1]}]}
    server.scripted = [Reply(with_more)]
    conversation = Conversation(replace(endpoint, sends=("max_tokens", "logprobs")), "small")
    made = explain_api(conversation, PROBLEM, ReasonSettings())
    assert server.bodies[0]["logprobs"] is True
    assert conversation.exchanges[0].logprobs == ({"token": "An", "logprob": -0.5},)
    assert conversation.exchanges[0].reasoning == "Hm."
    assert made.trace.chain == "Answer: 7"


def test_a_server_without_a_key_is_asked_all_the_same(server):
    assert run(Endpoint(server.url)).explanation == WHY


# -- the key -------------------------------------------------------------------------------------------------------


def test_the_key_is_sent_and_is_in_nothing_that_is_kept_or_said(server, endpoint, caplog):
    caplog.set_level(logging.DEBUG)
    conversation = Conversation(endpoint, "small")
    explain_api(conversation, PROBLEM, ReasonSettings())
    assert {headers["authorization"] for headers in server.headers} == {f"Bearer {KEY}"}
    server.scripted = [Reply({"error": f"Incorrect key {KEY}"}, 401), Reply("x" * 390 + KEY), Reply({"choices": KEY})]
    said = []
    for _ in range(3):
        with pytest.raises(ApiError) as refused:
            explain_api(conversation, PROBLEM, ReasonSettings())
        said += [str(refused.value), repr(refused.value.__cause__)]
    kept = json.dumps(api_provenance(conversation))
    assert caplog.text
    for text in (kept, *said, caplog.text, repr(endpoint), repr(vars(conversation))):
        assert KEY not in text
        assert KEY[:12] not in text


@pytest.mark.parametrize(
    ("key", "form"), [(KEY, str), ("sk/with/slashes", lambda key: key.replace("/", r"\/")), ('sk"quote', None)]
)
@pytest.mark.parametrize(
    "said",
    [
        {"text": "You are {}. Answer: 7"},
        {"text": "Answer: 7", "reasoning": "Of {}"},
        {"text": None, "refusal": "{}!"},
    ],
)
def test_a_server_that_repeats_the_key_gets_it_neither_into_transcript_nor_error(server, key, form, said):
    body = completion(**{name: value and value.format(key) for name, value in said.items()})
    body["choices"][0]["logprobs"] = {"content": [{"token": token, "logprob": -1.0} for token in key]}
    body["usage"][key] = key
    server.scripted = [Reply(form(json.dumps(body)) if form else body)]
    conversation = Conversation(Endpoint(server.url, key, retries=0), "small")
    error = ""
    try:
        explain_api(conversation, PROBLEM, GREEDY)
    except ReasoningError as refused:
        error = str(refused)
    kept = api_provenance(conversation)["transcript"]
    told = "".join(token["token"] for token in kept[0].pop("logprobs") or ())
    assert key not in error
    assert json.dumps(key)[1:-1] not in json.dumps(kept)
    assert "(the key)" in json.dumps(kept) + error
    assert key not in told or "{}" not in (said["text"] or "")


def test_a_stand_in_for_a_key_may_be_a_word_of_the_chain(server):
    server.scripted = [Reply(completion("The box is EMPTY. Answer: 7"))]
    assert run(Endpoint(server.url, "EMPTY")).trace.chain == "The box is EMPTY. Answer: 7"


def test_what_the_environment_has_for_another_server_is_not_sent(server, endpoint, monkeypatch):
    monkeypatch.setenv("OPENAI_ORG_ID", "org-private")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "proj-private")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-another")
    run(endpoint)
    run(replace(endpoint, key=""))
    assert server.headers
    assert not [value for headers in server.headers for value in headers.values() if "private" in value]
    assert "sk-another" not in json.dumps(server.headers)


@pytest.mark.parametrize("key", ["two words", "line\n", "schlüssel"])
def test_a_key_that_no_header_can_carry_is_refused_unquoted(server, key):
    with pytest.raises(ValueError, match="SAGE_API_KEY has") as refused:
        Endpoint(server.url, key)
    assert key not in str(refused.value)


# -- budget --------------------------------------------------------------------------------------------------------


def test_no_call_is_made_that_could_exceed_the_budget(server, endpoint):
    with pytest.raises(
        ApiBudgetError, match=r"The chain may take \d+ tokens.* of the 600 .* 0 are spent.*SAGE_API_BUDGET"
    ):
        run(replace(endpoint, budget=600))
    assert not server.bodies
    assert issubclass(ApiBudgetError, LimitError), "no other seed mends it"


def test_the_budget_counts_what_the_server_used(server, endpoint):
    bound = calls.longest(messages(PROBLEM)) + 160
    server.scripted = [Reply(completion("Answer: 7", usage=(bound, 2000)))]
    conversation = Conversation(replace(endpoint, budget=bound + 2100), "small")
    with pytest.raises(ApiBudgetError, match=f"The explanation .* {bound + 2000} are spent"):
        explain_api(conversation, PROBLEM, ReasonSettings())
    assert len(server.bodies) == len(conversation.exchanges) == 1


@pytest.mark.parametrize("usage", [None, ("many", "more"), (-9000, 1)])
def test_where_usage_is_not_told_the_most_is_counted(server, endpoint, usage):
    body = completion("Answer: 7", usage=None)
    body["usage"] = dict(zip(("prompt_tokens", "completion_tokens"), usage, strict=True)) if usage else None
    server.scripted = [Reply(body)]
    conversation = Conversation(endpoint, "small")
    conversation.ask("It", messages(PROBLEM), ReasonSettings(), lambda: None)
    assert conversation.spent == calls.longest(messages(PROBLEM)) + 160


def test_the_bound_of_a_prompt_holds_for_the_standard_tokenizer(model):
    turns = messages(PROBLEM)
    assert len(model.encode_chat(turns)[1]) <= calls.longest(turns)
    assert calls.longest(turns) > sum(len(chain) for _, chain in EXAMPLES)


def test_what_was_spent_before_a_retry_counts(server, endpoint):
    first = Conversation(endpoint, "small")
    explain_api(first, PROBLEM, GREEDY)
    unmeasured = api_provenance(first)["transcript"][:1]
    unmeasured[0]["usage"] = None
    for earlier, spent in (
        (api_provenance(first)["transcript"], 680),
        (unmeasured, calls.longest(messages(PROBLEM)) + 160),
    ):
        again = Conversation(replace(endpoint, budget=spent + 100), "small", earlier=earlier)
        with pytest.raises(ApiBudgetError, match=f" {spent} are spent"):
            explain_api(again, PROBLEM, GREEDY)
        assert api_provenance(again)["transcript"] == earlier


def test_a_text_about_nul_is_no_nul(server, endpoint):
    server.scripted = [Reply(completion(r"It is \u0000. Answer: 7"))]
    assert run(endpoint).trace.chain == r"It is \u0000. Answer: 7"


# -- what a retry mends --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_what_passes_is_tried_again(server, endpoint, status):
    server.scripted = [Reply({"error": "busy"}, status, {"Retry-After": "0.01"})] * 2
    assert run(replace(endpoint, retries=2)).explanation == WHY
    assert len(server.bodies) == 4


def test_a_silent_server_is_tried_again(server, endpoint):
    server.scripted = [Reply(completion("Answer: 7"), delay=1.5)]
    assert run(replace(endpoint, retries=1, timeout=1)).trace.answer.text == "7"
    assert len(server.bodies) == 3


def test_after_the_last_retry_it_says_what_was_asked_and_what_came(server, endpoint):
    server.scripted = [Reply({"error": "too busy"}, 429, {"Retry-After": "0.01"})] * 2
    conversation = Conversation(replace(endpoint, retries=1), "small")
    with pytest.raises(
        ApiError,
        match=f"The chain .* 'small' at {server.url}/chat/completions; it answered 429: .*too busy.* 2 tries",
    ):
        explain_api(conversation, PROBLEM, ReasonSettings())
    assert conversation.exchanges == []


def test_progress_is_told_while_a_call_is_under_way_and_may_stop_it(server, endpoint, monkeypatch):
    class StopError(Exception):
        pass

    def progress(stage, share):
        stages.append(stage)
        if len(stages) == 3:
            raise StopError

    stages = []
    monkeypatch.setattr(calls, "TICK", 0.05)
    server.scripted = [Reply(completion("Answer: 7"), delay=1)]
    conversation = Conversation(endpoint, "small")
    with pytest.raises(StopError):
        explain_api(conversation, PROBLEM, ReasonSettings(), progress)
    assert stages == ["The server is thinking"] * 3
    assert conversation.exchanges == []


# -- what cannot be mended -----------------------------------------------------------------------------------------


def test_no_server_at_the_address():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
        with pytest.raises(ApiError, match=r"could not be reached in 1 try: .*refused.* Check SAGE_API_URL"):
            run(Endpoint(url, retries=0))


def test_a_server_that_stays_silent(server, endpoint):
    server.scripted = [Reply(completion("Answer: 7"), delay=1.5)]
    with pytest.raises(ApiError, match=r"nothing was heard for 1 seconds in any of 1 try.*SAGE_API_TIMEOUT"):
        run(replace(endpoint, timeout=1))


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (Reply({"error": {"message": "bad key"}}, 401), "answered 401: .*bad key.*Check SAGE_API_KEY"),
        (Reply({"error": "not yours"}, 403), "answered 403: .*not yours.*Check SAGE_API_KEY"),
        (Reply({"error": "no model small"}, 404), "answered 404: .*no model small.*Check the model's name"),
        (Reply({"detail": "Unsupported: seed"}, 422), "answered 422: .*Unsupported: seed.*SAGE_API_SENDS"),
        (Reply("{not json"), "something that is no sound JSON: '{not json'.*OpenAI's chat protocol"),
        (Reply(completion("Answer: 7\0")), "no sound JSON: .*Answer: 7"),
        (Reply(completion("Answer: 7\ud800")), "no sound JSON: .*Answer: 7"),
        (Reply("<html>", headers={"Content-Type": "text/html"}), "no sound JSON: '<html>'"),
        (Reply('{"x": NaN}'), "no sound JSON"),
        (Reply('{"choices": [], "usage": {"prompt_tokens": 1e999}}'), "no sound JSON"),
        (Reply("[" * 100_000 + "]" * 100_000), "no sound JSON"),
        (Reply('{"usage": ' + "[" * 60 + "]" * 60 + "}"), "no sound JSON"),
        (Reply({"choices": []}), "without a choice: .*choices.*OpenAI's chat protocol"),
        (Reply([1]), r"without a choice: '\[1\]'"),
    ],
)
def test_a_server_that_cannot_be_used(server, endpoint, reply, words):
    server.scripted = [reply]
    with pytest.raises(ApiError, match=words) as refused:
        run(endpoint)
    assert f"model 'small' at {server.url}/chat/completions" in str(refused.value)
    assert len(server.bodies) == 1, "nothing is asked twice in vain"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (completion("Step 1: So", "length"), "cut off after 160 tokens: 'Step 1: So'. Allow a longer chain"),
        (completion("", "content_filter"), "withheld by the server's content filter or refused"),
        (completion(None, refusal="I will not."), "refused: 'I will not.'"),
        (
            completion(None, "tool_calls", tool_calls=[{"id": "1"}]),
            "did not come as a text.*'tool_calls'.*tool_calls",
        ),
        (completion([{"type": "image"}]), "did not come as a text.*image"),
        (completion("Answer: 7", None), "did not come as a text that has ended"),
        (completion("  \n"), "came back empty"),
        (completion("Answer: 12"), "No option can be read.*'Answer: 12'"),
    ],
)
def test_a_reply_that_cannot_be_used_is_quoted_and_stays_in_the_transcript(server, endpoint, body, words):
    server.scripted = [Reply(body)]
    conversation = Conversation(endpoint, "small")
    with pytest.raises(ReasoningError, match=words):
        explain_api(conversation, PROBLEM, ReasonSettings())
    assert len(conversation.exchanges) == len(server.bodies) == 1


def test_an_explanation_that_was_cut_off_is_no_explanation(server, endpoint):
    server.scripted = [Reply(completion("Answer: 7")), Reply(completion("Because it", "length"))]
    with pytest.raises(ReasoningError, match="The explanation was cut off after 160 tokens: 'Because it'"):
        run(endpoint)


# -- where it is ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("", "SAGE_API_URL is not set; give the server's base address"),
        ("ftp://host/v1", "'ftp://host/v1'; give"),
        ("host:8000/v1", "give the server's base address"),
        ("http://host:port/v1", "give the server's base address"),
        ("https://user:word@host/v1", "put the key into SAGE_API_KEY"),
        ("https://host/v1?key=word", "put the key into SAGE_API_KEY"),
    ],
)
def test_an_address_that_cannot_be(url, words):
    with pytest.raises(ValueError, match=words) as refused:
        Endpoint(url)
    assert "word" not in str(refused.value).replace("password", "")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"sends": ()}, "allowed is one of max_tokens, max_completion_tokens, and any of seed"),
        ({"sends": ("max_tokens", "max_completion_tokens")}, "allowed is one of"),
        ({"sends": ("max_tokens", "stop")}, "SAGE_API_SENDS is 'max_tokens,stop'"),
        ({"timeout": 0}, "SAGE_API_TIMEOUT is 0; allowed is 1 to 600"),
        ({"retries": 11}, "SAGE_API_RETRIES is 11; allowed is 0 to 10"),
        ({"budget": 9}, "SAGE_API_BUDGET is 9; allowed is 256"),
    ],
)
def test_settings_that_cannot_be(change, words):
    with pytest.raises(ValueError, match=words):
        Endpoint("http://host/v1", **change)


def test_an_endpoint_is_what_the_environment_says():
    said = {"SAGE_API_URL": "http://a/v1", "SAGE_API_KEY": "k", "SAGE_API_SENDS": "max_completion_tokens, seed"}
    said |= {"SAGE_API_TIMEOUT": "7", "SAGE_API_RETRIES": "1", "SAGE_API_BUDGET": "999"}
    made = Endpoint("http://a/v1", "k", ("max_completion_tokens", "seed"), 7.0, 1, 999)
    assert Endpoint.from_environment(said) == made
    assert Endpoint.from_environment(said, "http://b/v1").url == "http://b/v1"
    assert Endpoint.from_environment({"SAGE_API_URL": "http://a/v1", "SAGE_API_SENDS": ""}) == Endpoint("http://a/v1")
    with pytest.raises(ValueError, match="SAGE_API_RETRIES is 'many'; a number is needed"):
        Endpoint.from_environment({"SAGE_API_URL": "http://a/v1", "SAGE_API_RETRIES": "many"})
