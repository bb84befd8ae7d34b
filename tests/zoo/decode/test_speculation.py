"""Drafts change the number of passes, and nothing else: the plain loop is the twin."""

import dataclasses
import functools

import numpy as np
import pytest
import tensorflow as tf

from zoo import models
from zoo.decode import generate, loop, speculation
from zoo.decode.rules import Rules
from zoo.decode.sampling import Knobs
from zoo.directory import Loaded
from zoo.generation_config import GenerationConfig
from zoo.saved_model import checker, writer
from zoo.saved_model.checker import c_api

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


def build(family):
    made = models.build("transformer_lm", **{**SMALL, **FAMILIES[family]})
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
                drafts=drafts,
            )

        self._run = run

    def __call__(self, *given):
        self._model.passes.assign([0, 0])
        return self._run(*given), *self._model.passes.numpy()


class Trigrams:
    """A Decoder whose logits depend on the last two tokens of its cache."""

    table = tf.random.stateless_normal([V, V, V], [1, 5], stddev=3.0)

    def start(self, tokens_BT, lengths_B, capacity):
        free = capacity - tf.shape(tokens_BT)[1]
        text_BS = tf.pad(tokens_BT, ((0, 0), (0, free)), constant_values=V - 1)
        state = [lengths_B, text_BS]
        return self._logits(text_BS, lengths_B[:, None] - 1)[:, 0], state

    def step(self, token_B, state, in_place):
        logits, state = self.steps(token_B[:, None], state, in_place)
        return logits[:, 0], state

    def steps(self, tokens_BQ, state, in_place):
        del in_place
        position_B, text_BS = state
        B, Q = tf.unstack(tf.shape(tokens_BQ))
        at_BQ = position_B[:, None] + tf.range(Q)
        rows_BQ = tf.broadcast_to(tf.range(B)[:, None], (B, Q))
        at = tf.stack([rows_BQ, at_BQ], -1)
        text_BS = tf.tensor_scatter_nd_update(text_BS, at, tokens_BQ)
        return self._logits(text_BS, at_BQ), [position_B + Q, text_BS]

    def forget(self, state, count_B):
        return [state[0] - count_B, state[1]]

    def _logits(self, text_BS, at_BQ):
        before = tf.gather(text_BS, tf.maximum(at_BQ - 1, 0), batch_dims=1)
        last = tf.gather(text_BS, at_BQ, batch_dims=1)
        return tf.gather_nd(self.table, tf.stack([before, last], -1))


MODELS = [Trigrams, pytest.param(lambda: build("rotary"), marks=pytest.mark.long)]


@pytest.fixture(scope="module", params=MODELS, ids=["trigrams", "transformer"])
def loops(request):
    model = request.param()
    return Loop(model, 0), Loop(model, 6)


def prompts(lengths):
    """Ragged prompts in which n-grams repeat."""
    rows = tf.random.stateless_uniform([len(lengths), 6], [3, 1], 0, V, tf.int32)
    return tf.tile(rows, (1, 2)), tf.constant(lengths)


@pytest.mark.parametrize("family, in_place", [("learned", False), ("rotary", True)])
def test_a_pass_of_several_tokens_is_so_many_steps(family, in_place):
    model, (tokens, lengths) = build(family), prompts([1, 12, 7])
    rest = tf.random.stateless_uniform([3, 9], [4, 1], 0, V, tf.int32)
    _, state = model.start(tokens, lengths, 21)
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
    np.testing.assert_allclose(drafted.logprobs, plain.logprobs, atol=1e-4)
    if rows == 1:
        assert wide > 0 and single + wide < passes
    else:  # no drafts: a row's last bits would depend on those of the others
        assert (single, wide) == (passes, 0)
        np.testing.assert_array_equal(drafted.logprobs, plain.logprobs)


class Script:
    """A Decoder that says the next token of a text, whatever it reads."""

    def __init__(self, text):
        self._text, self.wide, self.passes = tf.constant(text), 0, 0

    def _logits(self, place):
        return 9 * tf.one_hot(tf.gather(self._text, place), V)

    def start(self, tokens_BT, lengths_B, capacity):
        del tokens_BT, capacity
        return self._logits(lengths_B), [lengths_B]

    def step(self, token_B, state, in_place):
        del token_B, in_place
        self.passes += 1
        return self._logits(state[0] + 1), [state[0] + 1]

    def steps(self, tokens_BQ, state, in_place):
        del in_place
        self.passes, self.wide = self.passes + 1, self.wide + 1
        Q = tokens_BQ.shape[1]
        logits = self._logits(state[0][:, None] + tf.range(1, Q + 1))
        return logits, [state[0] + Q]

    def forget(self, state, count_B):
        return [state[0] - count_B]


def told(text, prompt, limits, drafts):
    """A script, after its text was written by rows with these limits."""
    script, rows = Script(text + [0] * drafts), len(limits)
    knobs = Knobs.filled(GenerationConfig(), rows)
    knobs = knobs._replace(max_new_tokens=tf.constant(limits))
    tokens, lengths = tf.constant([text[:prompt]] * rows), tf.fill([rows], prompt)
    out = loop.decode(script, tokens, lengths, knobs, (), drafts=drafts)
    for row, limit in zip(out.tokens.numpy(), limits, strict=True):
        assert row[:limit].tolist() == text[prompt : prompt + limit]
    return script


