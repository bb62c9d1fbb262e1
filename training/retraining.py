"""One retraining, from judgements to a head version that is promoted, held or rejected."""

from __future__ import annotations

import logging
import shutil
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from django.conf import settings
from django.db import transaction
from django.utils import timezone
from torch import Tensor

from inference import core, heads, queue, worker
from inference.core.head import Head, HeadMismatchError
from inference.core.provenance import code_version
from inference.models import HeadVersion, Promotion
from studies.models import Study
from training import attempts, card, files, material, snapshot
from training.attempts import RefusedError
from training.core import gate
from training.core.checks import LEAST_DECIDED, LEAST_PROBLEMS, check_amount
from training.core.data import HELD_OUT_SHARE, SALT, Pairs, split
from training.core.davidson import agreement
from training.core.fit import Fitted, Tell, fit_head, silent
from training.core.gate import GateReport
from training.core.resampling import resampling
from training.core.step_gate import StepCheck, check_steps, keep_what_is_better
from training.models import Attempt, TrainingRun

log = logging.getLogger(__name__)

MOST_SECONDS = 0.05  # for scoring one explanation; its features take a hundred times as long
OUTCOMES = {
    TrainingRun.Verdict.PROMOTE: Attempt.Outcome.PROMOTED,
    TrainingRun.Verdict.FORCED: Attempt.Outcome.PROMOTED,
    TrainingRun.Verdict.HOLD: Attempt.Outcome.HELD,
    TrainingRun.Verdict.REJECT: Attempt.Outcome.REJECTED,
}


@dataclass(frozen=True)
class Wanted:
    """What to learn from, who asked, and how.

    `files` are FORMAT:FILE; `force` is the reason for promoting whatever the gate says.
    """

    by: str
    studies: tuple[Study, ...] = ()
    files: tuple[str, ...] = ()
    trigger: str = Attempt.Trigger.COMMAND
    force: str = ""
    dry: bool = False
    seed: int = 0


@dataclass(frozen=True)
class Data:
    """Everything that is known before the fit."""

    snapshot: snapshot.Snapshot
    material: material.Material
    files: tuple[files.Source, ...]
    model: core.LanguageModel
    in_use: HeadVersion

    @property
    def held_out_sha256(self) -> str:
        judged = zip(self.material.judged, self.material.held_out, strict=True)
        return snapshot.digest_of(row.problem for row, testing in judged if testing)


@dataclass(frozen=True)
class Trained:
    """What the fit and the gate made, before anything is registered."""

    fitted: Fitted
    steps: StepCheck
    report: GateReport
    slices: list[dict[str, Any]]
    verdict: str
    reason: str

    @property
    def head(self) -> Head:
        return self.fitted.head


def retrain(wanted: Wanted, tell: Tell = silent) -> tuple[Attempt, Trained]:
    """Fit a head, judge it on held-out problems against the one in use, and promote it if it is better.

    Raises RefusedError where there is too little or unfit data, or while another retraining runs; OSError when the
    head cannot be written; and whatever `tell` raises to stop it. Then nothing is registered.
    """
    started = timezone.now()
    with attempts.attempt(wanted.trigger, wanted.by) as held:
        data = gather(wanted)
        trained = train(wanted, data, held, attempts.telling(held, tell))
        if wanted.dry:
            attempts.end(held, Attempt.Outcome.DRY, f"Would be: {trained.verdict}. {trained.reason}")
        else:
            register(wanted, data, trained, held, started)
    return held, trained


def retrain_by_policy(trigger: str, studies: tuple[Study, ...]) -> None:
    """In a worker, between two traces. A worker that is asked to stop leaves it for the next one to begin again."""

    def stop_with_the_worker(what: str, share: float) -> None:
        if worker.stop.is_set():
            raise attempts.StoppedError("The worker was asked to stop.")

    try:
        ended, _ = retrain(Wanted(by="trigger policy", studies=studies, trigger=trigger), stop_with_the_worker)
    except (RefusedError, attempts.StoppedError) as error:
        log.info("retraining (%s): %s", trigger, error)
    else:
        log.info("retraining (%s): %s", trigger, ended.message)


