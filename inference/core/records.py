"""What the stages hand to each other: frozen dataclasses that turn into JSON and back, and know no torch.

Lengths: T tokens in the chain, S steps, P options. Offsets are half-open [start, end).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

Progress = Callable[[str, float], None]
"""Called with what is being done now and the share of it that is done, 0 to 1. May raise to stop the work."""


class ReasoningError(Exception):
    """The model's own output cannot be used (an empty chain, no readable answer). Says what it wrote."""


ASKS = ("choice", "number", "free")
"""What a problem may ask for: one of its options, a number, or a short text in the model's own words."""


@dataclass(frozen=True)
class Problem:
    """`asks` is one of ASKS. A choice has at least 2 options, none blank and none there twice; the others have none.

    Raises ValueError otherwise.
    """

    question: str
    options: tuple[str, ...] = ()
    asks: str = "choice"

    def __post_init__(self) -> None:
        if self.asks not in ASKS:
            raise ValueError(f"asks is {self.asks!r}; allowed are {', '.join(ASKS)}")
        if self.asks == "choice" and len(self.options) < 2:
            raise ValueError(
                f"a choice has {len(self.options)} options; give at least 2, or ask for a number or free"
            )
        if self.asks != "choice" and self.options:
            raise ValueError(f"a problem that asks for {self.asks!r} has {len(self.options)} options; give none")
        for index, option in enumerate(self.options):
            if not option.strip() or option in self.options[:index]:
                raise ValueError(f"option {index + 1} is {option!r}; an option has words, and none is there twice")


@dataclass(frozen=True)
class ReasonSettings:
    """`seed` 0 decodes greedily; any other seed samples at `temperature` and `top_p`.

    Raises ValueError for what `check_sampling` refuses.
    """

    max_new_tokens: int = 160
    seed: int = 0
    temperature: float = 0.7
    top_p: float = 0.95

    def __post_init__(self) -> None:
        check_sampling(self.max_new_tokens, self.temperature, self.top_p, self.seed)

    @property
    def greedy(self) -> bool:
        """Whether each token is the likeliest one, and none is drawn."""
        return self.seed == 0 or self.temperature == 0


def check_sampling(max_new_tokens: int, temperature: float, top_p: float, seed: int) -> None:
    """Raises ValueError for settings with which nothing could be drawn, or nothing that follows the model."""
    if max_new_tokens < 1:
        raise ValueError(f"max_new_tokens is {max_new_tokens}; give at least 1")
    if not 0 <= temperature < float("inf"):
        raise ValueError(f"temperature is {temperature}; allowed is 0 (greedy) or more, and finite")
    if not 0 < top_p <= 1:
        raise ValueError(f"top_p is {top_p}; allowed is above 0, and at most 1")
    if seed < 0:
        raise ValueError(f"seed is {seed}; allowed is 0 or more")


@dataclass(frozen=True)
class Token:
    """`logprob` and `entropy` (nats) are of the model's next-token distribution where this token was chosen."""

    id: int
    text: str
    logprob: float
    entropy: float


@dataclass(frozen=True)
class Step:
    """A sentence-sized span. Characters count from the start of the chain, tokens from its first token."""

    index: int
    text: str
    char_start: int
    char_end: int
    token_start: int
    token_end: int


@dataclass(frozen=True)
class Answer:
    """`index` into the options, None for a problem without. `read_by` says how it was read.

    Of a choice by "stated value", "number", "letter", "word overlap" or, where the chain states none of the options,
    "likelihood" (see likelihood.py); else by "stated number" or "stated text".
    """

    index: int | None
    text: str
    read_by: str


@dataclass(frozen=True)
class Trace:
    """One forward run. `chain` excludes the end-of-turn token. The last step may be the one stating the answer.

    The model wrote the tokens before `forced_from` by itself; from there on the answer was put behind them, because
    they state none. None: it wrote all of them.
    """

    problem: Problem
    prompt: str
    prompt_ids: tuple[int, ...]
    chain: str
    tokens: tuple[Token, ...]
    steps: tuple[Step, ...]
    answer: Answer
    settings: ReasonSettings
    forced_from: int | None = None

    @property
    def written(self) -> str:
        """The part of the chain that the model wrote by itself."""
        if self.forced_from is None:
            return self.chain
        return "".join(token.text for token in self.tokens[: self.forced_from]).rstrip()

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Trace:
        return cls(
            problem=Problem(**data["problem"] | {"options": tuple(data["problem"]["options"])}),
            prompt=data["prompt"],
            prompt_ids=tuple(data["prompt_ids"]),
            chain=data["chain"],
            tokens=tuple(Token(**token) for token in data["tokens"]),
            steps=tuple(Step(**step) for step in data["steps"]),
            answer=Answer(**data["answer"]),
            settings=ReasonSettings(**data["settings"]),
            forced_from=data.get("forced_from"),
        )


