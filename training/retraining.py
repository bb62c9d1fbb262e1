"""One retraining, from judgements to a head version that is promoted or held."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from django.db import transaction
from django.utils import timezone

from inference import core, heads, worker
from inference.core.head import Head, Scorer
from inference.models import Explanation, HeadVersion
from studies.models import Study
from training import features, snapshot
from training.core.data import Pairs
from training.core.fit import Fitted, Tell, assemble, fit_preference, fit_steps
from training.core.gate import Comparison, StepCheck, check_steps, compare
from training.models import TrainingRun


@dataclass(frozen=True)
class Trained:
    """What the fitting made, before anything is registered."""

    head: Head
    fitted: Fitted
    comparison: Comparison
    steps: StepCheck
    training: Pairs


def retrain(study: Study, force_reason: str, tell: Tell, seed: int = 0) -> TrainingRun:
    """Fit a head on the study's judgements, compare it with the head in use, promote it if it is better.

    With `force_reason` it is promoted whatever the comparison says, and the reason is kept. Raises
    snapshot.TooLittleDataError, or HeadMismatchError when the head in use belongs to another model; then nothing
    is registered.
    """
    started = timezone.now()
    taken = snapshot.take(study)
    model = model_of(taken)
    in_use = HeadVersion.objects.current(model.name, model.revision)
    trained = fit(taken, model, in_use, tell, seed)
    verdict, reason = decide(trained.comparison, in_use, force_reason)
    taken.save()
    with transaction.atomic():
        run = TrainingRun(study=study, started_at=started, finished_at=timezone.now(), compared_with=in_use)
        run.snapshot_sha256, run.judgement_ids = taken.sha256, [row.judgement for row in taken.rows]
        run.settings, run.metrics = settings_of(trained, seed), metrics_of(trained)
        run.verdict, run.reason = verdict, reason
        run.head_version = heads.register(trained.head.save(heads.folder()), asdict(trained.head.config))
        run.save()
        if verdict != TrainingRun.Verdict.HOLD:
            heads.promote(run.head_version, reason, "manage.py retrain", instead_of=in_use)
    return run


def model_of(taken: snapshot.Snapshot) -> core.LanguageModel:
    trace = Explanation.objects.select_related("trace").get(pk=taken.rows[0].first).trace
    return worker.language_model(trace.model, trace.revision)


def fit(taken: snapshot.Snapshot, model: core.LanguageModel, in_use: HeadVersion, tell: Tell, seed: int) -> Trained:
    config, cache = core.head_config(model), worker.feature_cache(model)
    current = worker.head_for(in_use, model)
    known = features.explanation_features(taken.rows, model, cache, tell)
    training, held_out = features.split_pairs(taken.rows, known)
    fitted = fit_preference(training, tell)
    seen, unseen = (features.step_effects(taken.rows, cache, config.step_size, testing) for testing in (False, True))
    steps = fit_steps(seen)
    check = check_steps(steps, seen, unseen)
    head = assemble(config, in_use.number + 1, fitted.scorer, steps if check.better else Scorer(config.step_size))
    return Trained(head, fitted, compare(head, current, held_out, seed), check, training)


def decide(comparison: Comparison, in_use: HeadVersion, force_reason: str) -> tuple[str, str]:
    """The verdict and its reason in words."""
    low, high = comparison.gain_interval
    numbers = (
        f"On {comparison.judgements} judgements of {comparison.problems} held-out problems its log-loss is "
        f"{abs(comparison.gain):.3f} nats {'lower' if comparison.gain > 0 else 'higher'} than that of {in_use} "
        f"(gain {comparison.gain:+.3f}, 90 % interval {low:+.3f} to {high:+.3f})."
    )
    if comparison.better:
        return TrainingRun.Verdict.PROMOTE, f"{numbers} The whole interval is above 0."
    if force_reason:
        return TrainingRun.Verdict.FORCED, f"{numbers} Promoted by force: {force_reason}"
    more = " Judgements on more problems would narrow it." if comparison.gain > 0 else ""
    return TrainingRun.Verdict.HOLD, f"{numbers} To be promoted, the whole interval has to be above 0.{more}"


def settings_of(trained: Trained, seed: int) -> dict[str, Any]:
    return {
        "code": worker.code_version(),
        "seed": seed,
        "l2": trained.fitted.strength,
        "both_bad": "counted as a tie",
        "held_out_share": snapshot.HELD_OUT_SHARE,
        "salt": snapshot.SALT,
    }


def metrics_of(trained: Trained) -> dict[str, Any]:
    return {
        **trained.comparison.to_json(),
        "training_judgements": len(trained.training),
        "training_problems": trained.training.problem_count,
        "steps": {**asdict(trained.steps), "used": trained.steps.better},
        "cross_validated_log_loss": {f"{k:g}": v for k, v in trained.fitted.cross_validated_loss.items()},
    }
