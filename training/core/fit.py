"""Fits the metacognitive head: from judgements to a head with its numbers.

Everything is convex and full-batch, on one thread, so that the same data and seed give the same weights on the same
platform. The method is described in docs/retraining.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from inference.core.head import BOOTSTRAPS, SURFACE, Head, HeadConfig, Preference
from training.core.calibration import Calibration, Reliability, reliability
from training.core.checks import check
from training.core.claim_fit import fit_claims
from training.core.data import Margins, Pairs, length_matched, numbered
from training.core.davidson import accuracy
from training.core.mixing_fit import fit_mixing
from training.core.parts import Data, Part, calibration_of, choose_part, data_of, fit_columns, mean_loss
from training.core.raters import judgement_weights, rater_weights
from training.core.step_effects import StepEffects
from training.core.step_fit import fit_steps, tau_of
from training.core.views import Scene, judged_texts, scene_of, standardising, view_of

CURVE = (0.25, 0.5, 0.75)  # shares of the training problems for the learning curve

Tell = Callable[[str, float], None]
"""Called with what is being done and the share of it that is done, 0 to 1. May raise to stop the work."""


@dataclass(frozen=True)
class Recipe:
    """Parts whose scores are averaged, and how well that does on problems that they did not see."""

    parts: tuple[Part, ...]
    difference: Tensor
    calibration: Calibration
    loss: float

    @property
    def name(self) -> str:
        layers = sorted({part.view.layer for part in self.parts})
        kinds = sorted({"margins" if part.learns_margins else "preferences" for part in self.parts}, reverse=True)
        return f"layer {', '.join(map(str, layers))}: {' and '.join(kinds)}"


@dataclass(frozen=True)
class CurvePoint:
    """Log-loss (nats) and accuracy on unseen training problems, after learning from a share of the others."""

    share: float
    log_loss: float
    accuracy: float | None


@dataclass(frozen=True)
class Fitted:
    """A head, and what was found on the way. Everything but `head` is of training problems, cross-validated.

    `difference` [N] are score differences out of fold: each from scorers that saw no judgement of the same problem.
    """

    head: Head
    difference: Tensor
    recipe: str
    l2: dict[str, float]
    log_loss: float
    accuracy: float | None
    length_matched: float | None  # accuracy on pairs whose lengths are within 15 %
    tried: dict[str, float]  # recipe -> log-loss
    strengths: dict[str, dict[str, float]]  # part -> L2 strength -> log-loss
    curve: tuple[CurvePoint, ...]
    reliability: Reliability | None
    surface: dict[str, float]  # name -> weight, per standard deviation of the number
    rater_weights: tuple[float, ...]  # of the raters who had enough judgements to be measured
    judgements: int
    decided: int
    problems: int
    steps: dict[str, Any]  # what was learned of tested steps, and how it was chosen

    def to_json(self) -> dict[str, Any]:
        """All but tensors."""
        found = {name: value for name, value in vars(self).items() if name not in ("head", "difference")}
        found["curve"] = [vars(point) for point in self.curve]
        found["reliability"] = self.reliability.to_json() if self.reliability else None
        found["calibration"] = self.head.calibration.tolist()
        return found


def silent(_what: str, _share: float) -> None:
    """Progress that nobody watches."""


@contextmanager
def one_thread() -> Iterator[None]:
    """Sums in one fixed order, so that results repeat; and on a busy machine a second thread costs tenfold."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def fit_head(
    pairs: Pairs,
    config: HeadConfig,
    *,
    number: int = 1,
    seed: int = 0,
    tell: Tell = silent,
    margins: Margins | None = None,
    steps: StepEffects | None = None,
) -> Fitted:
    """Fit a head for `config` on judgements about texts with that config's features.

    `margins` are averaged in where that predicts unseen problems better; `steps` teach what the head says of steps.
    `seed` draws the problems of the bootstrap heads. Raises UnfitDataError for data that cannot be trained on.
    """
    check(pairs)
    with one_thread(), torch.no_grad():
        preference = standardising(config, pairs.features[judged_texts(pairs)])
        scene = scene_of(preference, pairs)
        data = data_of(pairs, judgement_weights(pairs), known_margins(margins, pairs))
        recipes = tried_recipes(scene, data, config, tell)
        best = min(recipes, key=lambda recipe: recipe.loss)
        trust = rater_weights(pairs, best.difference)
        data = replace(data, weight=data.weight * trust)
        tell("fitting", 0.8)
        weights = fitted_weights(scene, data, best, bootstrap_columns(pairs, seed))
        head = assembled(config, number, preference, weights, best.calibration)
        taught = {} if steps is None else teach_steps(head, steps, seed, tell)
        curve = learning_curve(scene, data, best, seed, tell)
    return fitted(head, best, recipes, curve, pairs, trust, taught)


