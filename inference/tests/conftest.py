"""A worker that runs in the test's own process, with the stand-in model in place of a real one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from inference import worker
from inference.tests.standin import stand_in_model


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> object:
    """The model that the worker believes it loaded."""
    model = stand_in_model()
    monkeypatch.setattr(worker, "language_model", lambda name, revision: model)
    return model


@pytest.fixture
def problems(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A file of the problems that the test's module has as ROWS."""
    path = tmp_path / "problems.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in request.module.ROWS))
    return path


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out.jsonl"
