"""LoRA: adapters beside frozen weights, off, merged, and what their gradients are."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from trainers.objectives import LanguageModel
from zoo import lora, models
from zoo.directory import assemble, modules
from zoo.layers import low_rank
from zoo.lora_config import Lora
from zoo.models import keras_hub_lm

SMALL = {"vocab_size": 300, "context": 32, "width": 16, "layers": 2, "heads": 2}
LLAMA = {
    **SMALL,
    "norm": "rmsnorm",
    "positions": "rotary",
    "activation": "silu",
    "gated": True,
    "mlp_width": 24,
    "heads": 4,
    "kv_heads": 2,
    "qkv_bias": False,
    "out_bias": False,
    "mlp_bias": False,
}
RECURRENT = {"vocab_size": 300, "width": 16, "units": 24}
MODELS = {
    "llama": ("transformer_lm", LLAMA),
    "gpt2": ("transformer_lm", SMALL),
    "bert": ("text_encoder", SMALL),
    "lstm": ("lstm_lm", RECURRENT),
    "headed": ("headed", {"body": {"name": "text_encoder", **SMALL}}),
}


def built(name, **changes):
    keras.utils.set_random_seed(2)
    model, fields = MODELS[name]
    return models.build(model, **{**fields, **changes})


def tokens(rows=3, length=9):
    ids = np.random.default_rng(0).integers(1, 300, (rows, length))
    return tf.constant(ids, tf.int32)


def adapted(name, options, seed=1, random=True, **changes):
    """A model with adapters; B of random numbers, so that they matter."""
    model = built(name, **changes)
    lora.add(model, options, seed)
    rng = np.random.default_rng(7)
    for variable in lora.learning(model) if random else ():
        if variable.name.endswith("lora_B"):
            variable.assign(rng.normal(0, 0.2, variable.shape))
    return model


@pytest.mark.parametrize("name", MODELS)
def test_off_start_and_merged(name):
    options = Lora(rank=3, targets=("all-linear",), alpha=5.0)
    base = built(name)(tokens()).numpy()
    model = adapted(name, options, random=False)
    np.testing.assert_array_equal(model(tokens()), base)  # B is zero
    model = adapted(name, options)
    with_adapters = model(tokens()).numpy()
    assert np.abs(with_adapters - base).max() > 1e-4
    with lora.off(model):
        np.testing.assert_array_equal(model(tokens()), base)
    np.testing.assert_array_equal(model(tokens()), with_adapters)
    merged = lora.merged(model)
    assert not low_rank.adapters(merged)
    np.testing.assert_allclose(merged(tokens()), with_adapters, atol=1e-5)


@pytest.mark.parametrize("name", ["llama", "lstm"])
def test_decoding_uses_the_adapters(name):
    model = adapted(name, Lora(rank=2))
    ids = tokens(2, 6)
    logits, state = model.start(ids[:, :5], tf.constant([5, 5]), 8)
    np.testing.assert_allclose(logits, model(ids)[:, 4], atol=1e-5)
    logits, _ = model.step(ids[:, 5], state)
    np.testing.assert_allclose(logits, model(ids)[:, 5], atol=1e-5)


def gradients(model, variables):
    """The loss and its gradients in a graph, as in the Step."""
    ids = tokens(3, 10)
    ones = tf.ones((3, 9))
    batch = {"tokens": ids[:, :-1], "targets": ids[:, 1:], "weights": ones}

    @tf.function(autograph=False)
    def run():
        with tf.GradientTape() as tape:
            loss = LanguageModel().loss({"policy": model}, batch, training=True).sum
        return loss, tape.gradient(loss, [v.value for v in variables])

    return run


@pytest.mark.parametrize("name", ["llama", "gpt2", "lstm"])
def test_gradients_are_those_of_the_dense_weight(name):
    """dA is B^T dW and dB is dW A^T, times scale, of the merged model's dW."""
    options = Lora(rank=3, targets=("all-linear",), alpha=6.0, rslora=True)
    model = adapted(name, options)
    variables = lora.learning(model)
    loss, found = gradients(model, variables)()
    merged = lora.merged(model)
    weights = assemble.by_path(merged)
    paths = [m.mapping.path for m in modules.of(model)]
    dense_loss, dense = gradients(merged, [weights[p] for p in paths])()
    assert float(loss) == pytest.approx(float(dense_loss), rel=1e-5)
    found = {id(v): g for v, g in zip(variables, found, strict=True)}
    for module, dw in zip(modules.of(model), dense, strict=True):
        adapter = module.place.adapter
        dw = tf.transpose(dw) if module.place.transposed else dw
        dw = dw[module.part.start : module.part.start + module.part.size]
        i = adapter.parts.index(module.part)
        a, b = adapter.downs[i], adapter.ups[i]
        for variable, wanted in (
            (a, tf.matmul(b.value, dw, transpose_a=True)),
            (b, tf.matmul(dw, a.value, transpose_b=True)),
        ):
            wanted = 6 / 3**0.5 * wanted
            np.testing.assert_allclose(found[id(variable)], wanted, atol=2e-5)


def shapes_of_products(graph, outputs):
    """The shapes of all matrix products that the outputs need."""
    seen, waiting, found = set(), [t.op for t in outputs], []
    while waiting:
        op = waiting.pop()
        if op.name not in seen:
            seen.add(op.name)
            waiting += [t.op for t in op.inputs] + list(op.control_inputs)
            if op.type == "MatMul":
                found.append(tuple(op.outputs[0].shape))
    return found


