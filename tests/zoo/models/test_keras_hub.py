"""CausalLMs of KerasHub as language models: the same logits, with cache and without."""

import functools

import numpy as np
import pytest
import tensorflow as tf

import zoo
from zoo import directory, registry
from zoo.decode import generate
from zoo.directory import GenerationConfig
from zoo.models.keras_hub_lm import KINDS
from zoo.saved_model import writer

keras_hub = pytest.importorskip("keras_hub")

V, CONTEXT = 300, 64
MANY = {"vocabulary_size": V, "num_layers": 2, "hidden_dim": 16, "intermediate_dim": 24}
EVERY = MANY | {"num_heads": 2}
GROUPED = MANY | {"num_query_heads": 4, "num_key_value_heads": 2}
LOCAL = {"sliding_window": 8}
SETTINGS = {
    "Bloom": EVERY,
    "Falcon": MANY | {"num_attention_heads": 2},
    "Gemma": GROUPED | {"head_dim": 8, "final_logit_soft_cap": 5.0},
    "Gemma3": GROUPED | {"head_dim": 8, "image_size": None},
    "GptOss": GROUPED | LOCAL | {"num_experts": 4},
    "Mixtral": GROUPED | LOCAL | {"num_experts": 4},
    "OPT": EVERY | {"max_sequence_length": CONTEXT},
    "Phi3": GROUPED | {"max_sequence_length": CONTEXT},
    "Qwen3Moe": GROUPED | {"moe_intermediate_dim": 8, "num_experts": 4, "head_dim": 4},
    "QwenMoe": GROUPED
    | {"moe_intermediate_dim": 8, "shared_expert_intermediate_dim": 8}
    | {"num_experts": 4},
}
SETTINGS["Gemma3"] |= {"use_sliding_window_attention": True, "sliding_window_size": 6}
SETTINGS["Phi3"] |= {"pretraining_sequence_length": CONTEXT}


@functools.cache
def build(kind):
    """A model of a kind, one for all tests, which change nothing of it."""
    model = zoo.build(
        "keras_hub", kind=kind, settings=SETTINGS[kind], context=CONTEXT, dropout=0.0
    )
    random = np.random.default_rng(0)
    for variable in model.weights:  # large enough that nothing is lost in zeros
        variable.assign(variable + random.normal(size=variable.shape) * 0.2)
    return model


def test_every_kind_is_tested():
    assert set(KINDS) == set(SETTINGS)


OFTEN = ("Bloom", "Gemma3", "Mixtral", "Phi3")  # all others are long


@pytest.mark.parametrize(
    "kind",
    [k if k in OFTEN else pytest.param(k, marks=pytest.mark.long) for k in KINDS],
)
def test_logits_and_cache(kind):
    """Ragged prompts, each row at its own place, against whole sequences."""
    model = build(kind)
    tokens_BT = np.random.default_rng(1).integers(0, V, [3, 14], np.int32)
    inputs = {"token_ids": tokens_BT, "padding_mask": np.ones_like(tokens_BT)}
    wanted = np.asarray(model.causal_lm(inputs))
    assert np.abs(wanted).max() > 1
    logits_BTV = model(tokens_BT)
    np.testing.assert_allclose(logits_BTV, wanted, atol=2e-5, rtol=1e-5)
    weight_VD, bias = model.head()
    by_head = tf.matmul(model.features(tokens_BT), weight_VD, transpose_b=True)
    if model.config.logit_softcap:
        cap = model.config.logit_softcap
        by_head = cap * tf.tanh(by_head / cap)
    assert bias is None
    np.testing.assert_allclose(by_head, wanted, atol=2e-5, rtol=1e-5)

    @tf.function(autograph=False, reduce_retracing=True)
    def start(lengths_B):
        return model.start(tf.constant(tokens_BT[:, :8]), lengths_B, 14)

    @tf.function(autograph=False)
    def step(token_B, state):
        return model.step(token_B, state)

    for lengths in ([8, 8, 8], [3, 8, 6]):
        logits_BV, state = start(tf.constant(lengths))
        found = [logits_BV]
        for i in range(5):
            token_B = tf.constant(
                [tokens_BT[row, n + i] for row, n in enumerate(lengths)]
            )
            logits_BV, state = step(token_B, state)
            found.append(logits_BV)
        for row, n in enumerate(lengths):
            np.testing.assert_allclose(
                [x[row] for x in found],
                wanted[row, n - 1 : n + 5],
                atol=5e-5,
                rtol=1e-4,
            )