@dataclass(frozen=True)
class StepSignals:
    """Cheap numbers of one step. They propose where to look; none of them is evidence that a step mattered."""

    inverse_flow: float  # share of the answer's attention that lands here, followed back; steps sum to 1
    fork_entropy: float  # highest entropy (nats) among the step's first tokens
    mean_entropy: float  # nats
    position: float  # 0 first step, 1 last
    length: int  # tokens
    # None: stored before these were measured, or the model cannot be probed.
    position_flow: float | None = None  # inverse_flow of a model that attends alike to all it sees: its baseline
    answer_margin: float | None = None  # before the step, the best option's probability minus the second's
    trajectory_shift: float | None = None  # how far the step moved the options' distribution, nats, 0 to ln 2
    suppression: float | None = None  # what the answer's log-probability loses when it may not look here, nats
    by_position: dict[str, float] | None = None  # other signals as the step's place alone gives them (position.py)
    learned_flow: float | None = None  # inverse_flow by the head's own mixing of layers and heads, if it learned one


@dataclass(frozen=True)
class Alternative:
    """One group of other continuations at a step: how many resamples, an example, and where they ended."""

    example: str
    count: int
    answers: dict[str, int]  # answer -> count; "" counts rollouts whose answer could not be read


@dataclass(frozen=True)
class StepTest:
    """The causal test of one step by on-policy resampling. See docs/inverse-reasoning.md for the formulas."""

    step: int
    rollouts: int
    different: int  # how many replaced the step by something else
    kept_answers: dict[str, int]  # of the trace, of as many resamples from after the step, of similar replacements
    different_answers: dict[str, int]
    effect: float | None  # KL(p(y|different) || p(y|kept)), nats, Laplace-smoothed; None without answers to compare
    effect_interval: tuple[float, float] | None  # bootstrap 95 % interval of `excess`
    p_value: float | None  # permutation test of the same effect
    confirmed: bool
    alternatives: tuple[Alternative, ...]
    excess: float | None = None  # effect minus its mean over random regroupings, nats; may be negative
    verdict: str = ""  # "confirmed", "not confirmed", or "untested": see effect.verdict; "" in schema 1
    # Since schema 3. `rollouts` are those that were drawn, which may be fewer than planned.
    planned: int | None = None
    level: float = 0.05  # what p_value had to stay within to confirm: the part of 5 % that this look could spend
    stopped: str = ""  # "confirmed early", "futile" (given up by its trend), "all drawn" or "budget"; see looks.py


@dataclass(frozen=True)
class StepEstimate:
    """What a head expects of a step, without any rollout. It chooses what is tested; it is never a finding.

    `effect`: expected effect beyond chance (`StepTest.excess`), nats, at least 0. `decision_point`: probability, 0 to
    1, that a test confirms the step. None for what the head did not learn.
    """

    effect: float | None
    decision_point: float | None


@dataclass(frozen=True)
class Source:
    """`share` of the attention of a step, followed back, that lands on the earlier `step`; earlier ones sum to 1."""

    step: int
    share: float


@dataclass(frozen=True)
class Confidences:
    """Three that are easily confused, each 0 to 1, None where nothing tells it. None of them says what is right.

    `answer`: share of the samples at this step that come to the trace's answer. `step`: share of its replacements
    that stay similar to it. `claim`: the head's, that a fresh test of the same size would come to the same verdict.
    """

    answer: float | None
    step: float | None
    claim: float | None = None


@dataclass(frozen=True)
class StepEvidence:
    """What stands beside the causal test of a step. `role` is one of `roles.ROLES`; `quotation` are its own words."""

    step: int
    role: str
    quotation: str
    rested_on: tuple[Source, ...]  # the earlier steps with the largest shares, largest first; empty for the first
    confidence: Confidences


