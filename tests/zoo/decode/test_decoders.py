"""The Decoder of every language model: `start` and `step` say what a full pass says."""

import numpy as np
import pytest
import tensorflow as tf

from zoo import models
from zoo.decode import loop, sampling

V = 50
SMALL = {"vocab_size": V, "context": 32, "width": 32, "layers": 2}
FAMILIES = {
    "gpt2": ("transformer_lm", {"heads": 4}),
    "llama": (
        "transformer_lm",
        {
            "heads": 4,
            "kv_heads": 2,
            "norm": "rmsnorm",
            "positions": "rotary",
            "activation": "silu",
            "gated": True,
            "tied_head": False,
        },
    ),
    "post": (
        "transformer_lm",
        {"heads": 2, "head_width": 6, "norm_place": "post", "logit_softcap": 3.0},
    ),
    "lstm": ("lstm_lm", {"units": 32, "tied_head": True}),
    "gru": ("gru_lm", {"units": 24}),
    "rnn": ("rnn_lm", {"units": 24}),
}


@pytest.fixture(scope="module", params=FAMILIES)
def model(request):
    name, fields = FAMILIES[request.param]
    made = models.build(name, **{**SMALL, **fields})
    for i, v in enumerate(made.trainable_weights):
        noise = tf.random.stateless_normal(v.shape, [i, 7], stddev=0.2)
        v.assign(tf.convert_to_tensor(v.value) + noise)
    return made


def tokens(batch, length, seed=0):
    return tf.random.stateless_uniform([batch, length], [seed, 1], 0, V, tf.int32)


def steps(model, prompts, lengths, rest, capacity=24):
    """The logits after each prompt, and after each of the tokens `rest` [B, N]."""
    logits, state = model.start(prompts, lengths, capacity)
    rows = [logits]
    for token in tf.unstack(rest, axis=1):
        logits, state = model.step(token, state)
        rows.append(logits)
    return tf.stack(rows, 1)


def test_start_and_step_are_the_full_pass(model):
    text = tokens(3, 12)
    full = model(text).numpy()
    for length in (1, 7):
        lengths = tf.fill([3], length)
        got = steps(model, text[:, :length], lengths, text[:, length:])
        np.testing.assert_allclose(got, full[:, length - 1 :], atol=1e-5)


def test_a_ragged_batch_gives_each_row_its_own(model):
    lengths, new = [1, 4, 9, 6], 3
    text = tokens(4, 12)
    prompts = tokens(4, 9, seed=5).numpy()  # beyond a row's length: rubbish
    rest = []
    for i, length in enumerate(lengths):
        prompts[i, :length] = text[i, :length]
        rest.append(text[i, length : length + new])
    got = steps(model, tf.constant(prompts), tf.constant(lengths), tf.stack(rest))
    for i, length in enumerate(lengths):
        full = model(text[i : i + 1, : length + new]).numpy()[0]
        np.testing.assert_allclose(got[i], full[length - 1 :], atol=1e-5)


def test_a_row_has_the_same_bits_whoever_stands_beside_it(model):
    """At one shape: other mates, another place, other rubbish in the padding."""

    @tf.function(autograph=False)
    def graph(*given):
        return steps(model, *given)

    lengths = tf.constant([1, 4, 9, 6, 2])
    prompts, rest = tokens(5, 9), tokens(5, 2, seed=1)
    first = graph(prompts, lengths, rest).numpy()
    order = [3, 0, 4, 1, 2]
    moved = [tf.gather(x, order) for x in (prompts, lengths, rest)]
    np.testing.assert_array_equal(graph(*moved), first[order])

    row, padding = 1, 4
    others = tokens(5, 9, seed=8).numpy()
    others[row, :padding] = prompts[row, :padding]
    other_lengths = tf.constant([9, 4, 9, 9, 9])
    other_rest = tokens(5, 2, seed=9).numpy()
    other_rest[row] = rest[row]
    second = graph(tf.constant(others), other_lengths, tf.constant(other_rest))
    np.testing.assert_array_equal(second[row], first[row])


def test_capacity_changes_nothing(model):
    prompts, rest = tokens(2, 5), tokens(2, 3, seed=1)
    small = steps(model, prompts, tf.constant([5, 3]), rest, capacity=8)
    large = steps(model, prompts, tf.constant([5, 3]), rest, capacity=30)
    np.testing.assert_allclose(small, large, atol=1e-5)


def test_every_state_tensor_has_the_batch_first(model):
    _, state = model.start(tokens(3, 5), tf.constant([5, 2, 1]), 9)
    assert all(x.shape[0] == 3 for x in state)
    _, after = model.step(tf.constant([1, 2, 3]), state)
    assert [x.shape for x in after] == [x.shape for x in state]
    assert [x.dtype for x in after] == [x.dtype for x in state]


def test_greedy_decoding_is_the_argmax_of_full_passes(model):
    prompts, lengths, new = tokens(3, 5), [5, 2, 3], 6
    knobs = sampling.Knobs(
        max_new_tokens=tf.fill([3], new),
        temperature=tf.zeros([3]),
        top_k=tf.zeros([3], tf.int32),
        top_p=tf.ones([3]),
        min_p=tf.zeros([3]),
        repetition_penalty=tf.ones([3]),
        seed=tf.zeros([3], tf.int64),
    )
    out = loop.decode(model, prompts, tf.constant(lengths), knobs, ())
    for i, length in enumerate(lengths):
        text = prompts[i, :length].numpy().tolist()
        for n in range(new):
            logits = model(tf.constant([text]))[0, -1]
            text.append(int(tf.argmax(logits)))
            assert int(out.tokens[i, n]) == text[-1]
            wanted = tf.nn.log_softmax(logits)[text[-1]]
            assert float(out.logprobs[i, n]) == pytest.approx(float(wanted), abs=1e-5)
