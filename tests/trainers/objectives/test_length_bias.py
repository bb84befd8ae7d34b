"""The exact gradients of aggregations: does a wrong answer become longer?

An answer is right or wrong, then fillers, and ends after each with a hazard that has a
logit of its own. All answers are listed with their probabilities, which stand in the
advantages. So a sum over answers is an expectation, and has a closed form.
"""

import numpy as np
import pytest
import tensorflow as tf

from trainers.losses import policy_gradient
from trainers.objectives import GRPO

MOST = 12  # fillers


class Answers:
    """A policy of 12 logits: whether the answer ends after a number of fillers."""

    def __init__(self, hazard):
        self.u = tf.Variable(np.full(MOST, np.log(hazard / (1 - hazard)), np.float32))
        self.config = self

    def logprobs(self, lengths_N):
        """Of the choice to go on, or to end, at each filler, float32 [N, MOST + 1]."""
        place = np.arange(MOST)[None]
        ends_NL = place == lengths_N[:, None] - 1
        logp_NL = tf.where(
            ends_NL, tf.math.log_sigmoid(self.u), tf.math.log_sigmoid(-self.u)
        )
        forced = place == MOST - 1  # the longest answer has no choice
        return tf.pad(tf.where(forced, 0.0, logp_NL), ((0, 0), (1, 0)))


def gradient(monkeypatch, hazard, advantage, **fields):
    """Of the loss for the logits of the hazard, by the objective's own loss."""
    policy = Answers(hazard)
    lengths_N = np.arange(1, MOST + 1)
    chance_N = hazard * (1 - hazard) ** (lengths_N - 1)
    chance_N[-1] = (1 - hazard) ** (MOST - 1)
    mask_NT = (np.arange(MOST + 1)[None] <= lengths_N[:, None]).astype(np.float32)

    def sampled(model, x_ND, targets_BT, options):
        logp = model.logprobs(lengths_N)
        return logp, tf.zeros_like(logp)

    monkeypatch.setattr("trainers.objectives.grpo.features", lambda *args: None)
    monkeypatch.setattr("trainers.objectives.grpo.sampled_logprobs", sampled)
    objective = GRPO(max_new_tokens=MOST + 1, **fields)
    batch = {
        "targets": tf.zeros(mask_NT.shape, tf.int32),
        "weights": tf.constant(mask_NT),
        "old_logprobs": tf.stop_gradient(policy.logprobs(lengths_N)),
        "advantages": tf.constant((advantage * chance_N)[:, None] * mask_NT),
    }
    batch["advantages"] = tf.cast(batch["advantages"], tf.float32)
    with tf.GradientTape() as tape:
        loss = objective.loss({"policy": policy}, batch, True)
    found = tape.gradient(loss.sum, policy.u).numpy()
    return found, mask_NT, chance_N


def wanted(hazard, advantage, weight_of):
    """-A sum over answers of p * weight(|o|) * d log p / d u, by hand in float64."""
    total = np.zeros(MOST)
    for length in range(1, MOST + 1):
        p = hazard * (1 - hazard) ** (length - 1)
        if length == MOST:
            p = (1 - hazard) ** (MOST - 1)
        score = np.zeros(MOST)
        score[: length - 1] = -hazard
        if length < MOST:
            score[length - 1] = 1 - hazard
        total -= advantage * p * weight_of(length + 1) * score
    return total


@pytest.mark.parametrize("hazard", [0.2, 0.5])
@pytest.mark.parametrize("advantage", [-1.0, 1.0])
def test_a_mean_over_each_answer_makes_wrong_ones_longer(
    monkeypatch, hazard, advantage
):
    found, *_ = gradient(monkeypatch, hazard, advantage, aggregation="grpo")
    exact = wanted(hazard, advantage, lambda size: 1 / size)
    np.testing.assert_allclose(found, exact, atol=1e-6)
    # a positive gradient of a wrong answer's hazard: descent ends it later
    published = {0.2: 0.0998, 0.5: 0.0794}[hazard]
    assert abs(abs(found.sum()) - published) < 1e-4
    assert np.sign(found.sum()) == -np.sign(advantage)


@pytest.mark.parametrize("aggregation", ["dr_grpo", "dapo", "bnpo", "rloo"])
@pytest.mark.parametrize("hazard", [0.2, 0.5])
def test_sums_over_tokens_have_no_bias(monkeypatch, aggregation, hazard):
    found, *_ = gradient(monkeypatch, hazard, -1.0, aggregation=aggregation)
    np.testing.assert_allclose(found, np.zeros(MOST), atol=1e-6)


def test_mistake_the_mean_over_each_answer(monkeypatch):
    def each(losses_BT, mask_BT, *, aggregation, max_length):
        return policy_gradient.answer_means(losses_BT, mask_BT)

    monkeypatch.setattr(policy_gradient, "aggregate", each)
    found, *_ = gradient(monkeypatch, 0.2, -1.0, aggregation="dr_grpo")
    assert np.abs(found).max() > 0.01


def test_weights(monkeypatch):
    """What divides: answers, tokens, or answers times the longest."""
    _, mask_NT, _ = gradient(monkeypatch, 0.2, 1.0)
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
