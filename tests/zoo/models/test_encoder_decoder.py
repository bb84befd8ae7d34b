"""The encoder-decoder in the styles of four families."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from zoo import directory, lora, models
from zoo.decode import loop, sampling
from zoo.directory import hf
from zoo.lora_config import Lora

V, SOURCE_V = 50, 40
SMALL = {"vocab_size": V, "context": 20, "width": 32, "encoder_layers": 2}
SMALL |= {"layers": 2, "heads": 4}
STYLES = {
    "original": {},
    "t5": {
        "norm": "rmsnorm",
        "positions": "relative",
        "context": 0,
        "relative_buckets": 8,
        "relative_distance": 12,
        "query_scalar": 1,
        "attention_bias": False,
        "mlp_bias": False,
        "logit_scale": 32**-0.5,
        "head_width": 6,
    },
    "marian": {
        "norm_place": "post",
        "positions": "sinusoidal",
        "scaled_embedding": True,
        "head_bias": True,
        "activation": "silu",
        "source_vocab_size": SOURCE_V,
    },
    "bart": {
        "norm_place": "post",
        "position_offset": 2,
        "embedding_norm": True,
        "activation": "gelu",
        "head_bias": True,
        "start_id": 2,
    },
}
LENGTHS = tf.constant([9, 4, 1])


def ids(shape, seed, limit):
    return tf.random.stateless_uniform(shape, (seed, 1), 0, limit, tf.int32)


SOURCE, TARGET = ids([3, 9], 0, SOURCE_V), ids([3, 6], 1, V)


@pytest.fixture(scope="module", params=STYLES)
def model(request):
    made = models.build("encoder_decoder", **{**SMALL, **STYLES[request.param]})
    for i, v in enumerate(made.trainable_weights):
        noise = tf.random.stateless_normal(v.shape, (i, 7), stddev=0.2)
        v.assign(tf.convert_to_tensor(v.value) + noise)
    return made


def inputs(model):
    start = tf.fill([3, 1], model.config.start_id)
    return tf.concat([start, TARGET], 1)


def test_start_and_step_are_the_full_pass(model):
    full = model(inputs(model), source=SOURCE, source_lengths=LENGTHS)
    logits, state = model.start(SOURCE, LENGTHS, 9 + 6)
    got = [logits]
    for token in tf.unstack(TARGET, axis=1):
        before = state[: model.fixed_state]
        logits, state = model.step(token, state)
        assert all(a is b for a, b in zip(before, state, strict=False))
        assert all(x.shape[0] == 3 for x in state)
        got.append(logits)
    np.testing.assert_allclose(tf.stack(got, 1), full, atol=1e-5)


def test_rows_and_padding_have_no_influence(model):
    first = model(inputs(model), source=SOURCE, source_lengths=LENGTHS)
    padded = tf.where(tf.sequence_mask(LENGTHS, 9), SOURCE, ids([3, 9], 5, SOURCE_V))
    other = model(inputs(model), source=padded, source_lengths=LENGTHS)
    np.testing.assert_array_equal(first, other)
    alone = model(
        inputs(model)[1:2], source=SOURCE[1:2, :4], source_lengths=LENGTHS[1:2]
    )
    np.testing.assert_allclose(alone[0], first[1], atol=1e-5)


def test_attention_to_the_source_is_of_its_tokens(model):
    found = model.cross_attention(SOURCE, LENGTHS, inputs(model)).numpy()
    assert found.shape == (2, 3, 4, 7, 9)
    np.testing.assert_allclose(found.sum(-1), 1, rtol=1e-5)
    assert (found[:, 2, :, :, 0] == 1).all()  # a source of one token
    assert not found[:, 1, :, :, 4:].any() and found[0, 0].std() > 0.001


def test_the_training_path_has_the_derived_gradients(model):
    found = {}
    for training in (False, True):
        with tf.GradientTape() as tape:
            x = model.features(inputs(model), training, SOURCE, LENGTHS)
            loss = tf.reduce_sum(tf.nn.log_softmax(model.logits(x))[:, :, 3])
        grads = tape.gradient(loss, model.trainable_weights)
        found[training] = [tf.convert_to_tensor(g) for g in grads]
    for got, wanted in zip(found[True], found[False], strict=True):
        size = max(1.0, float(tf.reduce_max(tf.abs(wanted))))
        np.testing.assert_allclose(got / size, wanted / size, atol=1e-5)


def test_a_directory_keeps_the_model(model, tmp_path):
    directory.save(tmp_path / "m", model)
    again = directory.load(tmp_path / "m").model
    assert hf.with_defaults(again.config) == hf.with_defaults(model.config)
    wanted = model(inputs(model), source=SOURCE, source_lengths=LENGTHS)
    got = again(inputs(model), source=SOURCE, source_lengths=LENGTHS)
    np.testing.assert_array_equal(got, wanted)


def test_decoding_is_the_argmax_of_full_passes(model):
    knobs = sampling.Knobs(
        max_new_tokens=tf.fill([6], 4),
        temperature=tf.zeros([6]),
        top_k=tf.zeros([6], tf.int32),
        top_p=tf.ones([6]),
        min_p=tf.zeros([6]),
        repetition_penalty=tf.ones([6]),
        seed=tf.zeros([6], tf.int64),
    )
    out = loop.decode(model, SOURCE, LENGTHS, knobs, (), samples=2)
    text = inputs(model)[:, :1]
    for n in range(4):
        logits = model(text, source=SOURCE, source_lengths=LENGTHS)
        token = tf.argmax(logits[:, -1], -1, tf.int32)
        np.testing.assert_array_equal(out.tokens[::2, n], token)
        np.testing.assert_array_equal(out.tokens[1::2, n], token)
        text = tf.concat([text, token[:, None]], 1)


@pytest.mark.parametrize(
    "fields, words",
    [
        ({"context": 0}, "context: 0, at least 1 with learned positions"),
        ({"positions": "relative", "relative_buckets": 6}, "a multiple of 4"),
        ({"start_id": V}, "start_id: 50, below vocab_size 50"),
        ({"heads": 5}, "heads: 5 does not divide width 32"),
        ({"logit_scale": 0.0}, "logit_scale: 0.0, above 0"),
    ],
)
def test_a_wrong_field_is_refused(fields, words):
    with pytest.raises(ValueError, match=words):
        models.build("encoder_decoder", **{**SMALL, **fields})


def test_a_source_must_be_there_and_fit():
    made = models.build("encoder_decoder", **SMALL)
    with pytest.raises(ValueError, match="source: None"):
        made.features(TARGET)
    with pytest.raises(ValueError, match="source: 21 positions, at most 20"):
        made.features(TARGET, source=ids([3, 21], 0, V))


def test_adapters_reach_the_attention_to_the_source():
    made = models.build("encoder_decoder", **SMALL)
    wanted = made(TARGET, source=SOURCE)
    lora.add(made, Lora(rank=2))
    np.testing.assert_array_equal(made(TARGET, source=SOURCE), wanted)
    adapted = {v.path for v in lora.learning(made)}
    for path in ("decoder/block_1/cross_attention/kv", "encoder/block_0/attention/qkv"):
        assert any(path in other for other in adapted), path
    assert not any("/mlp/" in path for path in adapted)


GATED = {**SMALL, "layers": 1, "encoder_layers": 1, "gated": True, "tied_head": False}


def losses(model, variables, steps):
    """Cross-entropy before each of some steps of descent."""
    optimizer = keras.optimizers.Adam(0.02)
    optimizer.build(variables)

    @tf.function(autograph=False)
    def run():
        with tf.GradientTape() as tape:
            x = model.features(inputs(model)[:, :-1], True, SOURCE, LENGTHS)
            loss = tf.reduce_mean(
                tf.nn.sparse_softmax_cross_entropy_with_logits(TARGET, model.logits(x))
            )
        grads = tape.gradient(loss, [v.value for v in variables])
        optimizer.apply([tf.convert_to_tensor(g) for g in grads], variables)
        return loss

    return [float(run()) for _ in range(steps)]


def test_bfloat16_and_dropout_with_a_gate_and_an_untied_head(float32):
    made = models.build("encoder_decoder", **GATED, dropout=0.2, activation="silu")
    wanted = made(inputs(made), source=SOURCE, source_lengths=LENGTHS)
    keras.config.set_dtype_policy("mixed_bfloat16")
    rounded = type(made)(made.config)
    rounded.set_weights(made.get_weights())
    x = rounded.features(inputs(made), False, SOURCE, LENGTHS)
    assert x.dtype == tf.bfloat16 and rounded.untied_head is not None
    logits, _ = rounded.start(SOURCE, LENGTHS, 9 + 6)
    for got in (rounded.logits(x)[:, 0], logits):
        assert got.dtype == tf.float32
        np.testing.assert_allclose(got, wanted[:, 0], atol=0.02)
    assert np.abs(wanted).max() > 0.1
    found = losses(rounded, rounded.trainable_variables, 8)
    assert np.isfinite(found).all() and found[-1] < 0.8 * found[0]


def test_adapters_of_both_attentions_learn_and_merge():
    made = models.build("encoder_decoder", **GATED)
    before = made.get_weights()
    lora.add(made, Lora(rank=2, alpha=8.0))
    learning = lora.learning(made)
    found = losses(made, learning, 8)
    assert found[-1] < found[0]
    for v in learning:
        if v.path.endswith("lora_B"):
            assert np.abs(v.numpy()).max() > 0, v.path
    own = {id(v) for v in learning}
    kept = [v.numpy() for v in made.weights if id(v) not in own]
    assert all(map(np.array_equal, kept, before)) and len(kept) == len(before)
    merged = lora.merged(made)
    moved = {
        v.path
        for v, old in zip(merged.weights, before, strict=True)
        if not np.array_equal(v.numpy(), old)
    }
    assert any("cross_attention/kv" in path for path in moved), moved
    got, wanted = (
        m(inputs(m), source=SOURCE, source_lengths=LENGTHS) for m in (merged, made)
    )
    np.testing.assert_allclose(got, wanted, atol=1e-5)
