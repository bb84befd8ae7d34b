"""The feed-forward part against formulas of its own."""

import math

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


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", mlp.ACTIVATIONS)
def test_activation(name, training):
    y = mlp.activate(tf.constant(X), name, training)
    np.testing.assert_allclose(y, FORMULAS[name](X.astype(np.float64)), atol=2e-6)


@pytest.mark.parametrize("name", mlp.ACTIVATIONS)
def test_inference_has_the_same_bits_at_any_place(name):
    x = tf.random.stateless_normal([1003], [1, 2], stddev=3.0)
    y = mlp.activate(x, name).numpy()
    for start, end in ((0, 1), (0, 17), (5, 36), (37, 1003)):
        part = mlp.activate(x[start:end], name)
        np.testing.assert_array_equal(part, y[start:end])


@pytest.mark.parametrize("compiled", [True, False])
def test_gelu_has_the_gradient_of_autodiff(compiled):
    grads = []
    for training in (True, False):
        x = tf.constant(X)
        with xla_cluster.enabled(compiled), tf.GradientTape() as tape:
            tape.watch(x)
            y = mlp.activate(x, "gelu_tanh", training)
            loss = tf.reduce_sum(y * tf.cos(x))
            grads.append(tape.gradient(loss, x))
    np.testing.assert_allclose(grads[0], grads[1], atol=1e-5)


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
