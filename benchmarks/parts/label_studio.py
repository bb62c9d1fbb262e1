"""The same kind of work in Label Studio: store a pairwise annotation, get the next task. For the ratio in one run.

One user's token serves all threads; each thread annotates tasks of its own, so that none waits for another's lock.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests

TOKEN = "0123456789abcdef0123456789abcdef01234567"  # of a throw-away server on this machine
STARTS_WITHIN = 180  # seconds
CONFIG = """<View><Header value="Which explanation is better?"/><Text name="question" value="$question"/>
<Text name="left" value="$left"/><Text name="right" value="$right"/>
<Choices name="choice" toName="question" choice="single" required="true">
<Choice value="a2"/><Choice value="a1"/><Choice value="tie"/><Choice value="b1"/><Choice value="b2"/>
</Choices></View>"""


@contextmanager
def served(program: str, folder: str, database: str, port: int) -> Iterator[str]:
    """Label Studio on an empty PostgreSQL database; `program` is the `label-studio` of a virtual environment."""
    found = urlsplit(database)
    ours = ("DJANGO_SETTINGS_MODULE", "DATABASE_URL", "REDIS_URL", "SECRET_KEY", "VAR_DIR")
    environment = {name: value for name, value in os.environ.items() if name not in ours} | {
        **{"DJANGO_DB": "default", "POSTGRE_NAME": found.path.strip("/"), "POSTGRE_USER": str(found.username)},
        **{"POSTGRE_PASSWORD": str(found.password), "POSTGRE_HOST": str(found.hostname)},
        **{"POSTGRE_PORT": str(found.port), "DEBUG": "false", "LOG_LEVEL": "ERROR", "SENTRY_DSN": ""},
        **{"LATEST_VERSION_CHECK": "false", "COLLECT_ANALYTICS": "False", "FRONTEND_SENTRY_DSN": ""},
        "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true",
    }
    command = [program, "start", "--no-browser", "-p", str(port), "-b", "--data-dir", folder]
    command += ["--username", "bench@example.org", "--password", "only-for-this-run", "--user-token", TOKEN]
    log = Path(folder, "label-studio.log")
    with log.open("ab") as written:
        process = subprocess.Popen(command, env=environment, stdout=written, stderr=written)
    try:
        url = f"http://127.0.0.1:{port}"
        wait_for(url, process, log)
        yield url
    finally:
        process.terminate()
        process.wait(30)


def wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + STARTS_WITHIN
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if requests.get(f"{url}/health", timeout=5).ok:
                return
        except requests.ConnectionError:
            time.sleep(1)
    raise SystemExit(f"Label Studio did not start within {STARTS_WITHIN} s:\n{log.read_text()[-2000:]}")


class Project:
    """A project with one task per annotation; `task(thread)` are those of one thread."""

    def __init__(self, url: str, left: str, right: str, threads: int, each: int) -> None:
        self.url, self.each = url, each
        api = session()
        made = api.post(f"{url}/api/projects/", json={"title": "Benchmark", "label_config": CONFIG}, timeout=60)
        self.id = checked(made).json()["id"]
        tasks = [{"question": f"What is 1 + {n}?", "left": left, "right": right} for n in range(threads * each)]
        checked(api.post(f"{url}/api/projects/{self.id}/import", json=tasks, timeout=300))
        page = {"project": self.id, "page_size": len(tasks), "fields": "task_only"}
        listed = checked(api.get(f"{url}/api/tasks/", params=page, timeout=300)).json()
        self.tasks = sorted(task["id"] for task in listed["tasks"])
        if len(self.tasks) != len(tasks):
            raise SystemExit(f"Label Studio lists {len(self.tasks)} of {len(tasks)} tasks.")

    def rate(self, thread: int) -> Iterator[None]:
        """Yields after each annotation that was stored and each next task that was read."""
        api = session()
        result = {"from_name": "choice", "to_name": "question", "type": "choices", "value": {"choices": ["a1"]}}
        for task in self.tasks[thread * self.each : (thread + 1) * self.each]:
            sent = {"result": [result], "lead_time": 1.0}
            checked(api.post(f"{self.url}/api/tasks/{task}/annotations/", json=sent, timeout=60))
            answered = api.get(f"{self.url}/api/projects/{self.id}/next", timeout=60)
            if answered.status_code != 404:  # 404: no task is left
                checked(answered)
            yield


def session() -> requests.Session:
    api = requests.Session()
    api.headers["Authorization"] = f"Token {TOKEN}"
    return api


def checked(response: Any) -> Any:
    if not response.ok:
        raise SystemExit(f"Label Studio answered {response.status_code} to {response.url}: {response.text[:500]}")
    return response
