"""The trace for one row: the values of the other one, and the operations of its own."""

import numpy as np
import pytest
import tensorflow as tf

from zoo import models
from zoo.layers import linear, one_row

V = 50
SMALL = {"vocab_size": V, "context": 32, "width": 32, "layers": 2}
LLAMA = {"heads": 4, "norm": "rmsnorm", "positions": "rotary", "activation": "silu"}
FAMILIES = {
    "gpt2": ("transformer_lm", {"heads": 4}),
    "llama": ("transformer_lm", {**LLAMA, "kv_heads": 2, "gated": True}),
    "gemma": (
        "transformer_lm",
        {**LLAMA, "kv_heads": 1, "gated": True, "norm": "rmsnorm_1p"}
        | {"norm_place": "both", "activation": "gelu_tanh", "qk_norm": True}
        | {"window": 4, "attention_softcap": 20.0},
    ),
    "neox": (
        "transformer_lm",
        {"heads": 4, "positions": "rotary", "rotary_fraction": 0.5}
        | {"residual": "parallel", "activation": "gelu"},
    ),
    "many queries": ("transformer_lm", {**LLAMA, "heads": 8, "kv_heads": 1}),
    "lstm": ("lstm_lm", {"units": 32, "tied_head": True}),
}


@pytest.fixture(params=FAMILIES)
def model(request):
    name, fields = FAMILIES[request.param]
    return models.build(name, **{**SMALL, **fields})


def traced(model, token_B, state, in_place=False):
    """`apart` with an unknown number of rows."""

    def unknown(x):
        rank = len(x.shape)
        return tf.TensorSpec([None] * min(rank, 1) + x.shape[1:], x.dtype)

    call = tf.function(lambda *given: one_row.apart(model, *given, in_place))
    return call.get_concrete_function(
        unknown(token_B), tf.nest.map_structure(unknown, state)
    )


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("rows", [1, 3])
def test_the_values_are_those_of_the_step(model, rows, in_place):
    prompts = tf.random.stateless_uniform([rows, 5], [2, 1], 0, V, tf.int32)
    _, state = model.start(prompts, tf.fill([rows], 5), 16)
    token = prompts[:, 0]
    expected = tf.nest.flatten(model.step(token, state))
    found = tf.nest.flatten(traced(model, token, state, in_place)(token, state))
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


def test_one_row_has_products_of_its_own():
    model = models.build("transformer_lm", **SMALL, **FAMILIES["gpt2"][1])
    prompts = tf.ones([1, 5], tf.int32)
    _, state = model.start(prompts, tf.constant([5]), 16)
    graph = traced(model, prompts[:, 0], state).graph.as_graph_def()
    products = sum(
        node.op == "BatchMatMulV3"
        for function in graph.library.function
        for node in function.node_def
    )
    # one trace of a block: its 4, the head, and 2 of attention in both branches
    assert products == 4 + 1 + 2 * 2


def test_a_weight_in_parts_has_the_bits_of_the_whole(model, monkeypatch):
    prompts = tf.random.stateless_uniform([1, 5], [2, 1], 0, V, tf.int32)
    _, state = model.start(prompts, tf.constant([5]), 16)
    given, found = (prompts[:, 0], state), []
    for most in (200_000, 500):
        monkeypatch.setattr(linear, "_ALONE", most)
        function = traced(model, *given)
        splits = str(function.graph.as_graph_def()).count('"SplitV"')
        found.append((splits, tf.nest.flatten(function(*given))))
    (few, whole), (many, parts) = found
    assert many > few
    for one, other in zip(whole, parts, strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_graph_asks_for_its_device_when_it_runs():
    model = models.build("transformer_lm", **SMALL, **FAMILIES["gpt2"][1])
    prompts = tf.ones([1, 5], tf.int32)
    _, state = model.start(prompts, tf.constant([5]), 16)
    graph = traced(model, prompts[:, 0], state).graph
    assert "DeviceIndex" in {operation.type for operation in graph.get_operations()}
