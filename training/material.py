"""What judgements are about, as the training core wants it: texts, features, pairs, slices, step effects."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from inference import core
from inference.core.feature_cache import FeatureCache
from inference.core.features import Text
from inference.core.mixing import HeadFlow
from inference.core.records import EvidenceRecord, Trace
from inference.models import Explanation
from studies.preferences import Preference, Shown
from training.core.data import Judged, Pairs, held_out, pairs_of
from training.core.fit import Tell
from training.core.mixing_fit import MOST_NUMBERS
from training.core.step_effects import StepEffects, TestedStep, stacked


@dataclass(frozen=True)
class Material:
    """N judgements about `texts`; `judged` and `slices` have one entry for each. A slice is a kind of judgements on
    which a new head may not be worse, by what it is a kind of: {"kind": "maths"}.
    """

    texts: tuple[Text, ...]
    judged: tuple[Judged, ...]
    slices: tuple[dict[str, str], ...]

    @property
    def held_out(self) -> list[bool]:
        return [held_out(row.problem) for row in self.judged]

    def plus(self, other: Material) -> Material:
        moved = [moved_by(len(self.texts), row) for row in other.judged]
        return Material(self.texts + other.texts, (*self.judged, *moved), self.slices + other.slices)

    def pairs(self, model: core.LanguageModel, cache: FeatureCache, tell: Tell) -> Pairs:
        """All judgements with the features of their texts. Only texts that are new to the cache are read."""
        return pairs_of(cache.features(model, list(self.texts), tell), list(self.judged))

    def held_out_slices(self) -> dict[str, Tensor]:
        """A mask over the held-out judgements for each slice."""
        mine = [slices for slices, testing in zip(self.slices, self.held_out, strict=True) if testing]
        names = sorted({name for slices in mine for name in slices.items()})
        return {
            f"{what} {value}": torch.tensor([slices.get(what) == value for slices in mine]) for what, value in names
        }


def moved_by(places: int, row: Judged) -> Judged:
    return Judged(**(vars(row) | {"first": row.first + places, "second": row.second + places}))


def of_studies(rows: Sequence[Preference]) -> Material:
    """The judgements of studies. One explanation is one text, however often it was judged."""
    place: dict[int, int] = {}
    texts: list[Text] = []
    for row in rows:
        for shown in (row.first, row.second):
            if shown.id not in place:
                place[shown.id] = len(texts)
                texts.append(text_of(row, shown))
    judged = [judged_of(row, place) for row in rows]
    return Material(tuple(texts), tuple(judged), tuple(slices_of(row) for row in rows))


def text_of(row: Preference, shown: Shown) -> Text:
    return Text(str(shown.id), row.question, row.answer, shown.text)


def judged_of(row: Preference, place: dict[int, int]) -> Judged:
    return Judged(
        first=place[row.first.id],
        second=place[row.second.id],
        choice=row.choice,
        problem=row.problem,
        rater=row.rater,
        strength=row.strength,
        first_on_left=row.first.on_left,
        random=row.selection == "random",
    )


def slices_of(row: Preference) -> dict[str, str]:
    return {"kind": row.kind, "arms": " and ".join(sorted((row.first.arm, row.second.arm)))}


def step_effects(rows: Iterable[Preference], cache: FeatureCache, size: int, testing: bool) -> StepEffects:
    """Every step that was tested, of the held-out problems if `testing`, else of the others.

    Without features of this version's spec a trace is left out. Tests that two explanations share count once.
    """
    problems = {
        shown.id: row.problem for row in rows if held_out(row.problem) == testing for shown in (row.first, row.second)
    }
    explanations = Explanation.objects.exclude(evidence={}).select_related("trace").in_bulk(sorted(problems))
    found: dict[str, TestedStep] = {}
    traces: dict[str, Trace] = {}
    for pk, explanation in sorted(explanations.items()):
        trace = Trace.from_json(explanation.trace.record)
        known = cache.get(cache.steps(trace))
        if known is not None:
            for row in tested_steps(explanation, trace, problems[pk], known):
                found.setdefault(f"{row.trace} {row.test}", row)
            traces[f"{explanation.trace.pk}"] = trace
    return stacked(list(found.values()), size, head_flows(traces, cache))


def head_flows(traces: Mapping[str, Trace], cache: FeatureCache, most: int = MOST_NUMBERS) -> dict[str, HeadFlow]:
    """The attention of each head that was kept, by the trace's name, each read once.

    Where all of it would be more than `most` numbers, that of as many traces as fit, drawn at random, always alike.
    """
    found: dict[str, HeadFlow] = {}
    for name in random.Random(0).sample(sorted(traces), len(traces)):
        flow = cache.get_flow(traces[name])
        most -= flow.heads.numel() if flow else 0
        if most < 0:
            break
        found |= {name: flow} if flow else {}
    return found


def tested_steps(explanation: Explanation, trace: Trace, problem: str, features: Tensor) -> list[TestedStep]:
    """The tests of one evidence record, of a trace whose steps have features [S, F]."""
    outcomes, answer, name = len(trace.problem.options), trace.answer.text, f"{explanation.trace.pk}"
    tests = EvidenceRecord.from_json(explanation.evidence).tests
    return [TestedStep(features[test.step], test, outcomes, answer, problem, name) for test in tests]
