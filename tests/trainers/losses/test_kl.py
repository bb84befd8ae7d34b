"""Which divergence each placement of an estimate has the gradient of."""

import numpy as np
import pytest
import tensorflow as tf

from trainers.losses import kl

K = 8
RNG = np.random.default_rng(0)
LOGITS = RNG.normal(0, 1, K).astype(np.float32)
REFERENCE = np.log(RNG.dirichlet(np.full(K, 2.0))).astype(np.float32)
PI = np.exp(LOGITS) / np.exp(LOGITS).sum()
# gradients for the logits, in closed form
_LOG = np.log(PI) - REFERENCE
REVERSE = PI * (_LOG - (PI * _LOG).sum())
FORWARD = PI - np.exp(REFERENCE)


def mean_gradient(terms_of, sampled=PI):
    """The gradient of the mean of terms over all actions, sampled with `sampled`."""
    logits = tf.constant(LOGITS)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        terms = terms_of(tf.nn.log_softmax(logits))
        loss = tf.reduce_sum(tf.constant(sampled.astype(np.float32)) * terms)
    return tape.gradient(loss, logits).numpy()


def in_reward(estimate):
    """The policy gradient of a reward, here a cost, that the policy is given."""
    return lambda logp: tf.stop_gradient(estimate(logp, REFERENCE)) * logp


@pytest.mark.parametrize(
    "terms, wanted",
    [
        (lambda x: kl.in_loss("reverse", x, REFERENCE, np.log(PI)), REVERSE),
        (lambda x: kl.in_loss("forward", x, REFERENCE, np.log(PI)), FORWARD),
        (lambda x: kl.in_loss("none", x, REFERENCE, np.log(PI)) + 0 * x, 0 * PI),
        (lambda x: kl.k2(x, REFERENCE), REVERSE),
        (lambda x: kl.k3(x, REFERENCE), FORWARD),
        (lambda x: kl.k1(x, REFERENCE), 0 * PI),
        (in_reward(kl.k1), REVERSE),
    ],
)
def test_each_placement_has_the_gradient_it_is_named_after(terms, wanted):
    assert np.abs(REVERSE - FORWARD).max() > 0.05
    np.testing.assert_allclose(mean_gradient(terms), wanted, atol=1e-6)


@pytest.mark.parametrize("estimate", [kl.k2, kl.k3])
def test_no_other_estimate_in_the_reward_has_that_of_a_divergence(estimate):
    gradient = mean_gradient(in_reward(estimate))
    for other in (REVERSE, FORWARD):
        cosine = gradient @ other / np.linalg.norm(gradient) / np.linalg.norm(other)
        assert cosine < 0.99


def test_the_reverse_one_is_right_for_tokens_of_another_policy():
    sampled = np.random.default_rng(1).dirichlet(np.full(K, 3.0))
    log_q = np.log(sampled).astype(np.float32)

    def terms(logp):
        return kl.in_loss("reverse", logp, REFERENCE, log_q)

    np.testing.assert_allclose(mean_gradient(terms, sampled), REVERSE, atol=1e-6)
    logp = tf.nn.log_softmax(LOGITS)
    mean = (sampled * terms(logp)).numpy().sum()
    assert mean == pytest.approx((PI * _LOG).sum(), abs=1e-6)


def test_estimates_agree_in_the_mean_and_near_the_reference():
    logp = np.log(PI)
    wanted = (PI * _LOG).sum()
    for estimate in (kl.k1, kl.k3):
        mean = float(tf.reduce_sum(PI * estimate(logp, REFERENCE)))
        assert mean == pytest.approx(wanted, abs=1e-6)
    for estimate in (kl.k1, kl.k2, kl.k3):
        assert not np.any(estimate(logp, logp))
    assert np.all(kl.k3(logp, REFERENCE) >= 0)


def test_far_from_the_reference_all_stay_finite():
    logp = tf.constant([-100.0, -0.1, -30.0])
    reference = tf.constant([-0.1, -100.0, -0.1])
    for name in ("reverse", "forward"):
        with tf.GradientTape() as tape:
            tape.watch(logp)
            terms = kl.in_loss(name, logp, reference, tf.constant([-100.0, -0.1, -30]))
        gradient = tape.gradient(terms, logp)
        assert np.all(np.isfinite(terms)) and np.all(np.isfinite(gradient))
        if name == "reverse":  # exactly l - r, where k3 is 1e13
            np.testing.assert_allclose(gradient, logp - reference)


@pytest.mark.parametrize(
    "name, place, message",
    [
        ("k1", "loss", "in the loss: the mean of its gradient is 0"),
        ("k3", "reward", "in the reward: .*collapses; none, reverse allowed"),
        ("k2", "reward", "of no divergence"),
        ("k3", "loss", "say 'forward'.*forward, none, reverse allowed"),
        ("k2", "loss", "say 'reverse'"),
        ("k1", "reward", "say 'reverse'"),
        ("forward", "reward", "none, reverse allowed"),
        ("jsd", "loss", "objective.kl: 'jsd', forward, none, reverse allowed"),
    ],
)
def test_what_does_not_optimise_what_it_names_is_refused(name, place, message):
    with pytest.raises(ValueError, match=message):
        kl.check_placement(name, place)


@pytest.mark.parametrize(
    "name, place",
    [(k, "loss") for k in kl.KINDS] + [("reverse", "reward"), ("none", "reward")],
)
def test_what_does_is_let_pass(name, place):
    kl.check_placement(name, place)
