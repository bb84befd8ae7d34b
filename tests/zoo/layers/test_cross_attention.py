"""Attention across sequences, and relative positions, against plain ones."""

import numpy as np
import pytest
import tensorflow as tf

from zoo.layers import attention
from zoo.layers.attention.relative import buckets

B, T, S, H, D = 2, 3, 5, 2, 4
LENGTHS = tf.constant([5, 2])


def rows(length, seed):
    return tf.random.stateless_normal([B * length, H * D], [seed, 0])


def plain(q, k, v, bias):
    """Each row and each head by itself, over the real positions only."""
    out = []
    for b, length in enumerate(LENGTHS.numpy()):
        heads = []
        for h in range(H):
            at = slice(h * D, (h + 1) * D)
            qi = q[b * T : (b + 1) * T, at]
            ki, vi = (x[b * S : b * S + length, at] for x in (k, v))
            z = tf.matmul(qi, ki, transpose_b=True) * 0.7 + bias[h, :, :length]
            e = tf.exp(z)
            heads.append(tf.matmul(e / tf.reduce_sum(e, -1, keepdims=True), vi))
        out.append(tf.concat(heads, 1))
    return tf.concat(out, 0)


def gradients(f, inputs):
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        y = f(*inputs)
        loss = tf.reduce_sum(y * tf.random.stateless_normal(y.shape, [9, 9]))
    return [y, *tape.gradient(loss, inputs)]


@pytest.mark.parametrize("training", [False, True])
def test_across_is_plain_attention(training):
    bias = tf.random.stateless_normal([H, T, S], [4, 0])
    inputs = [rows(T, 1), rows(S, 2), rows(S, 3), bias]

    def ours(q, k, v, bias):
        return attention.across(q, k, v, LENGTHS, H, training, 0.7, bias)

    for got, wanted in zip(
        gradients(ours, inputs), gradients(plain, inputs), strict=True
    ):
        assert np.abs(wanted).max() > 0.1
        np.testing.assert_allclose(got, wanted, atol=1e-5)


def test_several_rows_may_share_the_cached_text():
    q, k, v = rows(T, 1), rows(S, 2), rows(S, 3)
    keys, values = (
        tf.transpose(tf.reshape(x, (B, S, H, D)), (0, 2, 1, 3)) for x in (k, v)
    )
    source = attention.Source(LENGTHS, keys, B * T)
    got = attention.across_cached(q * D**-0.5, keys, values, source)
    np.testing.assert_allclose(got, attention.across(q, k, v, LENGTHS, H), atol=1e-6)


def test_the_bias_of_causal_has_a_gradient():
    q, k, v = rows(4, 1), rows(4, 2), rows(4, 3)
    bias = tf.random.stateless_normal([H, 4, 4], [4, 0])
    parts = {}
    for blocks, training in ((1, False), (1, True), (2, True)):

        def ours(q, k, v, bias, blocks=blocks, training=training):
            scores = attention.PLAIN
            options = blocks, training, scores, None, bias
            return attention.causal(q, k, v, B, H, H, *options)

        parts[blocks, training] = gradients(ours, [q, k, v, bias])
    derived = parts[1, False]  # by TensorFlow, of plain operations
    for own in (parts[1, True], parts[2, True]):
        for got, wanted in zip(own, derived, strict=True):
            np.testing.assert_allclose(got, wanted, atol=1e-5)
    later = np.triu(np.ones((4, 4), bool), 1)
    assert np.abs(derived[-1].numpy()[:, later]).max() == 0
    assert np.abs(derived[-1]).max() > 0.1


# of T5's paper: 32 buckets, distance 128; the first distance of each bucket
ENCODER = [*range(8), 8, 12, 16, 23, 32, 46, 64, 91]
DECODER = [*range(16), 16, 19, 21, 24, 27, 31, 35, 40, 46, 52, 59, 67, 77, 87, 99, 113]


@pytest.mark.parametrize("count, first", [(16, ENCODER), (32, DECODER)])
def test_buckets_are_those_of_t5(count, first):
    wanted = np.searchsorted(first, np.arange(129), side="right") - 1
    np.testing.assert_array_equal(buckets(count, 128), wanted)


@pytest.mark.parametrize("causal", [False, True])
def test_a_place_has_the_bias_of_its_row_of_the_whole(causal):
    layer = attention.RelativeBias(H, 8, 6, causal)
    whole = layer.whole(9).numpy()
    at = layer.at(tf.constant([7, 2]), 9).numpy()
    np.testing.assert_array_equal(at, np.stack([whole[:, 7], whole[:, 2]]))
    table = layer.weight.numpy()
    np.testing.assert_array_equal(whole[:, 5, 4], table[1])
    later = table[0] if causal else table[8 // 2 + 1]
    np.testing.assert_array_equal(whole[:, 4, 5], later)
