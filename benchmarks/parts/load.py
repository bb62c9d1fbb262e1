"""Threads that send answers as fast as they are taken: answers per second, for two systems alike."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import requests

WARM_UP = 5  # answers of each thread before the clock starts


def throughput(rate: Callable[[int], Iterator[None]], threads: int) -> dict[str, Any]:
    """`rate(thread)` yields after each answer that was sent and each next thing that was read."""
    ready = threading.Barrier(threads)
    begun: list[float] = []

    def run(thread: int) -> list[float]:
        answers = rate(thread)
        for _ in range(WARM_UP):
            next(answers)
        ready.wait()
        begun.append(time.perf_counter())
        seconds, last = [], time.perf_counter()
        for _ in answers:
            seconds.append(time.perf_counter() - last)
            last = time.perf_counter()
        return seconds

    with ThreadPoolExecutor(threads) as pool:
        took = [seconds for found in pool.map(run, range(threads)) for seconds in found]
    whole = time.perf_counter() - min(begun)
    return {
        "threads": threads,
        "answers": len(took),
        "answers_per_second": round(len(took) / whole, 1),
        "milliseconds_mean": round(1000 * sum(took) / len(took), 1),
    }


class Ours:
    """Raters of a study through its real pages: send the answer's form, follow it to the next page."""

    def __init__(self, url: str, token: str, each: int) -> None:
        self.url, self.token, self.each = url, token, each

    def rate(self, thread: int) -> Iterator[None]:
        browser = requests.Session()
        page = browser.get(f"{self.url}/r/{self.token}/", timeout=60)
        page = browser.post(page.url, data={"csrfmiddlewaretoken": secret(page.text)}, timeout=60)
        if 'id="start"' in page.text:
            page = browser.post(page.url, data={"csrfmiddlewaretoken": secret(page.text)}, timeout=60)
        for _ in range(self.each):
            found = re.search(r'<form id="answer".*?action="([^"]+)".*?</form>', page.text, re.DOTALL)
            if found is None:
                raise SystemExit(f"{page.url} has no answer form: {page.text[:500]}")
            fields = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', found[0]))
            page = browser.post(self.url + found[1], data=fields | {"choice": "a1"}, timeout=60)
            if not page.ok:
                raise SystemExit(f"{page.url} answered {page.status_code}: {page.text[:500]}")
            yield


def secret(html: str) -> str:
    found = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', html)
    return found[1] if found else ""
