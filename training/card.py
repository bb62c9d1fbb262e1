"""The model card that lies in a head's folder: what the head is, from what, how good, and what it is not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from inference.core.weights import DEFAULT_MODEL

if TYPE_CHECKING:
    from training.core.step_gate import Interval, StepCheck
    from training.retraining import Data, Trained

CARD = """---
library_name: sage-web
base_model: {model}
tags: [reward-model, explanations, preference]
---

# Metacognitive head for {model}

A linear scorer on the hidden states of `{model}`{revision}. It scores explanations of that model's answers by how
much raters may be expected to prefer them. Where enough steps of chains of thought were tested, it also says what it
expects of other steps, and how sure a tested claim is.

**Its score is a prediction by a model. It is never human preference**, and must not be reported as one.

## Data

{data}
{counts}

The exact judgements are in the snapshot `{snapshot}`
of the installation that trained it. Raters are pseudonyms there, and it is not published with the head.

## Verdict: {verdict}

{reason}

| scorer | log-loss (nats) | accuracy on decided | 90 % interval |
| --- | --- | --- | --- |
{scores}

{guards}

## Steps

{steps}

An expected effect or a probability is an estimate: it chooses which steps are tested, and is never a finding.

## Limits

- It works with `{model}`{revision} and the features `{features}` only; anything else is refused when it is loaded.
- It knows the problems, explainers and raters that it was trained on. On others its accuracy is not known.
- Scores compare explanations of one answer. Scores of different problems cannot be compared.
- An explanation that raters prefer need not be a true account of how the model came to its answer.

## Licences

{licence} The head is as free to use as the judgements that it learned from: whoever ran the study says.
"""


OUTPUTS = {
    "effect": "expected effect (squared error, nats²)",
    "decision_point": "decision point (log-loss, nats)",
    "claim": "confidence of claims (Brier score)",
    "mixing": "mixing of layers and heads (divergence, nats)",
}


def written(data: Data, trained: Trained) -> str:
    report, fitted, config = trained.report, trained.fitted, trained.head.config
    return CARD.format(
        model=config.model,
        revision=f" (revision `{config.revision}`)" if config.revision else "",
        data="\n".join([*studies(data), *files(data)]),
        counts=(
            f"\nTrained on {fitted.judgements} judgements ({fitted.decided} decided) of {fitted.problems} problems, "
            f"tested on {report.judgements} of {report.problems} held-out problems."
        ),
        snapshot=data.snapshot.sha256,
        verdict=trained.verdict,
        reason=trained.reason,
        scores="\n".join(scored(trained)),
        guards="\n".join(f"- {guard.said}" for guard in report.guards),
        steps="\n".join(of_steps(trained.steps)),
        features=config.feature_spec,
        licence=licence(config.model),
    )


def studies(data: Data) -> list[str]:
    slugs = sorted({row.study for row in data.snapshot.studied})
    counted = {slug: sum(row.study == slug for row in data.snapshot.studied) for slug in slugs}
    return [f"- study `{slug}`: {count} judgements" for slug, count in counted.items()]


def files(data: Data) -> list[str]:
    return [
        f"- file `{source.path.name}` ({source.form}, SHA-256 `{source.sha256}`): {len(source.content.pairs)} pairs"
        for source in data.files
    ]


def scored(trained: Trained) -> list[str]:
    rows = []
    for score in trained.report.scores:
        right = score.accuracy
        known = f"{right.mean:.3f} | {right.low:.3f} to {right.high:.3f}" if right else "- | -"
        rows.append(f"| {score.name} | {score.log_loss:.3f} | {known} |")
    return rows


def of_steps(check: StepCheck) -> list[str]:
    """What was learned of steps, what of it is used, and how well the orders of steps did."""
    lines = [
        f"Learned from {check.training_steps} tested steps, checked on {check.held_out_steps} of "
        f"{check.held_out_problems} held-out problems."
    ]
    used, outputs = check.used, (check.effect, check.decision_point, check.claim, check.mixing)
    table = [
        f"| {OUTPUTS[name]} | {found.loss:.3f} | {found.plain:.3f} | {'yes' if used[name] else 'no'} |"
        for name, found in zip(used, outputs, strict=True)
        if found is not None
    ]
    if table:
        lines += ["", "| output | loss | without it | used |", "| --- | --- | --- | --- |", *table]
    orders = [
        f"| {score.name} | {digits(score.spearman)} | {digits(score.auroc)} |"
        for score in check.scores
        if score.spearman or score.auroc
    ]
    if orders:
        heading = "| order of steps | Spearman with effects | AUROC of decision points |"
        lines += ["", "With 90 % intervals over problems:", "", heading, "| --- | --- | --- |", *orders]
    return lines


def digits(found: Interval | None) -> str:
    return "-" if found is None else f"{found.value:.2f} ({found.low:.2f} to {found.high:.2f})"


def licence(model: str) -> str:
    if model == DEFAULT_MODEL:
        return "The base model, SmolLM2-135M-Instruct, is under Apache-2.0."
    return f"The licence of the base model `{model}` is the one that its own model card names."
