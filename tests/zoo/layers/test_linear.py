"""Products of a linear layer: one, some and many rows, known while tracing or not."""

import numpy as np
import pytest
import tensorflow as tf

from zoo.layers.linear import Linear, product, trained

_ROWS = [1, 2, 3, 4, 11, 12, 16, 33]


def _cases(count, inputs=37, outputs=53):
    """Rows and a weight of an odd size."""
    rng = np.random.default_rng(count)
    return (
        rng.normal(size=(count, inputs)).astype("float32"),
        rng.normal(size=(outputs, inputs)).astype("float32"),
    )


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("count", _ROWS)
def test_product_equals_matmul(count, known):
    x_NI, weight_OI = _cases(count)
    spec = tf.TensorSpec([count if known else None, x_NI.shape[1]])
    weight = tf.constant(weight_OI)
    function = tf.function(lambda x: product(x, weight), input_signature=[spec])
    expected = x_NI.astype("float64") @ weight_OI.T.astype("float64")
    np.testing.assert_allclose(function(x_NI), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("count", _ROWS[1:])
def test_rows_do_not_depend_on_their_mates(count):
    x_NI, weight_OI = _cases(count, 64, 200)
    y_NO = product(x_NI, weight_OI).numpy()
    np.testing.assert_array_equal(product(x_NI[::-1], weight_OI), y_NO[::-1])
    others = _cases(count + 1, 64, 200)[0][:count]
    others[-1] = x_NI[-1]
    np.testing.assert_array_equal(product(others, weight_OI)[-1], y_NO[-1])


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize(("inputs", "outputs"), [(37, 53), (53, 37), (48, 48)])
def test_the_training_product_equals_plain_operations(
    inputs, outputs, biased, compiled
):
    x_NI, weight_OI = _cases(16, inputs, outputs)
    weight_OI *= 0.1  # the sine below keeps the absolute error of large values
    bias_O = np.linspace(-1, 1, outputs, dtype="float32")
    given = [x_NI, weight_OI, bias_O] if biased else [x_NI, weight_OI]

    def plain(x_NI, weight_OI, bias_O=0.0):
        return tf.matmul(x_NI, weight_OI, transpose_b=True) + bias_O

    def found(function, *given):
        with tf.GradientTape() as tape:
            tape.watch(given)
            y_NO = function(*given)
            loss = tf.reduce_sum(tf.sin(y_NO))
        return [y_NO, *tape.gradient(loss, given)]

    own = tf.function(found, jit_compile=compiled, autograph=False)
    tensors = [tf.constant(x) for x in given]
    exact = [tf.constant(x, tf.float64) for x in given]
    for one, other in zip(own(trained, *tensors), found(plain, *exact), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


def test_the_training_product_in_bfloat16_rounds_like_plain_operations():
    x_NI, weight_OI = (tf.cast(x, tf.bfloat16) for x in _cases(16, 53, 37))
    y_NO = tf.cast(trained(x_NI, weight_OI), tf.float32)
    exact = tf.cast(x_NI, tf.float32) @ tf.transpose(tf.cast(weight_OI, tf.float32))
    np.testing.assert_allclose(y_NO, exact, rtol=1e-2, atol=1e-2)


def test_training_and_prediction_have_the_same_values_and_gradients():
    x_NI = tf.constant(_cases(16)[0])
    layer = Linear(37, 53)
    found = []
    for training in (True, False):
        with tf.GradientTape() as tape:
            tape.watch(x_NI)
            y_NO = layer.call(x_NI, training)
            loss = tf.reduce_sum(y_NO**2)
        found.append([y_NO, *tape.gradient(loss, [x_NI, layer.weight.value])])
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
