"""The rater's page under load: queries and time by the size of a study, fifty robots at once, answers per second.

    python benchmarks/rating.py [--sizes 100 1000 1000000] [--parts sizes robots throughput] [--label-studio PROGRAM]
                                [--json FILE]

Starts throw-away PostgreSQL and Redis servers itself. PROGRAM is the `label-studio` of a virtual environment of its
own (`python -m venv peer && peer/bin/pip install label-studio`); without it our answers per second stand alone.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from parts import label_studio, load, project, sizes

GOAL_QUERIES = 12  # for one answer and the next page, the same at every size
GOAL_GROWTH = 2.0  # p95 of handing out at the largest size against that at 1,000
GOAL_RATIO = 5.0  # answers per second against Label Studio's
ROBOTS, DROP_OUT, AT_ONCE = 50, 0.3, 50
COMPARISONS, WANTED, LIMIT = 60, 5, 12
RESERVED = "5"  # seconds, so that the places of robots that left come back within the run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 1000, 1_000_000])
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--threads", type=int, default=4, help="clients at once in `throughput`")
    parser.add_argument("--answers", type=int, default=60, help="of each client in `throughput`, warm-up included")
    parser.add_argument("--label-studio", metavar="PROGRAM", help="measure it beside ours")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--one", help=argparse.SUPPRESS)  # a part in a process of its own: settings load once
    arguments = parser.parse_args()
    sys.path.insert(0, str(project.ROOT))
    if arguments.one:
        part, database = arguments.one.split("/")
        print(json.dumps(PARTS[part](arguments, database)))
        return
    found = {name: run(name) for part in arguments.parts for name in stacks_of(part)}
    report(found)
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=2) + "\n")
    missed = list(goals_missed(found))
    print(*missed, sep="\n")
    sys.exit(bool(missed))


def stacks_of(part: str) -> list[str]:
    return [f"{part}/sqlite", f"{part}/postgresql"] if part == "sizes" else [f"{part}/postgresql"]


def run(name: str) -> Any:
    command = [sys.executable, "-W", "ignore", __file__, *sys.argv[1:], "--one", name]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


# -- The parts -------------------------------------------------------------------------------------------------------


def by_size(arguments: argparse.Namespace, database: str) -> Any:
    with ExitStack() as held:
        prepare(held, database == "postgresql")
        return sizes.measure(sorted(arguments.sizes))


def robots(arguments: argparse.Namespace, database: str) -> Any:
    """Fifty robots at once through a real server, some of which leave without a word."""
    from sage_web.testing.processes import Manage

    with ExitStack() as held:
        prepare(held, postgres=True, redis=True)
        from parts import studies

        study = studies.make_study(COMPARISONS, WANTED, slug="robots", rater_limit=LIMIT)
        server = held.enter_context(Manage("serve", "--port", "0", RESERVATION_SECONDS=RESERVED))
        url = server.wait_for(r"Ready: (\S+)")[1]
        options = [
            "--study",
            "robots",
            "--raters",
            str(ROBOTS),
            "--drop-out",
            str(DROP_OUT),
            "--workers",
            str(AT_ONCE),
        ]
        options += ["--patience", "120", "--url", url]
        started = time.monotonic()
        with Manage("simulate_raters", *options, RESERVATION_SECONDS=RESERVED) as them:
            status = them.end(500)
        seconds = time.monotonic() - started
        return {"status": status, "seconds": round(seconds, 1), "said": them.output[-300:]} | what_is_stored(study)


def what_is_stored(study: Any) -> dict[str, Any]:
    from studies.models import Assignment, Judgement, Rater

    current = Judgement.objects.current().values_list("assignment__comparison", flat=True)
    per_comparison = Counter(current)
    doubled = Counter(Judgement.objects.current().values_list("assignment", flat=True))
    return {
        "raters": Rater.objects.count(),
        "answers": sum(per_comparison.values()),
        "wanted": COMPARISONS * WANTED,
        "comparisons_met_exactly": sum(count == WANTED for count in per_comparison.values()),
        "comparisons_over_filled": sum(count > WANTED for count in per_comparison.values()),
        "comparisons": COMPARISONS,
        "doubled_answers": sum(count > 1 for count in doubled.values()),
        "places_given_back": Assignment.objects.filter(released_at__isnull=False).count(),
        "claims_differing_from_answers": study.comparisons.exclude(taken=WANTED).count(),
    }


def throughput(arguments: argparse.Namespace, database: str) -> Any:
    """Answers per second, ours and then theirs: the same machine, threads, texts and kind of database."""
    from sage_web.testing.processes import Manage

    each, threads = arguments.answers, arguments.threads
    with ExitStack() as held:
        folder = prepare(held, postgres=True, redis=True)
        from parts import studies

        found = {}
        for name, processes in (("ours", "0"), ("ours_in_one_process", "1")):
            study = studies.make_study(threads * (each + 1), 1, slug=name.replace("_", "-"), rater_limit=each + 1)
            with Manage("serve", "--port", "0", WEB_PROCESSES=processes) as server:
                url, count = server.wait_for(r"Ready: (\S+) \(pages only, by (\d+)").groups()
                taken = load.throughput(load.Ours(url, study.token, each).rate, threads)
            stored = study.comparisons.filter(assignments__judgements__isnull=False).count()
            found[name] = taken | {"processes": int(count), "stored": stored, "sent": threads * each}
        if arguments.label_studio:
            theirs = Path(folder, "label-studio")
            theirs.mkdir()
            peer = held.enter_context(
                label_studio.served(arguments.label_studio, str(theirs), start(held, "Postgres"), free_port())
            )
            tasks = label_studio.Project(peer, *studies.TEXTS, threads, each)
            found["label_studio"] = load.throughput(tasks.rate, threads)
        return found


PARTS = {"sizes": by_size, "robots": robots, "throughput": throughput}


# -- Servers ---------------------------------------------------------------------------------------------------------


def prepare(held: ExitStack, postgres: bool, redis: bool = False) -> str:
    """The project on throw-away servers; returns a folder that goes with them."""
    folder = held.enter_context(tempfile.TemporaryDirectory())
    database = start(held, "Postgres") if postgres else ""
    broker = start(held, "Redis") if redis else ""
    os.environ["SECRET_KEY"] = "only-for-this-run"
    project.set_up(folder, DATABASE_URL=database, REDIS_URL=broker)
    return folder


def start(held: ExitStack, kind: str) -> str:
    from sage_web.testing import servers

    server = getattr(servers, kind)()
    held.callback(server.stop)
    server.start()
    return str(server.url)


def free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# -- What came out ---------------------------------------------------------------------------------------------------


def report(found: dict[str, Any]) -> None:
    for name in ("sizes/sqlite", "sizes/postgresql"):
        if name in found:
            print(f"{name.split('/')[1]}: an answer and the next page; of it, handing out the next comparison")
            print(" comparisons               queries  page ms     p95  hand out ms     p95")
        for row in found.get(name, []):
            print(
                f"{row['comparisons']:>12,} {row['state']:12} {row['queries_most']:>8} {row['page_ms_median']:>8} "
                f"{row['page_ms_p95']:>7} {row['assign_ms_median']:>12} {row['assign_ms_p95']:>7}"
            )
    for name in ("robots/postgresql", "throughput/postgresql"):
        if name in found:
            print(name, json.dumps(found[name], indent=2))


def goals_missed(found: dict[str, Any]) -> Any:
    for stack in ("sizes/sqlite", "sizes/postgresql"):
        rows = found.get(stack, [])
        most = max((row["queries_most"] for row in rows), default=0)
        if most > GOAL_QUERIES:
            yield f"{stack}: {most} queries; the goal is at most {GOAL_QUERIES}"
        base = [row["assign_ms_p95"] for row in rows if row["comparisons"] == 1000]
        for row in rows:
            if base and row["assign_ms_p95"] > GOAL_GROWTH * base[0]:
                yield f"{stack}: p95 at {row['comparisons']:,} is {row['assign_ms_p95']} ms, {base[0]} at 1,000"
    played = found.get("robots/postgresql")
    if played and not (
        played["status"] == played["doubled_answers"] == played["claims_differing_from_answers"] == 0
        and played["comparisons_met_exactly"] == COMPARISONS
    ):
        yield "robots: not every wanted count was met exactly, see above"
    rates = found.get("throughput/postgresql", {})
    if "label_studio" in rates:
        ratio = rates["ours"]["answers_per_second"] / rates["label_studio"]["answers_per_second"]
        alone = rates["ours_in_one_process"]["answers_per_second"] / rates["label_studio"]["answers_per_second"]
        print(
            f"answers per second, ours / Label Studio's one process: {ratio:.1f}; with one process too: {alone:.1f}"
        )
        if ratio < GOAL_RATIO:
            yield f"throughput: {ratio:.1f} times Label Studio's; the goal is {GOAL_RATIO}"


if __name__ == "__main__":
    main()