def known_margins(margins: Margins | None, pairs: Pairs) -> Margins | None:
    """Margins between texts and on problems that are judged, if there are any."""
    if margins is None:
        return None
    used = judged_texts(pairs)
    kept = torch.isin(margins.first, used) & torch.isin(margins.second, used)
    kept &= torch.isin(margins.problems, pairs.problems)
    names = ("first", "second", "values", "weight", "problems")
    return replace(margins, **{name: getattr(margins, name)[kept] for name in names}) if kept.any() else None


def tried_recipes(scene: Scene, data: Data, config: HeadConfig, tell: Tell) -> list[Recipe]:
    """Each layer alone and all together; from preferences, and averaged with what margins teach."""
    sources = (False, True) if data.margins is not None else (False,)
    parts: dict[bool, list[Part]] = {source: [] for source in sources}
    for at in range(len(config.layers)):
        view = view_of(scene, config, at)
        for source in sources:
            tell(f"cross-validating layer {view.layer}", 0.8 * at / len(config.layers))
            parts[source].append(choose_part(scene, data, view, source))
    preferences = parts[False]
    groups: list[Sequence[Part]] = [[part] for part in preferences]
    if len(preferences) > 1:
        groups.append(preferences)
    if data.margins is not None:
        groups += [[*group, *(parts[True][preferences.index(part)] for part in group)] for group in groups]
    return [recipe_of(data, group) for group in groups]


def recipe_of(data: Data, parts: Sequence[Part]) -> Recipe:
    difference = torch.stack([part.difference for part in parts]).mean(0)
    calibration = calibration_of(data, difference)
    return Recipe(tuple(parts), difference, calibration, mean_loss(data, difference, calibration))


def fitted_weights(scene: Scene, data: Data, recipe: Recipe, columns: Tensor) -> Tensor:
    """Weights of the recipe's average over the standardised features, [F', K], for columns [N, K]."""
    weights = torch.zeros(scene.texts.shape[1], columns.shape[1])
    for part in recipe.parts:
        l2 = torch.full((columns.shape[1],), part.l2)
        found = fit_columns(scene, data, part.view, part.learns_margins, columns, l2)
        weights[part.view.columns] += part.unit * found / len(recipe.parts)
    return weights


def bootstrap_columns(pairs: Pairs, seed: int) -> Tensor:
    """How often each judgement counts, [N, 1 + BOOTSTRAPS]: once, then as often as its problem was drawn."""
    problems = numbered(pairs.problems)
    count = int(problems.max()) + 1
    drawn = torch.randint(count, (BOOTSTRAPS, count), generator=torch.Generator().manual_seed(seed))
    often = torch.stack([torch.bincount(row, minlength=count) for row in drawn], dim=1)
    return torch.cat([torch.ones(len(pairs), 1), often[problems].float()], dim=1)


def assembled(
    config: HeadConfig,
    number: int,
    preference: Preference,
    weights: Tensor,
    calibration: Calibration,
) -> Head:
    head = Head(config, number)
    head.preference.load_state_dict(preference.state_dict())
    head.preference.weight.copy_(weights[:, 0])
    head.bootstrap.copy_(weights[:, 1:].T)
    head.calibration.copy_(torch.tensor([calibration.scale, calibration.log_nu, calibration.position]))
    return head.eval()


