"""Segments: a packed row against its texts alone, in attention and recurrent loops."""

import numpy as np
import pytest
import tensorflow as tf

import zoo
from zoo.layers import attention
from zoo.layers.recurrent import Recurrent

T, D = 128, 4  # D is the width of a head
# two rows of texts, with padding at the end of the second
LENGTHS = (50, 1, 77), (7, 60)
SEGMENTS = np.zeros((2, T), np.int32)
POSITIONS = np.zeros((2, T), np.int32)
PARTS = []  # (row, first, end)
for _row, _lengths in enumerate(LENGTHS):
    _first = 0
    for _number, _length in enumerate(_lengths):
        SEGMENTS[_row, _first : _first + _length] = _number + 1
        POSITIONS[_row, _first : _first + _length] = range(_length)
        PARTS.append((_row, _first, _first + _length))
        _first += _length


def normal(*shape, seed=0):
    return tf.random.stateless_normal(shape, [seed, 0])


@pytest.mark.parametrize("blocks", [1, 2, 4])
@pytest.mark.parametrize(
    "kv_heads, scores",
    [
        (4, attention.PLAIN),
        (2, attention.PLAIN),
        (2, attention.Scores(window=20)),
        (1, attention.Scores(0.9, 0.8, 70)),
    ],
)
def test_a_position_sees_its_own_segment_only(blocks, kv_heads, scores):
    heads = 4
    q, k, v = (
        normal(2, T, n * D, seed=i) for i, n in enumerate((heads, kv_heads, kv_heads))
    )
    weights = normal(2, T, heads * D, seed=9)

    def attend(q, k, v, batch, blocks, training, segments_BT=None):
        flat = [tf.reshape(x, (-1, x.shape[-1])) for x in (q, k, v)]
        y = attention.causal(
            *flat, batch, heads, kv_heads, blocks, training, scores, segments_BT
        )
        return tf.reshape(y, (batch, -1, heads * D))

    with tf.GradientTape() as tape:
        tape.watch((q, k, v))
        packed = attend(q, k, v, 2, blocks, True, tf.constant(SEGMENTS))
        loss = tf.reduce_sum(packed * weights * (SEGMENTS > 0)[..., None])
    grads = tape.gradient(loss, (q, k, v))
    plain = attend(q, k, v, 2, blocks, False, tf.constant(SEGMENTS))
    np.testing.assert_array_equal(plain, packed)
    for row, first, end in PARTS:
        part = [x[row : row + 1, first:end] for x in (q, k, v)]
        with tf.GradientTape() as tape:
            tape.watch(part)
            alone = attend(*part, 1, 1, False)
            loss = tf.reduce_sum(alone * weights[row : row + 1, first:end])
        np.testing.assert_allclose(packed[row, first:end], alone[0], atol=1e-5)
        for all_of_it, wanted in zip(grads, tape.gradient(loss, part), strict=True):
            np.testing.assert_allclose(
                all_of_it[row, first:end], wanted[0], atol=1e-5, err_msg=f"{row} {end}"
            )


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
def test_the_state_is_reset_at_the_start_of_a_segment(cell):
    layer = Recurrent(cell, 3, 5)
    for i, v in enumerate(layer.weights):
        v.assign(normal(*v.shape, seed=i))
    steps = 9
    x_TBE = normal(steps, 2, 3, seed=5)
    first = tuple(normal(2, 5, seed=6 + i) for i in range(layer.cell.states))
    reset_TB = np.zeros((steps, 2), bool)
    reset_TB[[0, 4, 5], [1, 0, 0]] = reset_TB[7, 1] = True
    weights = normal(steps, 2, 5, seed=8)
    variables = [v.value for v in layer.weights]

    def run(training):
        with tf.GradientTape() as tape:
            tape.watch((x_TBE, first))
            y_TBU, last = layer.call(
                x_TBE, first, training=training, reset_TB=tf.constant(reset_TB)
            )
            loss = tf.reduce_sum(y_TBU * weights) + sum(map(tf.reduce_sum, last))
        return y_TBU, last, tape.gradient(loss, [x_TBE, *first, *variables])

    def by_hand():
        """One step at a time, and TensorFlow's own gradient."""
        with tf.GradientTape() as tape:
            tape.watch((x_TBE, first))
            state, outs = first, []
            for t in range(steps):
                keep = tf.constant(~reset_TB[t, :, None], tf.float32)
                state = layer.step(x_TBE[t], tuple(s * keep for s in state))
                outs.append(state[0])
            y_TBU = tf.stack(outs)
            loss = tf.reduce_sum(y_TBU * weights) + sum(map(tf.reduce_sum, state))
        return y_TBU, state, tape.gradient(loss, [x_TBE, *first, *variables])

    wanted = tf.nest.flatten(by_hand())
    for training in (False, True):
        got = tf.nest.flatten(run(training))
        for ours, theirs in zip(got, wanted, strict=True):
            np.testing.assert_allclose(ours, theirs, atol=2e-5)


SMALL = {"vocab_size": 40, "context": T, "width": 16, "layers": 2}
MODELS = {
    "learned": ("transformer_lm", {"heads": 2}),
    "rotary": (
        "transformer_lm",
        {"heads": 4, "kv_heads": 2, "positions": "rotary", "norm": "rmsnorm"},
    ),
    "lstm": ("lstm_lm", {"units": 16}),
    "gru": ("gru_lm", {"units": 16}),
    "rnn": ("rnn_lm", {"units": 16}),
}


@pytest.mark.parametrize("name", MODELS)
def test_a_packed_text_has_the_features_of_the_text_alone(name):
    tf.keras.utils.set_random_seed(0)
    kind, fields = MODELS[name]
    model = zoo.build(kind, **SMALL, **fields)
    for i, v in enumerate(model.weights):  # large enough to tell texts apart
        v.assign(v + 0.3 * normal(*v.shape, seed=i))
    tokens = np.random.default_rng(0).integers(0, 40, (2, T)).astype(np.int32)

    @tf.function(autograph=False)
    def read(training, *packed):
        return model.features(tf.constant(tokens), training, *packed)

    shape = tf.TensorSpec([None, None], tf.int32)
    read_alone = tf.function(model.features, input_signature=[shape], autograph=False)
    layout = tf.constant(SEGMENTS), tf.constant(POSITIONS)
    packed = {training: read(training, *layout) for training in (False, True)}
    plain = read_alone(tf.constant(tokens))
    assert np.abs(packed[False] - plain).max() > 0.01
    for row, first, end in PARTS:
        alone = read_alone(tf.constant(tokens[row : row + 1, first:end]))
        for got in packed.values():
            np.testing.assert_allclose(got[row, first:end], alone[0], atol=3e-5)


def test_keras_hub_refuses_packed_rows():
    pytest.importorskip("keras_hub")
    settings = {
        "vocabulary_size": 40,
        "num_layers": 1,
        "num_heads": 2,
        "hidden_dim": 8,
        "intermediate_dim": 8,
        "max_sequence_length": 16,
    }
    model = zoo.build("keras_hub", kind="OPT", settings=settings, context=16)
    tokens = tf.zeros((1, 4), tf.int32)
    with pytest.raises(ValueError, match="cannot read packed rows, because KerasHub"):
        model.features(tokens, segments_BT=tokens)
