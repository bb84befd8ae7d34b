"""Attention against a plain one, whose gradients TensorFlow derives."""

import numpy as np
import pytest
import tensorflow as tf

from zoo.layers import attention

B, T, D = 2, 8, 4  # D is the width of a head


def rows(heads, seed):
    return tf.random.stateless_normal([B * T, heads * D], [seed, 0])


def plain(q, k, v, heads, kv_heads):
    """Softmax attention with an infinite mask, one key head for each query head."""

    def split(x, n):
        return tf.transpose(tf.reshape(x, (B, T, n, D)), (0, 2, 1, 3))

    def repeat(x):
        return tf.repeat(split(x, kv_heads), heads // kv_heads, 1)

    scores = tf.einsum("bhtd,bhsd->bhts", split(q, heads), repeat(k)) / D**0.5
    past = np.tril(np.ones((T, T), bool))
    p = tf.nn.softmax(tf.where(past, scores, -np.inf))
    out = tf.einsum("bhts,bhsd->bhtd", p, repeat(v))
    return tf.reshape(tf.transpose(out, (0, 2, 1, 3)), (B * T, heads * D))


def gradients(f, inputs):
    weights = None
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        y = f(*inputs)
        weights = tf.random.stateless_normal(y.shape, [9, 9])
        loss = tf.reduce_sum(y * weights)
    return y, tape.gradient(loss, inputs)


@pytest.mark.parametrize("blocks", [1, 2, 4])
@pytest.mark.parametrize("heads, kv_heads", [(4, 4), (4, 2), (4, 1)])
def test_causal_is_plain_attention(heads, kv_heads, blocks):
    inputs = [rows(heads, 1), rows(kv_heads, 2), rows(kv_heads, 3)]

    def ours(q, k, v, training=True):
        return attention.causal(q, k, v, B, heads, kv_heads, blocks, training)

    y, grads = gradients(ours, inputs)
    wanted, wanted_grads = gradients(lambda *x: plain(*x, heads, kv_heads), inputs)
    np.testing.assert_allclose(y, wanted, atol=1e-5)
    for grad, other in zip(grads, wanted_grads, strict=True):
        assert np.abs(other).max() > 0.1
        np.testing.assert_allclose(grad, other, atol=1e-5)
    np.testing.assert_array_equal(ours(*inputs, training=False), y)


def test_causal_in_bfloat16_is_near():
    inputs = [rows(4, 1), rows(2, 2), rows(2, 3)]
    wanted, wanted_grads = gradients(lambda *x: plain(*x, 4, 2), inputs)
    half = [tf.cast(x, tf.bfloat16) for x in inputs]
    y = attention.causal(*half, B, 4, 2, 2, True)
    assert y.dtype == tf.bfloat16
    np.testing.assert_allclose(tf.cast(y, tf.float32), wanted, atol=0.05)


@pytest.mark.parametrize("heads, kv_heads", [(4, 4), (4, 2)])
def test_cached_is_the_last_row_of_causal(heads, kv_heads):
    q, k, v = rows(heads, 1), rows(kv_heads, 2), rows(kv_heads, 3)
    wanted = tf.reshape(plain(q, k, v, heads, kv_heads), (B, T, -1))
    room = T + 3
    position = tf.constant([T - 1, 4])  # the rows stand at places of their own

    def cache(x):  # what lies behind a row's position is rubbish, not zeros
        x = tf.transpose(tf.reshape(x, (B, T, kv_heads, D)), (0, 2, 1, 3))
        x = tf.pad(x, ((0, 0), (0, 0), (0, room - T), (0, 0)), constant_values=1e3)
        before = tf.range(room)[None] < position[:, None]
        return tf.where(before[:, None, :, None], x, 1e3)

    def new(x):
        x = tf.reshape(x, (B, T, -1))
        return tf.gather(x, position, axis=1, batch_dims=1)

    out, keys, values = attention.cached(
        new(q), new(k), new(v), cache(k), cache(v), position
    )
    at = tf.gather(wanted, position, axis=1, batch_dims=1)
    np.testing.assert_allclose(out, at, atol=1e-5)
    stored = tf.gather(keys, position, axis=2, batch_dims=1)
    np.testing.assert_array_equal(tf.reshape(stored, (B, -1)), new(k))
    assert values.shape == (B, kv_heads, room, D)


def turned(x, positions, theta):
    """Rotary positions as complex numbers."""
    half = x.shape[-1] // 2
    angle = positions[:, None] * theta ** (-np.arange(half) / half)
    z = (x[..., :half] + 1j * x[..., half:]) * np.exp(1j * angle)[:, None]
    return np.concatenate([z.real, z.imag], -1)


def test_rotation_is_a_complex_product():
    x = tf.random.stateless_normal([6, 3, 8], [1, 2])
    positions = np.array([0, 1, 2, 7, 100, 1000])
    turn = attention.rotation(tf.constant(positions), 8, 10000.0)
    wanted = turned(x.numpy(), positions, 10000.0)
    np.testing.assert_allclose(attention.rotate(x, *turn), wanted, atol=3e-4)
    near = slice(0, 4)  # float32 angles of large positions are coarse
    np.testing.assert_allclose(
        attention.rotate(x, *turn)[near], wanted[near], atol=1e-5
    )


@pytest.mark.parametrize("width", [6, 8, 64])
def test_a_position_has_the_same_bits_at_any_place(width):
    cos, sin = attention.rotation(tf.range(100), width, 10000.0)
    for start, end in ((0, 1), (3, 20), (37, 100)):
        part = attention.rotation(tf.range(start, end), width, 10000.0)
        np.testing.assert_array_equal(part[0], cos[start:end])
        np.testing.assert_array_equal(part[1], sin[start:end])


def test_rotation_has_the_gradient_of_autodiff():
    x = tf.random.stateless_normal([6, 3, 8], [1, 2])
    turn = attention.rotation(tf.range(6), 8, 10000.0)
    y, (grad,) = gradients(lambda x: attention.rotate(x, *turn, training=True), [x])
    wanted, (other,) = gradients(lambda x: attention.rotate(x, *turn), [x])
    np.testing.assert_allclose(y, wanted, atol=1e-6)
    np.testing.assert_allclose(grad, other, atol=1e-6)


def test_rotated_products_depend_on_distance_only():
    q, k = tf.random.stateless_normal([2, 1, 1, 8], [3, 4])

    def product(i, j):
        turn = [attention.rotation(tf.constant([p]), 8, 100.0) for p in (i, j)]
        a, b = attention.rotate(q, *turn[0]), attention.rotate(k, *turn[1])
        return float(tf.reduce_sum(a * b))

    assert product(3, 1) == pytest.approx(product(12, 10), abs=1e-5)
    assert product(3, 1) != pytest.approx(product(3, 2), abs=1e-3)
