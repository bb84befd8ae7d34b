"""Losses of preferences against TRL's, through the objectives that learn from them."""

import math
import types

import golden_losses
import numpy as np
import pytest
import tensorflow as tf

from trainers.losses import bradley_terry, preference
from trainers.objectives import DPO
from trainers.objectives.dpo import answer_logprobs

GOLDEN = golden_losses.cases("preference")


class Given:
    """A language model whose logits are given."""

    limit = 0
    config = types.SimpleNamespace(task="generate", logit_softcap=0.0)

    def __init__(self, logits_NTV):
        self.logits_NTV = logits_NTV

    def features(self, tokens_BT, training=False):
        del tokens_BT, training
        return self.logits_NTV

    def head(self):
        return tf.eye(self.logits_NTV.shape[-1]), None


def batch_of(case):
    """A Batch, whose groups stand apart in the golden file: chosen, then rejected."""

    def groups(x_NT):
        return np.stack(np.split(x_NT, 2), 1)

    ids, mask = case["ids"], case["mask"]
    return {
        "tokens": tf.constant(groups(ids[:, :-1])),
        "targets": tf.constant(groups(ids[:, 1:])),
        "weights": tf.constant(groups(mask[:, 1:])),
        "lengths": tf.constant(
            groups(np.full((len(ids),), ids.shape[1] - 1, np.int32))
        ),
        "reference_logprobs": tf.constant(groups(case["reference"])),
    }


def given_of(logits):
    """The model of a Batch of the logits of all tokens."""
    chosen, rejected = tf.split(logits[:, :-1], 2)
    stacked = tf.stack([chosen, rejected], 1)
    return Given(tf.reshape(stacked, (-1, *stacked.shape[2:])))


def of_objective(kind, case, logits):
    options = {"reference": "" if kind in preference.ALONE else "cached"}
    if kind in preference.SMOOTHED:
        options["label_smoothing"] = float(case["label_smoothing"])
    objective = DPO(
        kind=kind, beta=float(case["beta"]), gamma=float(case["gamma"]), **options
    )
    loss = objective.loss({"policy": given_of(logits)}, batch_of(case), True)
    return loss.sum / loss.weight


def of_kto(case, logits):
    batch = batch_of(case)
    sums_B2 = answer_logprobs(given_of(logits), batch, True)
    lengths_B2 = tf.reduce_sum(batch["weights"], -1)
    scores_B2 = preference.scores(
        "kto", sums_B2, lengths_B2, batch["reference_logprobs"]
    )
    ratios = case["kl_ratios"]
    kl = preference.kto_kl(ratios.sum(), np.float32(len(ratios)))
    weights = float(case["desirable"]), float(case["undesirable"])
    losses_B = preference.kto(scores_B2, kl, float(case["beta"]), *weights)
    return tf.reduce_mean(losses_B)


def of_rewards(case, rewards):
    losses_B = bradley_terry.pairs(
        tf.stack(tf.split(rewards, 2), 1), case["margin"], float(case["center"])
    )
    return tf.reduce_mean(losses_B)


@pytest.mark.parametrize("kind", [*preference.KINDS, "reward"])
def test_is_that_of_trl(kind):
    assert len(GOLDEN[kind]) == 20
    for case in GOLDEN[kind]:
        x = tf.constant(case["rewards" if kind == "reward" else "logits"])
        with tf.GradientTape() as tape:
            tape.watch(x)
            if kind == "reward":
                loss = of_rewards(case, x)
            elif kind == "kto":
                loss = of_kto(case, x)
            else:
                loss = of_objective(kind, case, x)
        gradient = tape.gradient(loss, x)
        np.testing.assert_allclose(loss, case["loss"], rtol=1e-5, atol=1e-6)
        scale = max(1.0, np.abs(case["gradient"]).max())
        np.testing.assert_allclose(
            gradient, case["gradient"], rtol=1e-5, atol=1e-5 * scale
        )


@pytest.mark.parametrize("shift", [-1, 1])
def test_shifted_labels_are_not_those_of_trl(shift):
    case = dict(GOLDEN["sigmoid"][0])
    case["ids"] = np.roll(case["ids"], shift, 1)
    loss = of_objective("sigmoid", case, tf.constant(case["logits"]))
    assert abs(float(loss) - float(case["loss"])) > 1e-2


@pytest.mark.parametrize("kind", sorted(set(preference.KINDS) - {"kto"}))
def test_gradients_are_finite_at_the_ends(kind):
    """Also where an answer is certain, or hopeless, or absent."""
    scores = tf.constant([[-1e-12, -900.0], [-900.0, -1e-12], [0.0, 0.0], [-5.0, -4.0]])
    with tf.GradientTape() as tape:
        tape.watch(scores)
        losses = preference.losses(kind, scores, 0.5, 0.1, 0.2)
    assert np.isfinite(losses.numpy()).all()
    assert np.isfinite(tape.gradient(losses, scores).numpy()).all()


def test_the_best_of_two_is_a_pair():
    rewards = tf.constant([[0.3, -1.0], [2.0, 2.5]])
    pairs = bradley_terry.pairs(rewards)
    np.testing.assert_allclose(bradley_terry.best_of(rewards), pairs, rtol=1e-6)
    absent = tf.constant([[0.3, -1.0, 70.0], [2.0, 2.5, 0.0]])
    there = tf.constant([[True, True, False]] * 2)
    np.testing.assert_allclose(bradley_terry.best_of(absent, there), pairs, rtol=1e-6)
    three = bradley_terry.best_of(tf.zeros((1, 3)))
    assert float(three[0]) == pytest.approx(math.log(3))


def test_the_divergence_of_kto_is_never_negative():
    assert float(preference.kto_kl(-3.0, 2.0)) == 0
    assert float(preference.kto_kl(3.0, 2.0)) == 1.5
    assert float(preference.kto_kl(0.0, 0.0)) == 0