# -- what there is -------------------------------------------------------------------------------------------------


def gather(wanted: Wanted) -> Data:
    """Raises RefusedError without judgements, with explanations of several models, or with an unreadable file."""
    sources = tuple(files.read(named) for named in wanted.files)
    taken = snapshot.take(wanted.studies, [line for source in sources for line in source.lines()])
    found = material.of_studies(taken.studied)
    for source in sources:
        found = found.plus(source.material())
    if not found.judged:
        raise RefusedError(
            f"There are no judgements to learn from: training needs at least {LEAST_DECIDED} on {LEAST_PROBLEMS} "
            "problems."
        )
    name, revision = model_of(wanted.studies)
    model = worker.language_model(name, revision)
    return Data(taken, found, sources, model, HeadVersion.objects.current(name, revision))


def model_of(studies: tuple[Study, ...]) -> tuple[str, str]:
    """The one local model whose explanations are judged; the default one where there are none, as for files.

    What a server wrote has no local model to go with: it is read as the texts of files are, by the model of the head.
    """
    models = {(name, revision) for name, revision in snapshot.models_of(studies) if not queue.is_api(name)}
    if len(models) > 1:
        names = ", ".join(sorted(f"{name} {revision}".strip() for name, revision in models))
        raise RefusedError(f"These studies explain with several models ({names}); a head reads one. Choose by model.")
    return models.pop() if models else (str(settings.SAGE_MODEL), "")


# -- fitting and judging -------------------------------------------------------------------------------------------


def train(wanted: Wanted, data: Data, held: Attempt, tell: Tell) -> Trained:
    config, cache = core.head_config(data.model), worker.feature_cache(data.model)
    current = head_in_use(data)
    pairs = data.material.pairs(data.model, cache, tell)
    training, held_out = split(pairs, data.material.held_out)
    seen, unseen = (
        material.step_effects(data.snapshot.studied, cache, config.step_size, testing) for testing in (False, True)
    )
    try:
        check_amount(pairs)
        fitted = fit_head(
            training, config, seed=wanted.seed, tell=tell, steps=seen, margins=files.margins(data.files, pairs)
        )
        checked = check_steps(fitted.head, seen, unseen, wanted.seed)
        keep_what_is_better(fitted.head, checked)
        tell("judging on held-out problems", 0.95)
        report = judged(wanted, data, fitted.head, current, held_out, held)
    except ValueError as error:
        raise RefusedError(str(error)) from error
    slices = accuracy_by_slice(fitted.head, held_out, data.material.held_out_slices(), wanted.seed)
    return Trained(fitted, checked, report, slices, *decide(report, wanted.force))


def accuracy_by_slice(head: Head, held_out: Pairs, slices: dict[str, Tensor], seed: int) -> list[dict[str, Any]]:
    """Accuracy on the decided judgements of each slice [N], with its interval, however few there are."""
    right = agreement(held_out.difference(head.score(held_out.features)), held_out.outcomes)
    drawn, counted = resampling(held_out, seed), held_out.decided & held_out.random
    kept = {name: mask & counted for name, mask in slices.items()}
    return [
        {"name": name, "judgements": int(mask.sum()), "accuracy": asdict(drawn.estimate(right, mask))}
        for name, mask in kept.items()
        if mask.any()
    ]


def head_in_use(data: Data) -> Head:
    try:
        return worker.head_for(data.in_use, data.model)
    except HeadMismatchError as error:
        raise RefusedError(
            f"The head in use cannot be compared with: {error} To start anew without it: "
            f"manage.py heads promote 0 --model {data.model.name} --reason '...'"
        ) from error


