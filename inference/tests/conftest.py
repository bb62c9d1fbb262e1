"""A worker that runs in the test's own process, with the stand-in model in place of a real one."""

from __future__ import annotations

import pytest

from inference import worker
from inference.tests.standin import stand_in_model


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> object:
    """The model that the worker believes it loaded."""
    model = stand_in_model()
    monkeypatch.setattr(worker, "language_model", lambda name, revision: model)
    return model