@pytest.mark.parametrize("kind", ["OPT", "Gemma3", "Mixtral"])
def test_a_model_directory_generates_what_the_model_did(kind, tokenizer, tmp_path):
    model, knobs = build(kind), GenerationConfig(max_new_tokens=12)
    prompts = ["ab", "", "dcab bed ab"]
    directory.save(tmp_path / "model", model, tokenizer)
    loaded = zoo.load(tmp_path / "model")
    assert loaded.model.config == model.config
    for a, b in zip(loaded.model.weights, model.weights, strict=True):
        np.testing.assert_array_equal(a, b)
    answers = generate(loaded.model, loaded.tokenizer, prompts, knobs)
    for prompt, answer in zip(prompts, answers, strict=True):
        ids = tokenizer.prefix + tokenizer.encode(prompt) or [tokenizer.end_id]
        every = ids + answer.tokens  # greedy, without a cache
        logits_TV = np.asarray(model(np.array([every], np.int32)))[0, len(ids) - 1 :]
        for token, logits_V in zip(answer.tokens, logits_TV, strict=False):
            assert logits_V[token] >= logits_V[: tokenizer.vocab_size].max() - 1e-4
    with pytest.raises(ValueError, match="keras_hub: .* XLA") as error:
        writer.write(tmp_path / "served", loaded)
    assert not (tmp_path / "served").exists(), error


@pytest.mark.parametrize(
    "fields, words",
    [
        ({"kind": "GPTNeoX"}, "keras_hub.kind: 'GPTNeoX'."),
        ({"kind": "os"}, "keras_hub.kind: 'os'."),
        ({"settings": 3}, "keras_hub.settings: 3, an object allowed"),
        ({"settings": {}}, "settings.vocabulary_size: None, a whole number allowed"),
        (
            {"settings": EVERY | {"dtype": "float16"}},
            "keras_hub.settings.dtype: 'float16', not allowed among settings",
        ),
        (
            {"settings": EVERY | {"x": {"class_name": "Lambda"}}},
            "keras_hub.settings.x: {'class_name': 'Lambda'}; a number, a string, None",
        ),
        ({"settings": EVERY | {"num_head": 2}}, "Unknown field keras_hub.settings.num"),
        ({"settings": EVERY | {"num_heads": 0}}, "KerasHub cannot build OPT: "),
        (
            {"settings": SETTINGS["OPT"]},
            "context: 2048, at most settings.max_sequence_length 64 allowed",
        ),
        ({"kind": "Falcon", "dropout": 0.1}, "Unknown field keras_hub.settings.drop"),
    ],
)
def test_what_is_refused(fields, words):
    with pytest.raises(ValueError) as error:
        if fields.get("kind") == "Falcon":
            fields = fields | {"settings": SETTINGS["Falcon"]}
        registry.build("keras_hub", **fields)
    assert words in str(error.value)


@pytest.mark.parametrize("kind", ["Mixtral", "Qwen3Moe", "QwenMoe"])
def test_extra_losses_exist_on_the_tape_that_made_them(kind):
    """A training step finds the routers' balance losses in `model.losses`."""
    model = build(kind)
    tokens_BT = np.random.default_rng(1).integers(0, V, [3, 14], np.int32)
    values = [v.value for v in model.trainable_variables]

    @tf.function(autograph=False)
    def extra(tokens_BT):
        with tf.GradientTape() as tape:
            model.features(tokens_BT, training=True)
            losses = model.losses  # of this call only
            total = tf.add_n(losses)
        return losses, tape.gradient(total, values, unconnected_gradients="zero")

    for _ in range(2):
        losses, grads = extra(tokens_BT)
        assert len(losses) == model.config.layers
        assert all(float(loss) > 0 for loss in losses)
        # of the last layer's router and of what is before it
        assert sum(bool(tf.reduce_any(g != 0)) for g in grads) > len(grads) / 2
    model.features(tokens_BT)
    assert not model.losses
