"""Attention against a plain one, whose gradients TensorFlow derives."""

import numpy as np
import pytest
import tensorflow as tf

from zoo.layers import attention

B, T, D = 2, 8, 4  # D is the width of a head


def rows(heads, seed):
    return tf.random.stateless_normal([B * T, heads * D], [seed, 0])


def plain(q, k, v, heads, kv_heads, given=attention.PLAIN):
    """Softmax attention with an infinite mask, one key head for each query head."""

    def split(x, n):
        return tf.transpose(tf.reshape(x, (B, T, n, D)), (0, 2, 1, 3))

    def repeat(x):
        return tf.repeat(split(x, kv_heads), heads // kv_heads, 1)

    scores = tf.einsum("bhtd,bhsd->bhts", split(q, heads), repeat(k))
    scores *= given.scale or D**-0.5
    if given.softcap:
        scores = given.softcap * tf.tanh(scores / given.softcap)
    past = np.tril(np.ones((T, T), bool))
    if given.window:  # all but what lies further back
        past &= ~np.tril(np.ones((T, T), bool), -given.window)
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


def check_causal(heads, kv_heads, blocks, scores=attention.PLAIN):
    inputs = [rows(heads, 1), rows(kv_heads, 2), rows(kv_heads, 3)]

    def ours(q, k, v, training=True):
        return attention.causal(q, k, v, B, heads, kv_heads, blocks, training, scores)

    y, grads = gradients(ours, inputs)
    wanted, wanted_grads = gradients(
        lambda *x: plain(*x, heads, kv_heads, scores), inputs
    )
    np.testing.assert_allclose(y, wanted, atol=1e-5)
    for grad, other in zip(grads, wanted_grads, strict=True):
        assert np.abs(other).max() > 0.1 or scores.window == 1  # nothing to choose
        np.testing.assert_allclose(grad, other, atol=1e-5)
    np.testing.assert_array_equal(ours(*inputs, training=False), y)
    return y


@pytest.mark.parametrize("blocks", [1, 2, 4])
@pytest.mark.parametrize("heads, kv_heads", [(4, 4), (4, 2), (4, 1)])
def test_causal_is_plain_attention(heads, kv_heads, blocks):
    check_causal(heads, kv_heads, blocks)


SCORES = {
    "scale": attention.Scores(scale=0.9),
    "softcap": attention.Scores(softcap=0.8),
    "window of one": attention.Scores(window=1),
    "window": attention.Scores(window=3),
    "window as long as a block": attention.Scores(window=2),
    "window beyond the text": attention.Scores(window=T + 5),
    "all": attention.Scores(0.9, 0.8, 3),
}


@pytest.mark.parametrize("blocks", [1, 2, 4])
@pytest.mark.parametrize("name", SCORES)
def test_causal_with_other_scores(name, blocks):
    y = check_causal(4, 2, blocks, SCORES[name])
    changed = np.abs(y - check_causal(4, 2, blocks)).max()
    assert changed == 0 if name == "window beyond the text" else changed > 0.01


def test_causal_in_bfloat16_is_near():
    inputs = [rows(4, 1), rows(2, 2), rows(2, 3)]
    wanted, wanted_grads = gradients(lambda *x: plain(*x, 4, 2), inputs)
    half = [tf.cast(x, tf.bfloat16) for x in inputs]
    y = attention.causal(*half, B, 4, 2, 2, True)
    assert y.dtype == tf.bfloat16
    np.testing.assert_allclose(tf.cast(y, tf.float32), wanted, atol=0.05)


@pytest.mark.parametrize(
    "heads, kv_heads, name",
    [(4, 4, ""), (4, 2, ""), *((4, 2, name) for name in SCORES)],
)
def test_cached_is_the_last_row_of_causal(heads, kv_heads, name):
    scores = SCORES.get(name, attention.PLAIN)
    q, k, v = rows(heads, 1), rows(kv_heads, 2), rows(kv_heads, 3)
    wanted = tf.reshape(plain(q, k, v, heads, kv_heads, scores), (B, T, -1))
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

    token = attention.NewTokens(position[:, None], cache(k), [scores.window])
    out, keys, values = attention.cached(
        new(q), new(k), new(v), cache(k), cache(v), token, scores
    )
    at = tf.gather(wanted, position, axis=1, batch_dims=1)
    np.testing.assert_allclose(out, at, atol=1e-5)
    stored = tf.gather(keys, position, axis=2, batch_dims=1)
    np.testing.assert_array_equal(tf.reshape(stored, (B, -1)), new(k))
    assert values.shape == (B, kv_heads, room, D)


def layer(qk_norm):
    made = attention.Attention(12, 4, 2, D, True, True, 0.02, qk_norm)
    for i, v in enumerate(made.weights):
        noise = tf.random.stateless_normal(v.shape, [i, 7], stddev=0.5)
        v.assign(tf.convert_to_tensor(v.value) + noise)
    return made


@pytest.mark.parametrize("kind", ["layernorm", "rmsnorm", "rmsnorm_1p"])
@pytest.mark.parametrize("training", [False, True])
def test_every_head_is_normalised_by_itself(kind, training):
    made = layer((kind, 1e-6))
    x = tf.random.stateless_normal([5, 12], [1, 1])
    given = []
    made.call(x, lambda *qkv: given.extend(qkv) or qkv[0], training=training)
    q, k, v = tf.split(made.qkv(x, training=training), [4 * D, 2 * D, 2 * D], 1)
    for got, raw, norm in ((given[0], q, made.q_norm), (given[1], k, made.k_norm)):
        z = raw.numpy().reshape(5, -1, D)
        if kind == "layernorm":
            z = z - z.mean(-1, keepdims=True)
        z = z / np.sqrt((z**2).mean(-1, keepdims=True) + 1e-6)
        z = z * (norm.scale.numpy() + (kind == "rmsnorm_1p"))
        z = z + (norm.bias.numpy() if kind == "layernorm" else 0)
        np.testing.assert_allclose(got, z.reshape(5, -1), atol=2e-5)
    np.testing.assert_array_equal(given[2], v)


def test_a_normalised_row_has_the_same_bits_at_any_place():
    made, given = layer(("rmsnorm", 1e-6)), []
    x = tf.random.stateless_normal([37, 12], [1, 1])
    order = np.random.default_rng(0).permutation(37)
    for rows_of_x in (x, tf.gather(x, order), x[:3]):
        made.call(rows_of_x, lambda *qkv: given.append(qkv) or qkv[0])
    for first, moved, few in zip(*given, strict=True):
        # the product before it may round differently for few rows
        np.testing.assert_array_equal(moved, first.numpy()[order])
        np.testing.assert_allclose(few, first[:3], atol=1e-5)
