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


def sampled(rows, **values):
    """Knobs of rows that sample, each with a seed of its own."""
    knobs = sampling.Knobs(
        max_new_tokens=tf.fill([rows], 6),
        temperature=tf.fill([rows], 0.7),
        top_k=tf.zeros([rows], tf.int32),
        top_p=tf.ones([rows]),
        min_p=tf.zeros([rows]),
        repetition_penalty=tf.ones([rows]),
        seed=tf.range(rows, dtype=tf.int64),
    )
    return knobs._replace(**values)


def test_samples_of_one_prefill_are_those_of_repeated_prompts(model):
    prompts, lengths = tokens(3, 5), tf.constant([5, 2, 3])
    knobs = sampled(6, repetition_penalty=tf.fill([6], 1.3))
    options = {"sampled_logprobs": True}
    got = loop.decode(model, prompts, lengths, knobs, (7,), samples=2, **options)
    wanted = loop.decode(
        model, tf.repeat(prompts, 2, 0), tf.repeat(lengths, 2), knobs, (7,), **options
    )
    assert (got.tokens[0] != got.tokens[1]).numpy().any()
    for name in ("tokens", "num_tokens", "stopped"):
        np.testing.assert_array_equal(getattr(got, name), getattr(wanted, name))
    for name in ("logprobs", "sampled_logprobs"):
        np.testing.assert_allclose(getattr(got, name), getattr(wanted, name), atol=1e-5)


def test_sampled_logprobs_are_of_what_may_be_chosen(model):
    """At a temperature, and without the rows behind the tokenizer's tokens."""
    prompts, lengths, known = tokens(2, 4), tf.constant([4, 3]), 40
    out = loop.decode(
        model, prompts, lengths, sampled(2), (), known, sampled_logprobs=True
    )
    for i, length in enumerate(lengths.numpy()):
        text = [*prompts[i, :length].numpy(), *out.tokens[i].numpy()]
        logits = model(tf.constant([text]))[0, length - 1 : -1]
        chosen = out.tokens[i][:, None]
        for values, got in (
            (tf.nn.log_softmax(logits), out.logprobs[i]),
            (tf.nn.log_softmax(logits[:, :known] / 0.7), out.sampled_logprobs[i]),
        ):
            wanted = tf.gather(values, chosen, batch_dims=1)[:, 0]
            np.testing.assert_allclose(got, wanted, atol=1e-5)
