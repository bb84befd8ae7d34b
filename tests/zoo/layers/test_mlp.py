"""The feed-forward part against formulas of its own."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from zoo.layers import mlp, xla_cluster

X = np.linspace(-6, 6, 41, dtype=np.float32).reshape(-1, 1)
ERF = np.vectorize(math.erf)
FORMULAS = {
    "gelu": lambda x: 0.5 * x * (1 + ERF(x / math.sqrt(2))),
    "gelu_tanh": lambda x: (
        0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    ),
    "relu": lambda x: np.maximum(x, 0),
    "relu_squared": lambda x: np.maximum(x, 0) ** 2,
    "silu": lambda x: x / (1 + np.exp(-x)),
}


def test_every_activation_has_a_formula():
    assert set(mlp.ACTIVATIONS) == FORMULAS.keys()


@pytest.mark.parametrize("name", mlp.ACTIVATIONS)
def test_activation(name):
    y = mlp.activate(tf.constant(X), name)
    np.testing.assert_allclose(y, FORMULAS[name](X.astype(np.float64)), atol=2e-6)


@pytest.mark.parametrize("name", mlp.ACTIVATIONS)
def test_inference_has_the_same_bits_at_any_place(name):
    x = tf.random.stateless_normal([1003], [1, 2], stddev=3.0)
    y = mlp.activate(x, name).numpy()
    for start, end in ((0, 1), (0, 17), (5, 36), (37, 1003)):
        part = mlp.activate(x[start:end], name)
        np.testing.assert_array_equal(part, y[start:end])


def _gradients(layer, x, training):
    """The output of a layer, and the gradients of its input and variables."""
    values = [v.value for v in layer.weights]
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer.call(x, training=training)
        loss = tf.reduce_sum(tf.cast(y, tf.float32) ** 2)
    return [y, *tape.gradient(loss, [x, *values])]


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("gated", [False, True])
@pytest.mark.parametrize("name", mlp.ACTIVATIONS)
def test_training_has_the_values_and_gradients_of_autodiff(name, gated, compiled):
    layer = mlp.Mlp(8, 12, name, gated, True, 0.02)
    for i, variable in enumerate(layer.weights):
        variable.assign(tf.random.stateless_normal(variable.shape, [i, i]))
    x = tf.random.stateless_normal([5, 8], [1, 2])
    with xla_cluster.enabled(compiled):
        found = _gradients(layer, x, True)
    for ours, wanted in zip(found, _gradients(layer, x, False), strict=True):
        scale = np.abs(wanted).max()
        np.testing.assert_allclose(ours / scale, wanted / scale, atol=1e-5)


def test_training_in_bfloat16_computes_activations_in_float32():
    x = tf.random.stateless_normal([5, 8], [1, 2])
    found = []
    for policy, dtype in (("mixed_bfloat16", tf.bfloat16), ("float32", tf.float32)):
        keras.utils.set_random_seed(1)
        keras.config.set_dtype_policy(policy)
        try:
            layer = mlp.Mlp(8, 12, "silu", True, False, 0.02)
        finally:
            keras.config.set_dtype_policy("float32")
        found.append(_gradients(layer, tf.cast(x, dtype), True))
        assert [t.dtype for t in found[-1][:2]] == [dtype] * 2
    for ours, wanted in zip(*found, strict=True):
        scale = np.abs(wanted).max()
        ours = tf.cast(ours, tf.float32)
        np.testing.assert_allclose(ours / scale, wanted / scale, atol=2e-2)


def test_the_backward_pass_computes_the_activation_again():
    """So the graph keeps the input of the activation, and not its output."""
    layer = mlp.Mlp(8, 12, "silu", True, False, 0.02)

    @tf.function
    def step(x):
        return _gradients(layer, x, True)

    with xla_cluster.enabled(False):
        graph = step.get_concrete_function(tf.TensorSpec([5, 8])).graph
    products = [op for op in graph.get_operations() if op.type == "MatMul"]
    down, of_weight = (
        next(op for op in products if op.outputs[0].shape == shape)
        for shape in ([5, 8], [8, 12])
    )
    assert down.inputs[0].shape == of_weight.inputs[1].shape == [5, 12]
    assert down.inputs[0] is not of_weight.inputs[1]


@pytest.mark.parametrize("gated", [False, True])
def test_mlp(gated):
    layer = mlp.Mlp(8, 12, "silu", gated, True, 0.02)
    x = tf.random.stateless_normal([5, 8], [1, 2])
    for i, variable in enumerate(layer.weights):
        variable.assign(tf.random.stateless_normal(variable.shape, [i, i]))
    up, up_bias, down, down_bias = (np.asarray(v.value) for v in layer.weights)
    h = x.numpy() @ up.T + up_bias
    if gated:
        h = FORMULAS["silu"](h[:, :12]) * h[:, 12:]
    else:
        h = FORMULAS["silu"](h)
    wanted = h @ down.T + down_bias
    np.testing.assert_allclose(layer.call(x), wanted, rtol=1e-5, atol=1e-4)
    assert [v.path.split("/", 1)[1] for v in layer.weights] == [
        "up/weight",
        "up/bias",
        "down/weight",
        "down/bias",
    ]