def test_right_drafts_become_longer():
    text = [0, 1, 2, 3, 4] * 12
    # 1 token of the prompt's pass, then 3, 5 and 9 of the first drafts, then 9 each
    assert told(text, 8, [45], 8).passes == 3 + 3
    # the draft that the limit ends is shorter
    assert told(text, 8, [5], 8).passes == 2


def test_wrong_drafts_become_rare():
    text = [x for i in range(2, 19) for x in (0, 0, i)]
    script = told(text, 5, [46], 8)
    assert script.passes == 45 and 2 <= script.wide <= 5


def test_a_draft_is_what_stood_behind_the_latest_tokens():
    rng = np.random.default_rng(3)
    for n in (3, 4, 9, 12, 12, 12):
        row = [0, 1, *rng.integers(0, 2, n), 0, 1]
        assert speculation.lookup(tf.constant(row), 5).numpy().tolist() == expected(row)


def expected(row, most=5):
    text = list(row)
    for n in (3, 2):
        for end in range(len(row) - 1, n - 1, -1):
            if row[end - n : end] == row[-n:]:
                for i in range(most):
                    text.append(text[end + i])
                return text[len(row) :]


@pytest.mark.long
def test_generate_gives_the_same_answers(tokenizer):
    model = models.build("transformer_lm", **{**SMALL, "vocab_size": 300, "layers": 1})
    knobs = GenerationConfig(max_new_tokens=60, stop=("zz",), temperature=0.1)
    given = model, tokenizer, ["ab ab ab", "", "cde fgh"]
    drafted = dataclasses.replace(knobs, prompt_lookup_num_tokens=4)
    for plain, fast in zip(
        generate(*given, knobs), generate(*given, drafted), strict=True
    ):
        assert fast.tokens == plain.tokens and fast.text == plain.text
        assert fast.logprob == pytest.approx(plain.logprob, abs=1e-3)


def test_what_takes_no_drafts_is_refused(tokenizer, tmp_path):
    knobs = GenerationConfig(prompt_lookup_num_tokens=4)
    recurrent = models.build("gru_lm", vocab_size=300, context=8, width=8, units=8)
    with pytest.raises(ValueError, match="num_tokens: 4, but a pass of RecurrentLM"):
        generate(recurrent, tokenizer, ["ab"], knobs)
    with pytest.raises(ValueError, match="prompt_lookup_num_tokens: 4, but beams 2"):
        dataclasses.replace(knobs, beams=2)
    with pytest.raises(ValueError, match="prompt_lookup_num_tokens: 65, 0 to 64"):
        GenerationConfig(prompt_lookup_num_tokens=65)
    assert GenerationConfig.from_json(knobs.to_json(1), "FILE") == knobs
    loaded = Loaded(recurrent, tokenizer, knobs)
    for options, words in (
        ({}, "speculate: 4, but a pass of"),
        ({"speculate": 2}, "speculate: 2, but a pass of"),
        ({"speculate": 2, "beams": 3}, "speculate: 2, but beams 3; 0 of one"),
        ({"speculate": -1}, "speculate: -1, 0 to 64"),
    ):
        with pytest.raises(ValueError, match=words):
            writer.write(tmp_path, loaded, **options)


@pytest.mark.long
def test_an_export_gives_the_same_answers(tokenizer, tmp_path):
    model = models.build("transformer_lm", **{**SMALL, "vocab_size": 300, "layers": 1})
    loaded = Loaded(model, tokenizer, GenerationConfig())
    request = {
        "prompt": ["ab ab ab", "cde fgh", ""],
        "max_new_tokens": [60, 50, 64],
        "temperature": [0.0, 0.1, 0.7],
        "stop": [["zz"] + [""] * 7] * 3,
    }
    alone = {name: values[:1] for name, values in request.items()}
    found = []
    for k in (0, 5):
        folder = writer.write(tmp_path / str(k), loaded, speculate=k, batch=4)
        with c_api.Session(str(folder)) as session:
            found.append([session.run("generate", r) for r in (request, alone)])
    for plain, drafted in zip(*found, strict=True):
        for name in ("tokens", "text", "finish_reason"):
            assert plain[name].tolist() == drafted[name].tolist()
    plain, drafted = (several["token_logprobs"] for several, _ in found)
    assert plain == drafted  # several rows have no drafts


@pytest.mark.long
def test_no_row_of_an_export_changes_with_its_mates(tokenizer, tmp_path):
    model = models.build("transformer_lm", **{**SMALL, "vocab_size": 300, "layers": 1})
    loaded = Loaded(model, tokenizer, GenerationConfig(max_new_tokens=50))
    report = checker.check(str(writer.write(tmp_path, loaded, speculate=8)), calls=12)
    assert report.ok, report.lines()
    rows = {r.signature: r.status for r in report.results if r.check == "rows"}
    assert rows["generate"] == "pass"
