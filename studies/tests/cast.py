"""The cast of the studies' tests: a launched study with its explanations written as rows, so no model is needed."""

from __future__ import annotations

from itertools import combinations
from typing import Any

from django.contrib.auth.models import Permission, User
from django.utils import timezone

from inference.models import Explainer, Explanation, Problem, ProblemSet, Trace
from studies.models import Arm, Comparison, Study

QUESTIONS = (
    (
        "maths",
        "A train leaves at 9:40 and arrives at 11:05. How long is the journey?",
        ("65 min", "85 min", "95 min"),
    ),
    ("logic", "All birds in the hall are red. Kim's bird is blue. Is it in the hall?", ("yes", "no", "cannot say")),
    ("commonsense", "Where would you keep milk so that it lasts?", ("a shelf", "a fridge", "a window sill")),
    ("ethics", "You find a wallet with money and an address. What do you do?", ("keep it", "send it back")),
)
STEPS = (
    "Step 1: Read what is asked and note what is given.",
    "Step 2: From what is given, only one option can still be true.",
    "Step 3: So the answer is the second option.",
)
TEXTS = {
    "inverse": "The answer hangs on step 2.\n\nWhen that step was written anew, 4 of 6 runs ended with another "
    "answer; leaving out step 1 changed nothing.",
    "chain": "Step 1: Read what is asked and note what is given.\nStep 2: From what is given, only one option can "
    "still be true.\nStep 3: So the answer is the second option.",
    "self_explain": "I chose this because it fits the question best and the other options do not.",
}


def make_problem_set(problems: int = 4, slug: str = "small") -> ProblemSet:
    problem_set = ProblemSet.objects.create(slug=slug, name="Small set")
    for position in range(problems):
        kind, question, options = QUESTIONS[position % len(QUESTIONS)]
        Problem.objects.create(
            problem_set=problem_set,
            key=f"p{position}",
            position=position,
            kind=kind,
            question=question,
            options=list(options),
            gold=1,
        )
    return problem_set


def make_trace(problem: Problem, made: bool = True) -> Trace:
    trace = Trace(problem=problem, model="standin", max_new_tokens=160)
    if made:
        trace.made_at = timezone.now()
        trace.chain = "\n".join(STEPS)
        trace.answer_index, trace.answer_text = 1, problem.options[1]
        trace.record = {"steps": [{"index": index, "text": text} for index, text in enumerate(STEPS)]}
    trace.save()
    return trace


def make_arm(study: Study, method: str) -> Arm:
    explainer, _ = Explainer.objects.get_or_create(name=method.replace("_", "-"), defaults={"method": method})
    return Arm.objects.create(study=study, name=explainer.name, explainer=explainer)


def make_explanation(trace: Trace, arm: Arm, made: bool = True, **fields: Any) -> Explanation:
    """`fields` go to the row as they are: `text=...`, or `failed_at=..., error=...` with `made=False`."""
    if made:
        fields = {"made_at": timezone.now(), "text": TEXTS[arm.explainer.method], **fields}
    return Explanation.objects.create(trace=trace, explainer=arm.explainer, **fields)


def make_study(
    problems: int = 4,
    arms: tuple[str, ...] = ("inverse", "chain"),
    ready: bool = True,
    wanted: int = 3,
    slug: str = "demo",
    **fields: Any,
) -> Study:
    """A launched study with one comparison per problem and pair of arms, in the order of the problems.

    `arms` are methods of `Explainer.Method`. Without `ready` every trace and explanation is still to be made.
    """
    fields = {
        "chain_shown": "chain" not in arms,
        "title": "How a small model reasons",
        "launched_at": timezone.now(),
        **fields,
    }
    problem_set = make_problem_set(problems, slug=f"{slug}-problems")
    study = Study.objects.create(slug=slug, problem_set=problem_set, judgements_wanted=wanted, **fields)
    study_arms = [make_arm(study, method) for method in arms]
    position = 0
    for problem in problem_set.problems.all():
        trace = make_trace(problem, made=ready)
        explanations = {arm.pk: make_explanation(trace, arm, made=ready) for arm in study_arms}
        for first, second in combinations(study_arms, 2):
            Comparison.objects.create(
                study=study,
                problem=problem,
                first_arm=first,
                second_arm=second,
                first=explanations[first.pk],
                second=explanations[second.pk],
                position=position,
                wanted=wanted,
            )
            position += 1
    return study


def make_ready(explanation: Explanation) -> None:
    """What a worker does at the end, without the model: the trace and this explanation are there."""
    trace = explanation.trace
    trace.made_at, trace.chain = timezone.now(), "\n".join(STEPS)
    trace.answer_index, trace.answer_text = 1, trace.problem.options[1]
    trace.record = {"steps": [{"index": index, "text": text} for index, text in enumerate(STEPS)]}
    trace.save()
    explanation.made_at = timezone.now()
    explanation.text = TEXTS[explanation.explainer.method]
    explanation.save()


def make_all_ready(study: Study) -> None:
    for comparison in study.comparisons.all():
        for explanation in (comparison.first, comparison.second):
            explanation.refresh_from_db()
            if explanation.made_at is None:
                make_ready(explanation)


def make_researcher(username: str = "researcher", permitted: bool = True) -> User:
    """A member of staff; with `permitted` one who may see and change studies."""
    user = User.objects.create_user(username, password="a password of tests", is_staff=True)
    if permitted:
        wanted = ("view_study", "change_study", "add_study")
        user.user_permissions.set(Permission.objects.filter(codename__in=wanted))
    return user
