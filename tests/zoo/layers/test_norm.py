"""LayerNorm and RMSNorm against their formulas, whose gradients TensorFlow derives."""

import numpy as np
import pytest
import tensorflow as tf

from zoo.layers import norm

N, D, EPSILON = 7, 16, 1e-5


def inputs(kind):
    x = tf.random.stateless_normal([N, D], [1, 1], mean=2.0, stddev=3.0)
    scale = tf.random.stateless_normal([D], [2, 2], mean=1.0)
    bias = tf.random.stateless_normal([D], [3, 3])
    return [x, scale, bias] if kind == "layernorm" else [x, scale]


def plain(x, scale, bias=None):
    if bias is None:
        square = tf.reduce_mean(x * x, -1, keepdims=True)
        return x / tf.sqrt(square + EPSILON) * scale
    centred = x - tf.reduce_mean(x, -1, keepdims=True)
    variance = tf.reduce_mean(centred**2, -1, keepdims=True)
    return centred / tf.sqrt(variance + EPSILON) * scale + bias


def ours(x, scale, bias=None):
    return norm.normalise(x, scale, bias, EPSILON)


@pytest.mark.parametrize("kind", ["layernorm", "rmsnorm"])
def test_gradient_is_that_of_autodiff(kind):
    results = []
    for f in (ours, plain):
        given = inputs(kind)
        with tf.GradientTape() as tape:
            tape.watch(given)
            y = f(*given)
            loss = tf.reduce_sum(y * tf.random.stateless_normal([N, D], [5, 5]))
        results.append([y, *tape.gradient(loss, given)])
    for mine, wanted in zip(*results, strict=True):
        assert np.abs(wanted).max() > 0.01
        np.testing.assert_allclose(mine, wanted, atol=1e-5)


def layer(kind):
    made = norm.Norm(D, kind, EPSILON)
    for variable, value in zip(made.weights, inputs(kind)[1:], strict=True):
        variable.assign(value)
    return made


@pytest.mark.parametrize("kind", ["layernorm", "rmsnorm"])
def test_training_and_inference_agree(kind):
    x, *_ = given = inputs(kind)
    made = layer(kind)
    np.testing.assert_allclose(made.call(x, training=True), plain(*given), atol=1e-5)
    np.testing.assert_allclose(made.call(x), plain(*given), atol=1e-5)


@pytest.mark.parametrize("kind", ["layernorm", "rmsnorm"])
def test_statistics_are_float32(kind):
    # in bfloat16 the mean of these rows alone would be off by whole units
    x, *_ = given = inputs(kind)
    far = tf.cast(x + 64.0, tf.bfloat16)
    y = layer(kind).call(far, training=True)
    assert y.dtype == tf.bfloat16
    wanted = plain(tf.cast(far, tf.float32), *given[1:])
    np.testing.assert_allclose(tf.cast(y, tf.float32), wanted, atol=0.05)


@pytest.mark.parametrize("kind", ["layernorm", "rmsnorm"])
def test_a_row_has_the_same_bits_at_any_place(kind):
    made = layer(kind)
    x = tf.random.stateless_normal([37, D], [8, 8])
    y = made.call(x).numpy()
    order = np.random.default_rng(0).permutation(37)
    np.testing.assert_array_equal(made.call(tf.gather(x, order)), y[order])
