"""From "the server is up" to "a rater has a comparison to judge", with the real model on a fresh database.

    python benchmarks/first_comparison.py [--json FILE]

The converted weights are taken from var/models when they are there, so that the one-time conversion is not counted.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import mechanicalsoup

ROOT = Path(__file__).resolve().parent.parent
GOAL = 90.0  # seconds, on 2 cores
PATIENCE = 600.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        share_models(Path(folder))
        server = start(folder)
        try:
            found = measure(server)
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(30)
    print(f"first comparison {found['seconds']:.1f} s after the server was up (goal: {GOAL:.0f} s on 2 cores)")
    print("shown meanwhile: " + "; ".join(found["stages"]))
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=2) + "\n")
    sys.exit(found["seconds"] > GOAL)


def share_models(folder: Path) -> None:
    models = ROOT / "var" / "models"
    if models.exists():
        (folder / "models").symlink_to(models)


def start(folder: str) -> subprocess.Popen[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    own = {"VAR_DIR": folder, "PORT": str(port), "DATABASE_URL": "", "REDIS_URL": "", "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, str(ROOT / "manage.py"), "serve"]
    return subprocess.Popen(command, env=os.environ | own, stdout=subprocess.PIPE, text=True)


def measure(server: subprocess.Popen[str]) -> dict[str, Any]:
    link = ""
    for line in server.stdout or ():
        link = next(iter(re.findall(r"http\S+/r/\S+", line)), link)
        if line.startswith("Ready"):
            return wait_for_comparison(link)
    raise SystemExit("the server stopped before it was ready")


def wait_for_comparison(link: str) -> dict[str, Any]:
    started, stages = time.monotonic(), []
    browser = mechanicalsoup.StatefulBrowser()
    browser.open(link)
    browser.select_form("form[method=post]")
    browser.submit_selected()
    while time.monotonic() - started < PATIENCE:
        if browser.page.select_one("form#answer"):
            return {"seconds": round(time.monotonic() - started, 1), "stages": stages}
        stage = browser.page.select_one(".stage")
        text = re.sub(r" \(.*", "", stage.get_text(strip=True)) if stage else ""
        if text and text not in stages:
            stages.append(text)
        time.sleep(0.5)
        browser.refresh()
    raise SystemExit(f"no comparison after {PATIENCE:.0f} s")


if __name__ == "__main__":
    main()
