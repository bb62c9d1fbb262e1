"""The same seed on the same device writes the same trace, whoever else computes and in whichever process."""

import copy
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from inference.core import LanguageModel, ReasonSettings, reason
from inference.tests.core.conftest import PROBLEM
from inference.tests.standin import parts

SEEDS = (0, 5)
ELSEWHERE = """
import json
import torch
from inference.tests.core.test_seed import SEEDS, written
torch.set_num_threads(1)
print(json.dumps([written(seed) for seed in SEEDS]))
"""


def written(seed, model=None):
    """By a real decoding loop on random weights: every token, log-probability, entropy and step."""
    model = model or LanguageModel(copy.deepcopy(parts()[0]), parts()[1], "tiny")
    return reason(model, PROBLEM, ReasonSettings(max_new_tokens=24, seed=seed)).to_json()


@pytest.fixture(scope="module")
def here():
    return json.loads(json.dumps([written(seed) for seed in SEEDS]))


def test_another_process_writes_the_same(here):
    made = subprocess.run([sys.executable, "-c", ELSEWHERE], capture_output=True, text=True, check=False, timeout=240)
    assert made.returncode == 0, made.stderr
    assert json.loads(made.stdout.splitlines()[-1]) == here
    assert here[0]["tokens"] != here[1]["tokens"]


def test_other_threads_write_the_same_at_the_same_time(here):
    model = LanguageModel(copy.deepcopy(parts()[0]), parts()[1], "tiny")
    with ThreadPoolExecutor(3) as pool:
        made = list(pool.map(lambda seed: written(seed, model), SEEDS * 3))
    assert json.loads(json.dumps(made)) == here * 3
