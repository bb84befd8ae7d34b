"""The head and its loss in one, against the plain loss of whole logits."""

import numpy as np
import pytest
import tensorflow as tf

from zoo.layers import cross_entropy

N, D, V = 10, 6, 17
TARGETS = tf.constant([0, 16, 3, 3, 5, 8, 1, 2, 11, 9])
WEIGHTS = tf.constant([1.0, 0.0, 0.5, 2.0, 1.0, 1.0, 0.0, 1.0, 0.25, 1.0])


def inputs(bias):
    x = tf.random.stateless_normal([N, D], [1, 1])
    weight = tf.random.stateless_normal([V, D], [2, 2])
    return [x, weight, tf.random.stateless_normal([V], [3, 3])] if bias else [x, weight]


def ours(x, weight, bias=None, **options):
    return cross_entropy.linear_cross_entropy(
        x, weight, bias, TARGETS, WEIGHTS, **options
    )


def plain(x, weight, bias=None, softcap=0.0, smoothing=0.0):
    logits = tf.matmul(x, weight, transpose_b=True)
    if bias is not None:
        logits = logits + bias
    if softcap:
        logits = softcap * tf.tanh(logits / softcap)
    target = tf.one_hot(TARGETS, V) * (1 - smoothing) + smoothing / V
    losses = -tf.reduce_sum(target * tf.nn.log_softmax(logits), -1)
    return tf.reduce_sum(WEIGHTS * losses)


def value_and_grads(f, given, **options):
    with tf.GradientTape() as tape:
        tape.watch(given)
        loss = 3.0 * f(*given, **options)  # the gradient from above is not 1
    return loss, tape.gradient(loss, given)


@pytest.mark.parametrize("chunk", [1024, 4, 1])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("softcap", [0.0, 2.0])
@pytest.mark.parametrize("bias", [False, True])
def test_is_the_plain_loss(bias, softcap, smoothing, chunk, monkeypatch):
    monkeypatch.setattr(cross_entropy, "_CHUNK", chunk)
    options = {"softcap": softcap, "smoothing": smoothing}
    loss, grads = value_and_grads(ours, inputs(bias), **options)
    wanted, wanted_grads = value_and_grads(plain, inputs(bias), **options)
    assert float(loss) == pytest.approx(float(wanted), rel=1e-6)
    for grad, other in zip(grads, wanted_grads, strict=True):
        assert np.abs(other).max() > 0.1
        np.testing.assert_allclose(grad, other, atol=1e-5)


def test_takes_a_number_of_rows_that_is_not_known():
    @tf.function(autograph=False, input_signature=[tf.TensorSpec([None, D])])
    def graph(x):
        targets = tf.zeros([tf.shape(x)[0]], tf.int32)
        weights = tf.ones([tf.shape(x)[0]])
        return cross_entropy.linear_cross_entropy(
            x, inputs(False)[1], None, targets, weights
        )

    x, weight = inputs(False)
    logits = tf.matmul(x[:3], weight, transpose_b=True)
    wanted = -tf.reduce_sum(tf.nn.log_softmax(logits)[:, 0])
    assert float(graph(x[:3])) == pytest.approx(float(wanted), rel=1e-6)


def test_is_finite_where_the_target_has_no_probability():
    x = tf.constant([[200.0]])
    weight = tf.constant([[1.0], [-1.0], [0.0]])
    loss = cross_entropy.linear_cross_entropy(
        x, weight, None, tf.constant([1]), tf.constant([1.0])
    )
    assert float(loss) == pytest.approx(400.0)


def test_bfloat16_products_give_a_float32_loss():
    x, weight = inputs(False)
    loss, grads = value_and_grads(ours, [tf.cast(x, tf.bfloat16), weight])
    wanted, _ = value_and_grads(plain, [x, weight])
    assert loss.dtype == tf.float32 and grads[1].dtype == tf.float32
    assert float(loss) == pytest.approx(float(wanted), rel=0.02)
