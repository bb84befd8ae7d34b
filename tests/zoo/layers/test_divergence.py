"""The distillation loss of two heads: its value and gradients, at any chunk size."""

import numpy as np
import pytest
import tensorflow as tf

from zoo.layers import divergence
from zoo.layers.divergence import Head, linear_distillation

N, V = 7, 9


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(divergence, "_CHUNK", 3)


def numbers(*shape, seed=0):
    values = np.random.default_rng([seed, *shape]).normal(0, 1.5, shape)
    return tf.constant(values, tf.float32)


X_ND, WEIGHT_VD, BIAS_V = numbers(N, 4), numbers(V, 4), numbers(V)
TEACHER = Head(numbers(N, 5), numbers(V, 5), numbers(V, seed=1), 3.0)
TARGETS_N = tf.constant(np.random.default_rng(0).integers(0, V, N), tf.int32)
WEIGHTS_N = tf.constant([1, 0, 0.5, 2, 1, 0, 1], tf.float32)


def softmax(z):
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def formula(x, weight, bias, softcap, kind, temperature, alpha):
    """The three sums in float64 by the definitions."""

    def logits(x, weight, bias, cap):
        z = np.float64(x) @ np.float64(weight).T + (0 if bias is None else bias)
        return cap * np.tanh(z / cap) if cap else z

    def kl(a, b):
        return (a * np.log(a / b)).sum(-1)

    z, goal = logits(x, weight, bias, softcap), logits(*map(_numpy, TEACHER[:3]), 3.0)
    q, p = softmax(z / temperature), softmax(goal / temperature)
    m = (p + q) / 2
    apart = {
        "forward_kl": kl(p, q),
        "reverse_kl": kl(q, p),
        "jsd": (kl(p, m) + kl(q, m)) / 2,
    }[kind]
    hard = -np.log(softmax(z)[np.arange(N), TARGETS_N])
    loss = alpha * temperature**2 * apart + (1 - alpha) * hard
    return [(np.float64(WEIGHTS_N) * one).sum() for one in (loss, apart, hard)]


def _numpy(x):
    return None if x is None else x.numpy()


@pytest.mark.parametrize("kind", divergence.KINDS)
@pytest.mark.parametrize(
    "softcap, temperature, alpha, bias_V",
    [(0.0, 1.0, 1.0, None), (2.0, 2.5, 0.3, BIAS_V), (0.0, 0.7, 0.0, BIAS_V)],
)
@pytest.mark.parametrize("static", [True, False])
def test_value_and_gradients(kind, softcap, temperature, alpha, bias_V, static):
    options = kind, temperature, alpha

    @tf.function
    def run(x_ND):
        if not static:  # hides the number of rows
            x_ND = tf.gather(x_ND, tf.range(tf.cast(tf.exp(0.0) * N, tf.int32)))
            x_ND = tf.ensure_shape(x_ND, [None, 4])
        student = Head(x_ND, WEIGHT_VD, bias_V, softcap)
        with tf.GradientTape() as tape:
            watched = [x for x in student[:3] if x is not None]
            tape.watch(watched)
            sums = linear_distillation(student, TEACHER, TARGETS_N, WEIGHTS_N, *options)
        return sums, tape.gradient(sums[0], watched)

    sums, grads = run(X_ND)
    arrays = [_numpy(x) for x in (X_ND, WEIGHT_VD, bias_V)]
    np.testing.assert_allclose(sums, formula(*arrays, softcap, *options), rtol=2e-5)
    given = [i for i, x in enumerate(arrays) if x is not None]
    for place, grad in zip(given, grads, strict=True):
        for at in np.ndindex(arrays[place].shape):
            step = np.zeros_like(arrays[place], np.float64)
            step[at] = 1e-5
            ends = []
            for sign in (1, -1):
                moved = list(arrays)
                moved[place] = np.float64(arrays[place]) + sign * step
                ends.append(formula(*moved, softcap, *options)[0])
            slope = (ends[0] - ends[1]) / 2e-5
            assert float(grad[at]) == pytest.approx(slope, abs=2e-5, rel=2e-4)


def test_a_student_like_its_teacher_has_no_divergence():
    for kind in divergence.KINDS:
        with tf.GradientTape() as tape:
            tape.watch(TEACHER.x_ND)
            loss, apart, _ = linear_distillation(
                TEACHER, TEACHER, TARGETS_N, WEIGHTS_N, kind, 2.0, 1.0
            )
        assert float(loss) == pytest.approx(0, abs=1e-6)
        assert float(apart) == pytest.approx(0, abs=1e-6)
        np.testing.assert_allclose(tape.gradient(loss, TEACHER.x_ND), 0, atol=1e-6)


def test_far_logits_stay_finite():
    far = Head(X_ND * 1000, WEIGHT_VD)
    for kind in divergence.KINDS:
        with tf.GradientTape() as tape:
            tape.watch(far.x_ND)
            sums = linear_distillation(far, TEACHER, TARGETS_N, WEIGHTS_N, kind)
        assert np.isfinite(sums).all()
        assert np.isfinite(tape.gradient(sums[0], far.x_ND)).all()


def test_rows_without_weight_have_no_gradient():
    with tf.GradientTape() as tape:
        tape.watch(X_ND)
        sums = linear_distillation(
            Head(X_ND, WEIGHT_VD), TEACHER, TARGETS_N, WEIGHTS_N, "jsd"
        )
    grads_ND = tape.gradient(sums[0], X_ND).numpy()
    assert not grads_ND[[1, 5]].any() and grads_ND[[0, 2, 3, 4, 6]].any(1).all()