def test_no_gradient_of_a_frozen_weight_is_computed():
    model = adapted("gpt2", Lora(rank=3, targets=("all-linear",)))
    run = gradients(model, lora.learning(model)).get_concrete_function()
    found = shapes_of_products(run.graph, run.outputs)
    frozen = [tuple(m.place.variable.shape) for m in modules.of(model)]
    assert frozen and not set(frozen) & set(found)
    full = built("gpt2")
    run = gradients(full, full.trainable_variables).get_concrete_function()
    assert set(frozen) <= set(shapes_of_products(run.graph, run.outputs))


def test_the_weight_itself_has_no_gradient():
    """Also on a tape of another program, which watches all variables."""
    model = adapted("gpt2", Lora(rank=2))
    linear = model.blocks[0].attention.qkv
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(model(tokens()))
    assert tape.gradient(loss, [linear.weight.value, linear.bias.value]) == [None] * 2


def names(model):
    return {m.name for m in modules.of(model) if m.part in parts(m)}


def parts(module):
    return () if module.place.adapter is None else module.place.adapter.parts


@pytest.mark.parametrize(
    "name, targets, wanted",
    [
        ("llama", ("q_proj", "v_proj"), {"self_attn.q_proj", "self_attn.v_proj"}),
        ("llama", ("mlp.up_proj",), {"mlp.up_proj"}),
        ("llama", (), {f"self_attn.{x}_proj" for x in "qkvo"}),
        ("gpt2", ("c_proj",), {"attn.c_proj", "mlp.c_proj"}),
        ("gpt2", (), {"attn.c_attn", "attn.c_proj"}),
        ("bert", ("query", "intermediate.dense"), None),
        ("lstm", (), {"kernel", "recurrent_kernel"}),
    ],
)
def test_targets(name, targets, wanted):
    model = adapted(name, Lora(rank=2, targets=targets))
    wanted = wanted or {"attention.self.query", "intermediate.dense"}
    found = {m.short for m in modules.of(model) if m.name in names(model)}
    assert found == wanted
    assert len(names(model)) == 2 * len(wanted)  # in both layers
    merged = lora.merged(model)  # a part without adapters keeps its rows
    np.testing.assert_allclose(merged(tokens()), model(tokens()), atol=1e-5)


def test_a_part_that_is_no_target_keeps_its_bits():
    model = adapted("llama", Lora(rank=2, targets=("k_proj",)))
    path = "block_0/attention/qkv/weight"
    before = assemble.by_path(model)[path].numpy()
    after = assemble.by_path(lora.merged(model))[path].numpy()
    same = (before == after).all(1)
    np.testing.assert_array_equal(same, [True] * 16 + [False] * 8 + [True] * 8)


def test_initial_values_are_of_the_seed():
    first, again, other = (
        [v.numpy() for v in lora.learning(adapted("llama", Lora(rank=4), seed))]
        for seed in (1, 1, 2)
    )
    assert all(map(np.array_equal, first, again))
    assert not np.array_equal(first[0], other[0])
    assert 0.9 * 16**-0.5 < np.abs(first[0]).max() <= 16**-0.5
    assert not np.array_equal(first[0], first[2])  # q and k


def test_dropout_in_training_only():
    model = adapted("gpt2", Lora(rank=2, dropout=0.5))
    calm = model(tokens())
    np.testing.assert_array_equal(model(tokens()), calm)
    first, second = (model(tokens(), training=True) for _ in range(2))
    assert np.abs(first - calm).max() > 1e-4 and np.abs(first - second).max() > 1e-4
    with lora.off(model):
        np.testing.assert_allclose(
            model(tokens(), training=True), built("gpt2")(tokens()), atol=1e-5
        )


def test_the_head_of_a_headed_model_learns():
    model = adapted("headed", Lora(rank=2))
    paths = {id(v): path for path, v in assemble.by_path(model).items()}
    found = [paths[id(v)] for v in lora.learning(model)]
    assert found[-2:] == ["classifier/weight", "classifier/bias"]
    assert all("lora_" in path for path in found[:-2])


def test_bfloat16(float32):
    keras.config.set_dtype_policy("mixed_bfloat16")
    model = adapted("llama", Lora(rank=2))
    wide = lora.merged(model)(tokens())
    assert {v.dtype for v in lora.learning(model)} == {"float32"}
    np.testing.assert_allclose(model(tokens()), wide, atol=0.05)


@pytest.mark.parametrize(
    "name, options, words",
    [
        (
            "llama",
            {"targets": ("q_porj",)},
            r"targets: 'q_porj' fits no linear map of ",
        ),
        ("llama", {"targets": ("q_porj",)}, "Did you mean q_proj"),
        ("llama", {"targets": ("lm_head",)}, "'lm_head' fits no linear map"),
        ("lstm", {"dropout": 0.1}, r"config.lora.dropout: 0.1, 0 allowed for lstm_lm"),
    ],
)
def test_refuses(name, options, words):
    with pytest.raises(ValueError, match=words):
        lora.add(built(name), Lora(rank=2, **options))


def test_refuses_models_without_linear_layers():
    with pytest.raises(ValueError, match="dense_net has none of the linear layers"):
        lora.add(models.build("dense_net"), Lora(rank=2))


def test_refuses_layers_of_another_library():
    class Fake:
        config = keras_hub_lm.Config()

    with pytest.raises(ValueError, match="keras_hub has layers of another library"):
        lora.add(Fake(), Lora(rank=2))


@pytest.mark.parametrize(
    "fields, words",
    [
        ({"rank": -1}, "lora.rank: -1, at least 0"),
        ({"alpha": -1.0}, "lora.alpha: -1.0"),
        ({"dropout": 1.0}, "lora.dropout: 1.0"),
        ({"targets": ("all-linear", "q_proj")}, "all-linear beside other names"),
    ],
)
def test_options(fields, words):
    with pytest.raises(ValueError, match=words):
        Lora(**fields)
