"""Equal blocks share one trace: the values are those of a trace of each block.

The last bits may differ, as TensorFlow joins operations in larger graphs.
"""

import numpy as np
import pytest
import tensorflow as tf

from zoo import lora, models
from zoo.layers import traced_blocks
from zoo.lora_config import Lora

TOKENS = tf.constant(np.random.default_rng(0).integers(0, 50, (2, 9)), tf.int32)


def random_model():
    made = models.build(
        "transformer_lm", vocab_size=50, context=16, width=12, layers=4, heads=2
    )
    for number, variable in enumerate(made.weights):
        noise = tf.random.stateless_normal(variable.shape, [number, 1], stddev=0.1)
        variable.assign(variable.value + noise)
    return made


def slow(blocks, call, x, own=(), kinds=(), training=False):
    """The twin: each block is called in Python."""
    given = []
    for i, block in enumerate(blocks):
        x, more = call(i, block, x, *(own[i] if own else ()))
        given.extend(more)
    return x, given


def of_graphs(model):
    """What a prompt, a step and several at once give, and the operations of a graph."""

    def prompt(tokens_BT):
        logits, state = model.start(tokens_BT, tf.constant([9, 4]), 16)
        one, state = model.step(tf.constant([3, 7]), state)
        several, state = model.steps(tf.constant([[1, 2], [3, 4]]), state)
        return model.features(tokens_BT), logits, one, several, *state

    graph = tf.function(prompt, autograph=False).get_concrete_function(TOKENS)
    return [x.numpy() for x in graph(TOKENS)], len(graph.graph.get_operations())


@pytest.mark.parametrize("adapters", [False, True])
def test_values_are_those_of_a_trace_of_each_block(adapters, monkeypatch):
    model = random_model()
    if adapters:  # which differ from block to block
        lora.add(model, Lora(rank=2))
        for number, variable in enumerate(lora.learning(model)):
            variable.assign(
                tf.random.stateless_normal(variable.shape, [number, 2], stddev=0.1)
            )
    shared, few = of_graphs(model)
    monkeypatch.setattr(traced_blocks, "through", slow)
    each, many = of_graphs(model)
    for got, wanted in zip(shared, each, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-5)
    assert few < many / 2


def test_blocks_of_other_kinds_have_their_own_traces():
    """Windows differ from layer to layer, which the weights do not show."""
    traces = []

    class Block(tf.Module):
        weights = ()

        def _flatten_layers(self):
            return ()

    def call(i, block, x, *own):
        traces.append(i)
        return x * kinds[i], ()

    kinds = (2.0, 3.0, 2.0, 3.0)
    graph = tf.function(
        lambda x: traced_blocks.through([Block() for _ in kinds], call, x, (), kinds)[0]
    )
    assert graph(tf.constant(1.0)).numpy() == 36.0
    assert traces == [0, 1]
