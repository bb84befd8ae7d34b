"""The exact gradients of aggregations: does a wrong answer become longer?

The answers, and the closed form, are those of `exact_gradients`.
"""

import numpy as np
import pytest
import tensorflow as tf
from exact_gradients import MOST, length_gradient, length_wanted

from trainers.losses import policy_gradient


@pytest.mark.parametrize("hazard", [0.2, 0.5])
@pytest.mark.parametrize("advantage", [-1.0, 1.0])
def test_a_mean_over_each_answer_makes_wrong_ones_longer(hazard, advantage):
    found, *_ = length_gradient(hazard, advantage, aggregation="grpo")
    exact = length_wanted(hazard, advantage, lambda size: 1 / size)
    np.testing.assert_allclose(found, exact, atol=1e-6)
    # a positive gradient of a wrong answer's hazard: descent ends it later
    published = {0.2: 0.0998, 0.5: 0.0794}[hazard]
    assert abs(abs(found.sum()) - published) < 1e-4
    assert np.sign(found.sum()) == -np.sign(advantage)


@pytest.mark.parametrize("aggregation", ["dr_grpo", "dapo", "bnpo", "rloo"])
@pytest.mark.parametrize("hazard", [0.2, 0.5])
def test_sums_over_tokens_have_no_bias(aggregation, hazard):
    found, *_ = length_gradient(hazard, -1.0, aggregation=aggregation)
    np.testing.assert_allclose(found, np.zeros(MOST), atol=1e-6)


def test_mistake_the_mean_over_each_answer(monkeypatch):
    def each(losses_BT, mask_BT, *, aggregation, max_length):
        return policy_gradient.answer_means(losses_BT, mask_BT)

    monkeypatch.setattr(policy_gradient, "aggregate", each)
    found, *_ = length_gradient(0.2, -1.0, aggregation="dr_grpo")
    assert np.abs(found).max() > 0.01


def test_weights():
    """What divides: answers, tokens, or answers times the longest."""
    _, mask_NT, _ = length_gradient(0.2, 1.0)
    tokens, answers = mask_NT.sum(), len(mask_NT)
    expected = {
        "grpo": answers,
        "gspo": answers,
        "rloo": answers,
        "dapo": tokens,
        "bnpo": tokens,
        "dr_grpo": answers * (MOST + 1),
    }
    for aggregation, weight in expected.items():
        mask = tf.constant(mask_NT)
        how = {"aggregation": aggregation, "max_length": MOST + 1}
        assert float(policy_gradient.aggregate(mask, mask, **how)[1]) == weight