def judged(wanted: Wanted, data: Data, new: Head, current: Head, held_out: Pairs, held: Attempt) -> GateReport:
    return gate.judge_head(
        new,
        current,
        held_out,
        slices=data.material.held_out_slices(),
        used_before=attempts.used_before(held, data.held_out_sha256),
        latency=(seconds(new), seconds(current), MOST_SECONDS),
        seed=wanted.seed,
    )


def seconds(head: Head) -> float:
    """What scoring one explanation takes, the best of five."""
    features, taken = torch.zeros(1, head.config.explanation_size), []
    for _ in range(5):
        started = time.perf_counter()
        head.score(features)
        taken.append(time.perf_counter() - started)
    return min(taken)


def decide(report: GateReport, force: str) -> tuple[str, str]:
    if force and report.verdict != gate.PROMOTE:
        return (
            TrainingRun.Verdict.FORCED,
            f"Promoted by force: {force} The gate said {report.verdict}: {report.reason}",
        )
    return TrainingRun.Verdict(report.verdict), report.reason


# -- registering ---------------------------------------------------------------------------------------------------


def register(wanted: Wanted, data: Data, trained: Trained, held: Attempt, started: Any) -> TrainingRun:
    """Files first, then all rows in one transaction: a row never names a file that is not there."""
    folder = heads.folder()
    sha256 = trained.head.save(folder, card.written(data, trained))
    try:
        data.snapshot.save(folder / sha256)
        with transaction.atomic():
            attempts.hold(held)
            run = store_run(wanted, data, trained, heads.register(sha256, asdict(trained.head.config)), started)
            put_into_use(wanted, data, run)
            Attempt.objects.filter(pk=held.pk).update(run=run)
            attempts.end(held, OUTCOMES[TrainingRun.Verdict(run.verdict)], run.reason)
    except BaseException:
        remove_unnamed(folder / sha256)
        raise
    return run


def remove_unnamed(path: Path) -> None:
    """A folder that no head version names is what is left of a registration that failed."""
    if not HeadVersion.objects.filter(sha256=path.name).exists():
        shutil.rmtree(path, ignore_errors=True)


def store_run(wanted: Wanted, data: Data, trained: Trained, head: HeadVersion, started: Any) -> TrainingRun:
    verdict, reason = trained.verdict, trained.reason
    if head == data.in_use:
        verdict, reason = TrainingRun.Verdict.HOLD, f"It is {head} again, weight for weight, which is in use."
    run = TrainingRun.objects.create(
        started_at=started,
        finished_at=timezone.now(),
        compared_with=data.in_use,
        head_version=head,
        files=[source.named_json() for source in data.files],
        snapshot_sha256=data.snapshot.sha256,
        judgement_ids=data.snapshot.judgement_ids,
        settings=settings_of(wanted),
        metrics=metrics_of(trained),
        verdict=verdict,
        reason=reason,
    )
    run.studies.set(wanted.studies)
    return run


def put_into_use(wanted: Wanted, data: Data, run: TrainingRun) -> None:
    if run.head_version and run.verdict == TrainingRun.Verdict.HOLD:
        heads.nominate(run.head_version)
    if run.head_version and run.promoted:
        forced = run.verdict == TrainingRun.Verdict.FORCED
        kind = Promotion.Kind.FORCE if forced else Promotion.Kind.PROMOTE
        names = data.model.name, data.model.revision
        try:
            heads.promote(run.head_version, run.reason, wanted.by, kind, data.in_use, *names)
        except heads.PromotionError as error:
            raise RefusedError(str(error)) from error


def settings_of(wanted: Wanted) -> dict[str, Any]:
    return {
        "code": code_version(),
        "seed": wanted.seed,
        "both_bad": "counted as a tie",
        "held_out_share": HELD_OUT_SHARE,
        "salt": SALT,
    }


def metrics_of(trained: Trained) -> dict[str, Any]:
    return {
        **trained.report.to_json(),
        "slices": trained.slices,
        "fit": trained.fitted.to_json(),
        "steps": trained.steps.to_json(),
    }
