"""Gradients of the trainers' losses that have a closed form.

Of lengths: an answer is right or wrong, then fillers, and ends after each with a hazard
that has a logit of its own. All answers are listed with their probabilities, which
stand in the advantages. So a sum over answers is an expectation.

Of what was sampled: an answer has one token, whose logits are the variable.
"""

from unittest import mock

import numpy as np
import tensorflow as tf

from trainers.objectives import GRPO, grpo

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


def length_gradient(hazard, advantage, **fields):
    """Of the loss for the logits of the hazard, by the objective's own loss.

    Returns:
      The gradient, the mask of the answers, and their probabilities.
    """
    policy = Answers(hazard)
    lengths_N = np.arange(1, MOST + 1)
    chance_N = hazard * (1 - hazard) ** (lengths_N - 1)
    chance_N[-1] = (1 - hazard) ** (MOST - 1)
    mask_NT = (np.arange(MOST + 1)[None] <= lengths_N[:, None]).astype(np.float32)

    def sampled(model, x_ND, targets_BT, options):
        logp = model.logprobs(lengths_N)
        return logp, tf.zeros_like(logp)

    objective = GRPO(max_new_tokens=MOST + 1, **fields)
    batch = {
        "targets": tf.zeros(mask_NT.shape, tf.int32),
        "weights": tf.constant(mask_NT),
        "old_logprobs": tf.stop_gradient(policy.logprobs(lengths_N)),
        "advantages": tf.constant((advantage * chance_N)[:, None] * mask_NT),
    }
    batch["advantages"] = tf.cast(batch["advantages"], tf.float32)
    parts = {"features": lambda *args: None, "sampled_logprobs": sampled}
    with mock.patch.multiple(grpo, **parts), tf.GradientTape() as tape:
        loss = objective.loss({"policy": policy}, batch, True)
    found = tape.gradient(loss.sum, policy.u).numpy()
    return found, mask_NT, chance_N


def length_wanted(hazard, advantage, weight_of):
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


def sampled_wanted(logits, rewards, temperature, top_k):
    """The gradient of the mean reward under the sampled distribution, float64."""
    order = np.argsort(-logits)
    kept = np.zeros(len(logits), bool)
    kept[order[: top_k or len(logits)]] = True
    q = np.where(kept, np.exp(logits / temperature), 0)
    q /= q.sum()
    return q, q * (rewards - q @ rewards) / temperature


class OneToken:
    """A model whose logits are a variable."""

    config = None

    def __init__(self, logits):
        self.z = tf.Variable(logits[None], dtype=tf.float32)

    def head(self):
        return tf.eye(self.z.shape[1]), None

    def logits(self, x_ND):
        return x_ND


def sampled_gradient(logits, rewards, q, objective):
    """The same by the loss of all tokens, each with its probability."""
    model, size = OneToken(logits), len(logits)
    with tf.GradientTape() as tape:
        x_ND = tf.repeat(model.z, size, 0)
        targets = tf.range(size)[:, None]
        logp, _ = grpo.sampled_logprobs(model, x_ND, targets, objective)
        ratio = tf.exp(logp - tf.stop_gradient(logp))
        total = tf.reduce_sum(ratio[:, 0] * tf.constant(q * rewards, tf.float32))
    return tape.gradient(total, model.z).numpy()[0]
