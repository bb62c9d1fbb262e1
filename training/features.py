"""Fetches what a snapshot's rows are about. Features that a worker has cached are read; others need the model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from inference import core
from inference.core.feature_cache import FeatureCache
from inference.core.records import Trace
from inference.models import Explanation
from training.core.data import Pairs, StepEffects, pairs_of, split, step_effects_of
from training.snapshot import Row, held_out

if TYPE_CHECKING:
    from torch import Tensor

    from training.core.fit import Tell


def explanation_features(
    rows: Iterable[Row], model: core.LanguageModel, cache: FeatureCache, tell: Tell
) -> dict[int, Tensor]:
    """Features [2H + 2] of every explanation that the rows name, by its id."""
    wanted = sorted({row.first for row in rows} | {row.second for row in rows})
    found = {}
    explanations = Explanation.objects.filter(pk__in=wanted).select_related("trace").order_by("pk")
    for done, explanation in enumerate(explanations):
        tell("reading features", done / len(wanted))
        found[explanation.pk] = features_of(explanation, model, cache)
    return found


def features_of(explanation: Explanation, model: core.LanguageModel, cache: FeatureCache) -> Tensor:
    trace = Trace.from_json(explanation.trace.record)
    path = cache.explanation(trace, explanation.text)
    known = cache.get(path)
    if known is None:
        known = core.explanation_features(model, trace, [explanation.text])[0]
        cache.put(path, known)
    return known


def split_pairs(rows: Sequence[Row], features: dict[int, Tensor]) -> tuple[Pairs, Pairs]:
    """The judgements on training problems, and those on held-out problems."""
    first, second = [features[row.first] for row in rows], [features[row.second] for row in rows]
    pairs = pairs_of(first, second, [row.choice for row in rows], [row.problem for row in rows])
    return split(pairs, [held_out(row.problem) for row in rows])


def step_effects(rows: Iterable[Row], cache: FeatureCache, size: int, testing: bool) -> StepEffects:
    """Every step whose causal effect was tested, of the held-out problems if `testing`, else of the others.

    A step that no resample replaced has effect 0: the model knew nothing else to write there.
    """
    ids = {pk for row in rows if held_out(row.problem) == testing for pk in (row.first, row.second)}
    features, effects = [], []
    for explanation in Explanation.objects.filter(pk__in=ids).exclude(evidence={}).select_related("trace"):
        known = cache.get(cache.steps(Trace.from_json(explanation.trace.record)))
        if known is not None:
            tests = explanation.evidence["tests"]
            features += [known[test["step"]] for test in tests]
            effects += [test["effect"] or 0.0 for test in tests]
    return step_effects_of(features, effects, size)
