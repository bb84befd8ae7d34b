"""The Transformer LM: causal in every form, saved by Keras, and what it refuses."""

import dataclasses
import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from zoo import models, registry
from zoo.models.transformer_lm import Config

SMALL = {"vocab_size": 50, "context": 128, "width": 32, "layers": 2, "heads": 4}
FORMS = {
    "gpt2": {},
    "llama": {
        "norm": "rmsnorm",
        "positions": "rotary",
        "activation": "silu",
        "gated": True,
        "kv_heads": 2,
        "qkv_bias": False,
        "out_bias": False,
        "mlp_bias": False,
        "tied_head": False,
    },
    "other": {
        "norm_place": "post",
        "positions": "rotary",
        "activation": "relu_squared",
        "kv_heads": 1,
        "head_width": 6,
        "mlp_width": 20,
        "logit_softcap": 5.0,
    },
    "neox": {"positions": "rotary", "rotary_fraction": 0.25, "residual": "parallel"},
    "phi": {
        "positions": "rotary",
        "rotary_fraction": 0.5,
        "residual": "parallel_shared",
        "qk_norm": True,
        "tied_head": False,
        "head_bias": True,
    },
    "opt": {"position_offset": 2, "activation": "relu"},
    "gemma": {
        "layers": 3,
        "kv_heads": 2,
        "norm": "rmsnorm_1p",
        "norm_place": "both",
        "scaled_embedding": True,
        "positions": "rotary",
        "rope_theta": 1e6,
        "rope_local_theta": 100.0,
        "rope_scaling": "yarn",
        "rope_context": 32,
        "rope_factor": 4.0,
        "window": 10,
        "global_layers": (1,),
        "qk_norm": True,
        "query_scalar": 5,
        "attention_softcap": 4.0,
        "gated": True,
        "logit_softcap": 6.0,
    },
}


def built(form, **fields):
    model = models.build("transformer_lm", **{**SMALL, **FORMS[form], **fields})
    # initial weights of 0.02 say little: make everything matter
    for i, v in enumerate(model.trainable_weights):
        noise = tf.random.stateless_normal(v.shape, [i, 7], stddev=0.2)
        v.assign(tf.convert_to_tensor(v.value) + noise)
    return model


def tokens(batch, length, seed=0):
    return tf.random.stateless_uniform([batch, length], [seed, 1], 0, 50, tf.int32)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("form", FORMS)
def test_a_later_token_changes_no_earlier_logit(form, training):
    model = built(form)
    before = tokens(2, 128)  # cut into two blocks of queries
    for place in (63, 64):
        other = (before[:, place] + 1) % 50
        after = tf.concat(
            [before[:, :place], other[:, None], before[:, place + 1 :]], 1
        )
        left = model(before, training=training).numpy()
        right = model(after, training=training).numpy()
        np.testing.assert_array_equal(left[:, :place], right[:, :place])
        assert np.abs(left[:, place:] - right[:, place:]).max() > 1e-3


@pytest.mark.parametrize("form", ["neox", "phi", "opt", "gemma"])
def test_a_row_has_the_same_bits_whoever_stands_beside_it(form):
    model = built(form)

    @tf.function(autograph=False)
    def graph(prompts, lengths, rest):
        logits, state = model.start(prompts, lengths, 24)
        rows = [logits]
        for token in tf.unstack(rest, axis=1):
            logits, state = model.step(token, state)
            rows.append(logits)
        return tf.stack(rows, 1)

    given = tokens(5, 19), tf.constant([1, 14, 9, 19, 12]), tokens(5, 3, seed=1)
    first = graph(*given).numpy()
    order = [3, 0, 4, 1, 2]
    moved = graph(*(tf.gather(x, order) for x in given))
    np.testing.assert_array_equal(moved, first[order])
    others = [tokens(5, 19, 8).numpy(), np.full(5, 19, np.int32), tokens(5, 3, 9)]
    others[2] = others[2].numpy()
    for other, mine in zip(others, given, strict=True):
        other[1] = mine[1]
    beside_others = graph(*(tf.constant(x) for x in others))
    np.testing.assert_array_equal(beside_others[1], first[1])


@pytest.mark.parametrize("form", FORMS)
def test_training_and_inference_agree(form):
    model = built(form)
    given = tokens(2, 128)
    logits = model(given)
    assert logits.shape == (2, 128, 50) and logits.dtype == tf.float32
    np.testing.assert_allclose(logits, model(given, training=True), atol=1e-4)
    np.testing.assert_array_equal(logits, model.logits(model.features(given)))
    flat = model.logits(model.features(given)[:, 5])
    np.testing.assert_allclose(flat, logits[:, 5], atol=1e-5)


def test_takes_lengths_that_are_not_known():
    model = built("gpt2")
    graph = tf.function(model, input_signature=[tf.TensorSpec([None, None], tf.int32)])
    given = tokens(2, 11)
    np.testing.assert_allclose(graph(given), model(given), atol=1e-5)


