"""Drafts change the number of passes, and nothing else: the plain loop is the twin."""

import functools

import numpy as np
import pytest
import tensorflow as tf

from zoo import models
from zoo.decode import loop
from zoo.decode.rules import Rules
from zoo.decode.sampling import Knobs
from zoo.generation_config import GenerationConfig

V, NEW, END, STOP = 20, 64, (3,), (7, 9)
SMALL = {"vocab_size": V, "context": 128, "width": 16, "layers": 2, "heads": 4}
FAMILIES = {
    "learned": {},
    "rotary": {
        "kv_heads": 2,
        "positions": "rotary",
        "window": 5,
        "global_layers": (1,),
        "attention_softcap": 4.0,
    },
}


def build(family, **fields):
    fields = {**SMALL, **FAMILIES[family], **fields}
    made = models.build("transformer_lm", **fields)
    for i, v in enumerate(made.trainable_weights):
        noise = tf.random.stateless_normal(v.shape, [i, 7], stddev=0.2)
        v.assign(tf.convert_to_tensor(v.value) + noise)
    return made


class Counted:
    """A Decoder that counts its passes of one token and of several."""

    def __init__(self, model):
        self._model, self.passes = model, tf.Variable([0, 0])

    def __getattr__(self, name):
        return getattr(self._model, name)

    def step(self, *given):
        self.passes.assign_add([1, 0])
        return self._model.step(*given)

    def steps(self, *given):
        self.passes.assign_add([0, 1])
        return self._model.steps(*given)


class Loop:
    """The compiled loop with drafts of a length, which counts its passes."""

    def __init__(self, model, drafts):
        self._model = Counted(model)
        row = tf.TensorSpec([None], tf.int32)
        inputs = [tf.TensorSpec([None, None], tf.int32), row, Knobs.specs(), row]

        @functools.partial(tf.function, autograph=False, input_signature=inputs)
        def run(tokens, lengths, knobs, ngrams):
            def stop(tokens_BN, count_B):
                before, last = (
                    tf.gather(tokens_BN, tf.maximum(count_B - i, 0), batch_dims=1)
                    for i in (2, 1)
                )
                return (before == STOP[0]) & (last == STOP[1]) & (count_B > 1)

            rules = Rules(ngrams, bad_words_ids=((1, 2), (5,)), end_ids=END)
            rules = rules._replace(min_new_tokens=60, forced_eos_token_id=END)
            return loop.decode(
                *(self._model, tokens, lengths, knobs, END),
                stop=stop,
                rules=rules,
                sampled_logprobs=True,
                drafts=drafts,
            )

        self._run = run

    def __call__(self, *given):
        self._model.passes.assign([0, 0])
        return self._run(*given), *self._model.passes.numpy()


@pytest.fixture(scope="module")
def loops():
    model = build("rotary", layers=1, global_layers=())
    return Loop(model, 0), Loop(model, 6)


def prompts(lengths):
    """Ragged prompts in which n-grams repeat."""
    rows = tf.random.stateless_uniform([len(lengths), 6], [3, 1], 0, V, tf.int32)
    return tf.tile(rows, (1, 2)), tf.constant(lengths)


@pytest.mark.parametrize("family, in_place", [("learned", False), ("rotary", True)])
def test_a_pass_of_several_tokens_is_so_many_steps(family, in_place):
    model, (tokens, lengths) = build(family), prompts([1, 12, 7])
    rest = tf.random.stateless_uniform([3, 9], [4, 1], 0, V, tf.int32)
    _, state = model.start(tokens, lengths, 24)
    wanted = []
    for token in tf.unstack(rest, axis=1):
        logits, state = model.step(token, state)
        wanted.append(logits)
    _, state = model.start(tokens, lengths, 24)
    kept = [4, 0, 2]  # each row keeps its own number of tokens of the first pass
    other = (rest[:, :5] + 1) % V
    first = tf.where(tf.range(5) < tf.constant(kept)[:, None], rest[:, :5], other)
    got, state = model.steps(first, state, in_place)
    state = model.forget(state, 5 - tf.constant(kept))
    second = tf.stack([rest[i, n : n + 5] for i, n in enumerate(kept)])
    more, state = model.steps(second, state, in_place)
    wanted = tf.stack(wanted, 1).numpy()
    for i, n in enumerate(kept):
        np.testing.assert_allclose(got[i, :n], wanted[i, :n], atol=1e-5)
        np.testing.assert_allclose(more[i], wanted[i, n : n + 5], atol=1e-5)


CASES = {
    "greedy": {},
    "sampled": {"temperature": 0.3, "top_k": 5},
    "penalty": {"temperature": 0.2, "repetition_penalty": 1.02},
    "ngrams": {"temperature": 0.2, "no_repeat_ngram": 7},
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("lengths", [[9], [12, 1, 7, 3]])
def test_the_answers_are_those_of_the_plain_loop(loops, case, lengths):
    values = dict(CASES[case])
    tokens, lengths = prompts(lengths)
    rows = len(lengths)
    ngrams = tf.fill([rows], values.pop("no_repeat_ngram", 0))
    knobs = Knobs.filled(GenerationConfig(**values), rows)
    knobs = knobs._replace(
        seed=tf.range(rows, dtype=tf.int64) + 5,
        max_new_tokens=NEW + 3 * tf.range(rows),
    )
    (plain, passes, _), (drafted, single, wide) = (
        run(tokens, lengths, knobs, ngrams) for run in loops
    )
    for name in ("tokens", "num_tokens", "stopped"):
        np.testing.assert_array_equal(getattr(drafted, name), getattr(plain, name))
    for name in ("logprobs", "sampled_logprobs"):
        np.testing.assert_allclose(
            getattr(drafted, name), getattr(plain, name), atol=1e-4
        )
    assert wide > 0 and single + wide < passes
