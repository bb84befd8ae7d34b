"""The loop's ends, limits and stops, and `generate` around it."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from zoo import models
from zoo.decode import generate, loop, sampling
from zoo.decode.sampling import Knobs
from zoo.directory import GenerationConfig
from zoo.row_seeds import row_seed

V, END = 7, 6


class Counting:
    """A Decoder that always wants the next number: 0, 1, ... 6, 0, ..."""

    def start(self, tokens_BT, lengths_B, capacity):
        del capacity
        last_B = tf.gather(tokens_BT, lengths_B - 1, axis=1, batch_dims=1)
        return self.step(last_B, [])

    def step(self, token_B, state, in_place=False):
        del in_place
        return 9 * tf.one_hot((token_B + 1) % V, V), state


def decode(lasts, limits, stop=None, end_ids=(END,), vocab_size=0, **values):
    rows = len(lasts)
    given = {"temperature": 0.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0}
    given |= {"repetition_penalty": 1.0, "seed": 0, **values}
    kinds = {"top_k": tf.int32, "seed": tf.int64}
    knobs = sampling.Knobs(
        max_new_tokens=tf.constant(limits),
        **{
            k: tf.fill([rows], tf.cast(v, kinds.get(k, tf.float32)))
            for k, v in given.items()
        },
    )
    prompts = tf.constant([[last, 0, 0] for last in lasts])
    lengths = tf.ones([rows], tf.int32)
    return loop.decode(
        Counting(), prompts, lengths, knobs, end_ids, vocab_size, stop=stop
    )


def test_any_of_several_tokens_ends_a_row():
    out = decode([0, 3, 5], [9, 9, 9], end_ids=(6, 2))
    np.testing.assert_array_equal(out.num_tokens, [2, 3, 1])
    np.testing.assert_array_equal(out.stopped, [True] * 3)
    np.testing.assert_array_equal(out.tokens[:, :3], [[1, 2, 0], [4, 5, 6], [6, 0, 0]])


def test_each_row_ends_by_itself():
    out = decode([0, 3, 5, 4], [9, 9, 9, 1])
    np.testing.assert_array_equal(
        out.tokens[:, :6],
        [
            [1, 2, 3, 4, 5, 6],
            [4, 5, 6, 0, 0, 0],
            [6, 0, 0, 0, 0, 0],
            [5, 0, 0, 0, 0, 0],
        ],
    )
    np.testing.assert_array_equal(out.num_tokens, [6, 3, 1, 1])
    np.testing.assert_array_equal(out.stopped, [True, True, True, False])
    written = np.arange(out.tokens.shape[1]) < out.num_tokens.numpy()[:, None]
    assert (out.logprobs.numpy()[written] < 0).all()
    assert not out.logprobs.numpy()[~written].any()


def test_an_end_at_the_limit_is_a_stop():
    out = decode([3], [3])
    assert out.stopped[0] and int(out.num_tokens[0]) == 3


def test_without_an_end_token_the_limit_ends():
    out = decode([0, 0], [10, 4], end_ids=())
    np.testing.assert_array_equal(out.num_tokens, [10, 4])
    np.testing.assert_array_equal(out.tokens[0], [1, 2, 3, 4, 5, 6, 0, 1, 2, 3])
    assert not out.stopped.numpy().any()


def test_stop_is_asked_after_each_token():
    def stop(tokens_BN, count_B):
        last_B = tf.gather(tokens_BN, count_B - 1, axis=1, batch_dims=1)
        return last_B == 3

    out = decode([0, 4], [9, 9], stop=stop)
    np.testing.assert_array_equal(out.num_tokens, [3, 2])
    np.testing.assert_array_equal(out.stopped, [True, True])


def test_logprobs_are_those_before_any_knob():
    wanted = float(tf.nn.log_softmax(9 * tf.one_hot(1, V))[1])
    out = decode([0, 0], [1, 1], temperature=0.1, top_k=1, repetition_penalty=1.2)
    np.testing.assert_allclose(out.logprobs[:, 0], [wanted, wanted], atol=1e-6)


def test_rows_behind_the_tokenizer_are_never_chosen_but_have_probability():
    out = decode([4], [2], end_ids=(), vocab_size=5)
    # after 4 the model wants 5, which is no token: then 0, the first of equals
    np.testing.assert_array_equal(out.tokens, [[0, 1]])
    wanted = tf.nn.log_softmax(9 * tf.one_hot([5, 1], V)).numpy()
    np.testing.assert_allclose(out.logprobs[0], [wanted[0, 0], wanted[1, 1]], atol=1e-6)


def test_the_penalty_knows_prompt_and_answer():
    # 9 / 1e6 falls below 0, the logit of all others... which are seen in their turn
    out = decode([0], [6], end_ids=(), repetition_penalty=1e6)
    np.testing.assert_array_equal(out.tokens[0], [1, 2, 3, 4, 5, 6])
    again = decode([0], [7], end_ids=(), repetition_penalty=1e6)
    assert int(again.tokens[0, 6]) == 0  # all are seen: the likeliest once more


# ---- generate ----


@pytest.fixture(scope="module")
def model():
    return models.build(
        "transformer_lm", vocab_size=300, context=32, width=32, layers=1, heads=2
    )


HOT = GenerationConfig(max_new_tokens=8, temperature=1.0, seed=5)


def test_generate(model, tokenizer):
    (one,) = generate(model, tokenizer, ["abc"], HOT)
    assert tokenizer.decode(one.tokens) == one.text
    assert one.finish_reason in ("stop", "length")
    assert len(one.tokens) <= 8 and one.logprob < 0


def test_a_prompt_is_sampled_by_its_place(model, tokenizer):
    many = generate(model, tokenizer, ["abc", "abc", "abc"], HOT)
    assert many[0].tokens != many[1].tokens
    assert generate(model, tokenizer, ["abc", "abc", "abc"], HOT) == many
    later = dataclasses.replace(HOT, seed=row_seed(5, 1))
    assert generate(model, tokenizer, ["abc"], later)[0].tokens == many[1].tokens


def test_an_empty_prompt_begins_a_document(model, tokenizer):
    cold = GenerationConfig(max_new_tokens=3)
    (one,) = generate(model, tokenizer, [""], cold)
    logits = model(tf.constant([[tokenizer.end_id]]))[0, -1]
    assert one.tokens[0] == int(tf.argmax(logits))


def test_what_exceeds_the_context_is_refused(model, tokenizer):
    fits = GenerationConfig(max_new_tokens=31)
    assert len(generate(model, tokenizer, [""], fits)[0].tokens) <= 31
    with pytest.raises(ValueError) as error:
        generate(model, tokenizer, ["", ""], GenerationConfig(max_new_tokens=32))
    assert "max_new_tokens 32" in str(error.value)
    assert "context is 32" in str(error.value)


def test_defaults_shrink_to_the_room_in_the_context(model, tokenizer):
    for answers in (
        generate(model, tokenizer, ["ab"]),  # 64 new tokens by default
        generate(model, tokenizer, ["ab"], GenerationConfig(top_k=999), fit=True),
    ):
        room = 32 - len(tokenizer.encode("ab"))
        (one,) = answers
        assert len(one.tokens) == room or one.finish_reason == "stop"
    with pytest.raises(ValueError, match="context is 32"):
        generate(model, tokenizer, ["ab" * 32], fit=True)


def test_a_long_row_ends_while_a_short_one_goes_on(tokenizer):
    model = models.build(
        "transformer_lm", vocab_size=300, context=16, width=8, layers=1, heads=2
    )
    both = Knobs.filled(GenerationConfig(max_new_tokens=12), 2)
    knobs = both._replace(max_new_tokens=tf.constant([12, 1]))
    prompts = tf.constant([[5] + [0] * 14, [7] * 15])
    out = loop.decode(model, prompts, tf.constant([1, 15]), knobs, ())
    assert out.num_tokens.numpy().tolist() == [12, 1]


def test_one_text_is_one_prompt(model, tokenizer):
    assert generate(model, tokenizer, "abc", HOT) == generate(
        model, tokenizer, ["abc"], HOT
    )
    with pytest.raises(ValueError, match="prompts: none"):
        generate(model, tokenizer, [], HOT)


def test_a_recurrent_model_has_no_limit(tokenizer):
    model = models.build(
        "gru_lm", vocab_size=300, context=8, width=16, units=16, layers=1
    )
    (one,) = generate(
        model, tokenizer, ["abcabcabcabc"], GenerationConfig(max_new_tokens=20)
    )
    assert one.finish_reason == "stop" or len(one.tokens) == 20


@pytest.mark.parametrize(
    "fields, words",
    [
        ({"max_new_tokens": 0}, "max_new_tokens: 0, at least 1"),
        ({"temperature": -1.0}, "temperature: -1.0, at least 0"),
        ({"temperature": float("nan")}, "temperature: nan"),
        ({"top_k": -1}, "top_k: -1, at least 0"),
        ({"top_p": 0.0}, "top_p: 0.0, above 0 and at most 1"),
        ({"min_p": 1.5}, "min_p: 1.5, 0 to 1 allowed"),
        ({"repetition_penalty": 0.0}, "repetition_penalty: 0.0, above 0"),
        ({"repetition_penalty": float("nan")}, "repetition_penalty: nan"),
        ({"beams": 4, "temperature": 0.5}, "beams: 4, but temperature 0.5; 1 allowed"),
        (
            {"beams": 2, "num_return_sequences": 3},
            "num_return_sequences: 3, at most the 2 of beams allowed",
        ),
    ],
)
def test_bad_knobs_are_refused(fields, words):
    with pytest.raises(ValueError) as error:
        GenerationConfig(**fields)
    assert words in str(error.value)