def teach_steps(head: Head, steps: StepEffects, seed: int = 0, tell: Tell = silent) -> dict[str, Any]:
    """Teach the head what tested steps tell, one part of the loss after the other: the parts share no weight. Returns
    how each was chosen."""
    tell("learning from tested steps", 0.85)
    found = fit_steps(steps, seed)
    head.steps.load_state_dict(found.head.state_dict())
    claims = fit_claims(steps, found.logits if found.head.tells_decisions else None, seed)
    with torch.no_grad():
        head.steps.claim.copy_(claims.weight)
    mixing = fit_mixing(steps, tau_of(steps), head.config.depth, head.config.heads, seed)
    head.mixing.load_state_dict(mixing.mixing.state_dict())
    return {**found.report, "claims": claims.report, "mixing": mixing.report}


def learning_curve(scene: Scene, data: Data, recipe: Recipe, seed: int, tell: Tell) -> tuple[CurvePoint, ...]:
    """The recipe's quality on each fold, after learning from shares of the other problems."""
    tell("learning curve", 0.9)
    problems, folds = numbered(data.pairs.problems), int(data.folds.max()) + 1
    place = torch.rand(int(problems.max()) + 1, generator=torch.Generator().manual_seed(seed))[problems]
    columns = [((data.folds != fold) & (place < share)).float() for share in CURVE for fold in range(folds)]
    kept = torch.stack(columns, dim=1)
    if not (kept.sum(0) > 0).all():
        return (point_of(1.0, data, recipe.difference),)
    weights = fitted_weights(scene, data, recipe, kept)
    own = scene.contrasts.of(scene.texts @ weights).view(len(data.folds), len(CURVE), folds)
    held_out = own[torch.arange(len(data.folds)), :, data.folds]
    points = [point_of(share, data, held_out[:, at]) for at, share in enumerate(CURVE)]
    return (*points, point_of(1.0, data, recipe.difference))


def point_of(share: float, data: Data, difference: Tensor) -> CurvePoint:
    loss = mean_loss(data, difference, calibration_of(data, difference))
    return CurvePoint(share, loss, accuracy(difference, data.pairs.outcomes))


def fitted(
    head: Head,
    best: Recipe,
    recipes: Sequence[Recipe],
    curve: tuple[CurvePoint, ...],
    pairs: Pairs,
    trust: Tensor,
    taught: dict[str, Any],
) -> Fitted:
    names = [recipe_of_one(part) for part in best.parts]
    surface = head.preference.weight[head.preference.size - len(SURFACE) : head.preference.size].tolist()
    scaled = best.calibration.difference(best.difference, pairs.side)
    matched = length_matched(pairs)
    return Fitted(
        head=head,
        difference=best.difference,
        recipe=best.name,
        l2={name: part.l2 for name, part in zip(names, best.parts, strict=True)},
        log_loss=best.loss,
        accuracy=accuracy(best.difference, pairs.outcomes),
        length_matched=accuracy(best.difference[matched], pairs.outcomes[matched]),
        tried={recipe.name: recipe.loss for recipe in recipes},
        strengths={
            name: {f"{k:g}": v for k, v in part.losses.items()} for name, part in zip(names, best.parts, strict=True)
        },
        curve=curve,
        reliability=reliability(scaled, pairs.outcomes),
        surface=dict(zip(SURFACE, surface, strict=True)),
        rater_weights=tuple(sorted(set(trust[trust != 1.0].tolist()))),
        judgements=len(pairs),
        decided=int(pairs.decided.sum()),
        problems=pairs.problem_count,
        steps=taught,
    )


def recipe_of_one(part: Part) -> str:
    return f"layer {part.view.layer}, {'margins' if part.learns_margins else 'preferences'}"