@dataclass(frozen=True)
class Claim:
    """One sentence of an explanation, and where in the record it stands.

    `pointers` are JSON pointers (RFC 6901) into the record, such as /tests/0/alternatives/1. A sentence is accepted
    with pointers and without a reason, or rejected with a reason and without pointers.
    """

    sentence: str
    pointers: tuple[str, ...]
    reason: str = ""

    @property
    def accepted(self) -> bool:
        return not self.reason


@dataclass(frozen=True)
class Draft:
    """One text that was written, candidate or not, and how many of its sentences the record supports or not.

    `failed` says why the model could write nothing at all.
    """

    style: str
    accepted: int
    rejected: int
    failed: str = ""


@dataclass(frozen=True)
class EvidenceRecord:
    """Everything measured about a trace: the only thing that an explanation may claim from.

    `claims` are the sentences of the explanation that was made from it, `rejected` how many more were written and
    left out. `writer` is whose text was chosen, "templates" or "model"; `drafts` are all texts that were written.
    `estimates` are a head's guesses, one for each step. `schema` 1 had neither claims nor findings; 3 has what stands
    with a default after `rejected` here, and with a default of None in what it is made of.
    """

    question: str
    answer: str
    steps: tuple[str, ...]
    signals: tuple[StepSignals, ...]
    # "signals" (likely × mattered) or "fork entropy" (the model cannot be probed), with " and the flow of head vN"
    # where it mixes; "head vN" where it learned of steps
    ranked_by: str
    step_scores: tuple[float, ...]
    tests: tuple[StepTest, ...]
    schema: int = 3
    settings: dict[str, Any] = field(default_factory=dict)
    findings: tuple[StepEvidence, ...] = ()  # one for each of `tests`, in the same order
    claims: tuple[Claim, ...] = ()
    over_budget: tuple[int, ...] = ()  # steps that were to be tested, had any of their rollouts fitted the budget
    rejected: int = 0
    read_by: str = ""  # how the answer was read (see Answer); "likelihood": it was put behind the chain, as last step
    estimates: tuple[StepEstimate, ...] = ()  # of the head that ranked the steps; empty without one
    writer: str = ""
    drafts: tuple[Draft, ...] = ()

    @property
    def decision_points(self) -> tuple[StepTest, ...]:
        return tuple(test for test in self.tests if test.confirmed)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> EvidenceRecord:
        """Reads schemas 1 and 2 as well: what they lacked stays empty. Raises ValueError for a later schema."""
        if data.get("schema", 1) > cls.schema:
            raise ValueError(
                f"the evidence record has schema {data['schema']}; this version reads up to {cls.schema}"
            )
        read = {
            "steps": tuple(data["steps"]),
            "signals": tuple(StepSignals(**signal) for signal in data["signals"]),
            "step_scores": tuple(data["step_scores"]),
            "over_budget": tuple(data.get("over_budget", ())),
            "estimates": tuple(StepEstimate(**estimate) for estimate in data.get("estimates", ())),
            "tests": tuple(step_test(test) for test in data["tests"]),
            "drafts": tuple(Draft(**draft) for draft in data.get("drafts", ())),
            "findings": tuple(step_evidence(finding) for finding in data.get("findings", ())),
            "claims": tuple(
                Claim(**claim | {"pointers": tuple(claim["pointers"])}) for claim in data.get("claims", ())
            ),
        }
        return cls(**data | read)


def step_test(data: dict[str, Any]) -> StepTest:
    interval = data["effect_interval"]
    return StepTest(
        **data
        | {
            "effect_interval": None if interval is None else (interval[0], interval[1]),
            "alternatives": tuple(Alternative(**other) for other in data["alternatives"]),
        }
    )


def step_evidence(data: dict[str, Any]) -> StepEvidence:
    rested_on = tuple(Source(**source) for source in data["rested_on"])
    return StepEvidence(**data | {"rested_on": rested_on, "confidence": Confidences(**data["confidence"])})


@dataclass(frozen=True)
class Candidate:
    """One text that could become the explanation. `score` is the head's, None when the head is untrained.

    `rejected` counts the sentences that were written and left out because the record does not support them.
    """

    text: str
    style: str
    score: float | None = None
    rejected: int = 0
