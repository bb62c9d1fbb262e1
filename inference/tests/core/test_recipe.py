"""What decides a text, and only that."""

from dataclasses import replace

import pytest

from inference.core.recipe import Recipe

INVERSE = Recipe("inverse", "m")


def test_every_setting_of_an_inverse_explanation_counts():
    changes = {"revision": "r", "device": "cuda", "dtype": "bfloat16", "seed": 1, "max_new_tokens": 99}
    changes |= {"writer": "both"}
    changes |= {"candidates": 1, "tested_steps": 0, "rollouts": 1, "budget": 500, "head": "ab", "model": "n"}
    for name, value in changes.items():
        assert replace(INVERSE, **{name: value}).to_json() != INVERSE.to_json(), name


def test_what_a_method_does_not_use_does_not_count():
    chain = Recipe("chain", "m")
    assert replace(chain, rollouts=9, tested_steps=9, budget=9, candidates=1, head="ab").to_json() == chain.to_json()
    assert replace(chain, seed=1).to_json() != chain.to_json()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"method": "prose"}, "'prose'; allowed are inverse, chain, self_explain, attention"),
        ({"seed": -1}, "seed is -1; allowed is 0"),
        ({"rollouts": 0}, "rollouts is 0; allowed is 1 to 200"),
        ({"candidates": 4}, "candidates is 4; the templates have 1 to 3"),
        ({"candidates": 9, "writer": "model"}, "candidates is 9; allowed is 1 to 8"),
        ({"writer": "me"}, "writer is 'me'; allowed are templates, model, both"),
        ({"budget": 0}, "budget is 0 tokens; allowed is 1 to 100000000, or none"),
        ({"tested_steps": 21}, "allowed is 0 to 20"),
        ({"max_new_tokens": 15}, "allowed is 16 to 2048"),
    ],
)
def test_what_cannot_be_is_refused(change, words):
    with pytest.raises(ValueError, match=words):
        replace(INVERSE, **change)