@pytest.mark.parametrize("form", FORMS)
def test_gradients_are_those_of_autodiff(form):
    """The whole model with its own gradients, and with TensorFlow's."""
    # a global layer where there is a local one
    model = built(form, context=16, layers=2 if "window" in FORMS[form] else 1)
    given = tokens(2, 16)
    grads = []
    for training in (True, False):
        with tf.GradientTape() as tape:
            logits = model(given, training=training)
            loss = tf.reduce_mean(logits * tf.sin(logits))
        grads.append(tape.gradient(loss, model.trainable_variables))
    for variable, own, wanted in zip(model.trainable_variables, *grads, strict=True):
        own, wanted = (tf.convert_to_tensor(g).numpy() for g in (own, wanted))
        assert np.abs(wanted).max() > 0, variable.path
        scale = np.abs(wanted).max()
        np.testing.assert_allclose(own / scale, wanted / scale, atol=1e-5)


def test_dropout_is_for_training_only():
    model = built("gpt2", dropout=0.5)
    given = tokens(2, 8)
    np.testing.assert_array_equal(model(given), model(given))
    once, again = model(given, training=True), model(given, training=True)
    assert np.abs(once - again).max() > 0.1


# Keras' own saving asks numpy in a way that is going out of use
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize("form", ["llama", "gemma"])
def test_keras_saves_and_loads_it(form, tmp_path):
    model = built(form)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert again.config == model.config
    np.testing.assert_array_equal(again(tokens(2, 16)), model(tokens(2, 16)))


def test_compiles_and_fits():
    model = built("llama", layers=1)
    given = tokens(8, 17)
    model.compile(
        keras.optimizers.SGD(0.1),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    history = model.fit(given[:, :-1], given[:, 1:], 4, epochs=4, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]


def test_initial_loss_is_that_of_guessing():
    model = models.build("transformer_lm", **SMALL)
    logits = model(tokens(4, 128))
    losses = keras.losses.sparse_categorical_crossentropy(
        tokens(4, 128, 5), logits, True
    )
    assert float(tf.reduce_mean(losses)) == pytest.approx(np.log(50), abs=0.05)


@pytest.mark.parametrize(
    "fields, words",
    [
        ({"heads": 5}, "heads: 5 does not divide width 32"),
        ({"kv_heads": 3}, "kv_heads: 3 does not divide heads 4"),
        ({"positions": "rotary", "head_width": 7}, "head_width: 7 is odd"),
        ({"norm": "layer_norm"}, "norm: 'layer_norm'. Did you mean layernorm?"),
        ({"activation": "silo"}, "activation: 'silo'. Did you mean silu?"),
        ({"dropout": 1.0}, "dropout: 1.0, at least 0 and below 1 allowed"),
        ({"layers": 0}, "layers: 0, at least 1 allowed"),
        ({"layers": 2.0}, "layers: 2.0 is a float, expected int"),
        ({"gated": 1}, "gated: 1 is a int, expected bool"),
        ({"residual": "both"}, "residual: 'both'. Allowed: parallel, "),
        (
            {"residual": "parallel", "norm_place": "post"},
            "norm_place: 'post', pre with residual parallel allowed",
        ),
        ({"head_bias": True}, "head_bias: True, False with tied_head allowed"),
        ({"global_layers": (1,)}, "global_layers: (1,), () without a window"),
        ({"rope_local_theta": 9.0}, "rope_local_theta: 9.0, 0.0 without a window"),
        ({"window": 4, "global_layers": (2,)}, "global_layers: (2,), some of 0 to 1"),
        ({"window": 4, "global_layers": (-1,)}, "global_layers: (-1,), some of 0 to 1"),
        ({"window": 4, "global_layers": (1, 0)}, "some of 0 to 1 in order"),
        ({"window": -1}, "window: -1, at least 0 allowed"),
        ({"positions": "rotary", "rope_theta": 1.0}, "rope_theta: 1.0, above 1"),
        ({"positions": "rotary", "rotary_fraction": 0.4}, "rotary_fraction: 3 is odd"),
        (
            {"positions": "rotary", "rotary_fraction": 0.1},
            "rotary_fraction: 0.1, from a pair",
        ),
        (
            {"positions": "rotary", "rotary_fraction": 2.0},
            "rotary_fraction: 2.0, from a pair",
        ),
        (
            {"positions": "rotary", "rope_scaling": "yarn"},
            "rope_context: 0, at least 1 allowed",
        ),
        (
            {"positions": "rotary", "rope_scaling": "llama3", "rope_context": 8}
            | {"rope_slow": 4.0, "rope_fast": 4.0},
            "rope_slow: 4.0, 0 to rope_fast 4.0 allowed",
        ),
        ({"rope_factor": 0.5}, "rope_factor: 0.5, at least 1 allowed"),
    ],
)
def test_refuses(fields, words):
    with pytest.raises(ValueError) as error:
        registry.config("transformer_lm", **{**SMALL, **fields})
    assert words in str(error.value)


def test_refuses_tokens_of_another_rank():
    with pytest.raises(ValueError, match=r"tokens: shape \(3,\), expected \[B, T\]"):
        built("gpt2").features(tf.constant([1, 2, 3]))


def test_config_is_plain_data():
    config = Config(**SMALL)
    assert dataclasses.replace(config, heads=2).head_size == 16
    assert config.head_size == 8


def test_config_is_the_same_after_json():
    config = Config(**{**SMALL, **FORMS["gemma"]})
    fields = json.loads(json.dumps(registry.to_fields(config)))
    assert registry.config(fields.pop("name"), **fields) == config
