"""The signatures of language models, against the models in Python."""

import codecs
import dataclasses
import json
import random

import numpy as np
import pytest
import tensorflow as tf

from zoo.decode import generate
from zoo.directory import GenerationConfig
from zoo.generation_config import KNOBS
from zoo.row_seeds import row_seed
from zoo.saved_model import request_checks
from zoo.saved_model.checker import growth
from zoo.saved_model.checker.c_api import Error
from zoo.saved_model.signatures.language_model import TextGenerator

PROMPTS = ["", "abc", "dcab bed ab", "é cab\n\0 gh"]
LONG = pytest.mark.long
FAMILIES = ["transformer_lm", "lstm_lm", "gru_lm", "rnn_lm"]
HOT = {"temperature": 1.1, "seed": 3}
CASES = {
    "greedy": {},
    "sampled": HOT,
    "top_k": {**HOT, "top_k": 5},
    "top_p": {**HOT, "top_p": 0.7},
    "min_p": {**HOT, "min_p": 0.2},
    "penalty": {"repetition_penalty": 1.7},
    "all": {
        "temperature": 2.0,
        "top_k": 50,
        "top_p": 0.9,
        "min_p": 0.01,
        "repetition_penalty": 1.3,
        "seed": -(2**62),
    },
    "stops": {**HOT, "stop": ("b", "c ", "never there")},
    "one token": {**HOT, "max_new_tokens": 1},
}


def bytes_of(tokenizer, ids):
    """The bytes that byte-level tokens stand for, by GPT-2's table of letters."""
    same = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in same]
    table = {chr(256 + i): byte for i, byte in enumerate(others)}
    table |= {chr(byte): byte for byte in same}
    names = {i: n for n, i in json.loads(tokenizer.json)["model"]["vocab"].items()}
    ids = [i for i in ids if i != tokenizer.end_id]
    return bytes(table[letter] for i in ids for letter in names[i])


def text_of(tokenizer, ids):
    """Their text; of a character that is cut at the end there is nothing."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    return decoder.decode(bytes_of(tokenizer, ids))


def ids_of(tokenizer, prompt):
    return tokenizer.encode(prompt) or [tokenizer.end_id]


def texts(outputs):
    return [text.decode() for text in outputs["text"]]


def log_softmax(model, ids):
    """Of the model's logits after each of the tokens, [T, V]."""
    logits_TV = model(tf.constant([ids])).numpy()[0].astype(np.float64)
    logits_TV -= logits_TV.max(-1, keepdims=True)
    return logits_TV - np.log(np.exp(logits_TV).sum(-1, keepdims=True))


# ---- generate ----


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(
    "family", [*FAMILIES[:2], *(pytest.param(f, marks=LONG) for f in FAMILIES[2:])]
)
def test_answers_are_those_of_zoo_generate(served, family, case):
    one, rows = served(family), range(len(PROMPTS))
    model, tokenizer, _ = one.loaded
    knobs = {"max_new_tokens": 16, "stop": (), **CASES[case]}
    if family != "transformer_lm" and not knobs["stop"]:
        knobs["stop"] = ("never there",)  # `generate` is traced with stops, or without
    wanted = generate(model, tokenizer, PROMPTS, GenerationConfig(**knobs))
    given = dataclasses.asdict(GenerationConfig(**knobs))  # also against other defaults
    every = {knob.name: given[knob.name] for knob in KNOBS}
    every = {name: [value] * len(rows) for name, value in every.items()}
    every["seed"] = [row_seed(every["seed"][0], row) for row in rows]
    every["stop"] = [list(knobs["stop"]) or [""]] * len(rows)
    got = one.run("generate", prompt=PROMPTS, **every)
    assert got["num_tokens"] == [len(answer.tokens) for answer in wanted]
    assert [r.decode() for r in got["finish_reason"]] == [
        answer.finish_reason for answer in wanted
    ]
    assert got["logprob"] == pytest.approx([a.logprob for a in wanted], abs=1e-4)
    for row, answer in zip(rows, wanted, strict=True):
        tokens, count = got["tokens"][row], len(answer.tokens)
        assert tokens == answer.tokens + [0] * (len(tokens) - count)
        assert len(tokens) == knobs["max_new_tokens"]
        text = text_of(tokenizer, answer.tokens)
        places = [text.find(stop) for stop in knobs["stop"] if stop in text]
        text = text[: min(places, default=None)]
        assert got["text"][row].decode() == text
        # what the last token only begins is U+FFFD there
        assert answer.text in (text, text + "\ufffd")
    reasons = {answer.finish_reason for answer in wanted}
    assert reasons >= {"stop"} if case == "stops" else "length" in reasons


@pytest.mark.long
def test_an_export_keeps_the_rules_of_its_directory(plain):
    model, tokenizer, _ = plain.loaded
    free = GenerationConfig(max_new_tokens=8)
    first = [a.tokens[0] for a in generate(model, tokenizer, PROMPTS, free)]
    rules = GenerationConfig(
        max_new_tokens=8,
        min_new_tokens=8,
        bad_words_ids=tuple((token,) for token in {*first} - {tokenizer.end_id}),
        forced_eos_token_id=(tokenizer.end_id,),
    )
    wanted = [a.tokens for a in generate(model, tokenizer, PROMPTS, rules)]
    module = TextGenerator(model, tokenizer, rules)
    got = module.generate(tf.constant(PROMPTS), **request_checks.defaults(rules))
    assert got["tokens"].numpy().tolist() == wanted
    assert {tokens[-1] for tokens in wanted} == {tokenizer.end_id}
    assert not {*first} & {token for tokens in wanted for token in tokens[:-1]}


def test_answers_are_those_of_the_command(plain, commands):
    knobs = {"max_new_tokens": 12, "temperature": 0.9, "top_k": 9, "seed": 8}
    flags = [f"--{name}={value}" for name, value in knobs.items()]
    done = commands("zoo.generate", f"--model={plain.source}", "--prompt=ab", *flags)
    lists = {name: [value] for name, value in knobs.items()}
    (text,) = texts(plain.run("generate", prompt=["ab"], **lists))
    assert done.code == 0 and done.out in (f"ab{text}\n", f"ab{text}\ufffd\n")


def test_how_rows_end(plain):
    """By their limit, or by the end token; nothing stands behind it."""
    end, rows, most = plain.loaded.tokenizer.end_id, 48, 40
    got = plain.run(
        "generate",
        prompt=[""] * rows,
        max_new_tokens=[most - row % 3 for row in range(rows)],
        temperature=[30.0],
        seed=list(range(rows)),
    )
    for row in range(rows):
        count, reason = got["num_tokens"][row], got["finish_reason"][row]
        tokens, logprobs = got["tokens"][row], got["token_logprobs"][row]
        assert (reason == b"stop") == (tokens[count - 1] == end)
        assert end not in tokens[: count - 1]
        assert reason == b"stop" or count == most - row % 3
        assert not any(tokens[count:]) and not any(logprobs[count:])
        assert all(logprob < 0 for logprob in logprobs[:count])
        assert sum(logprobs) == pytest.approx(got["logprob"][row], abs=1e-3)
        text = got["text"][row].decode()
        assert text == text_of(plain.loaded.tokenizer, tokens[:count])
    assert set(got["finish_reason"]) == {b"stop", b"length"}
    assert len(set(got["text"])) == rows


def test_a_broken_character_is_not_the_stop_string(plain):
    knobs = {"max_new_tokens": [40], "temperature": [1.0], "seed": [3, 4]}
    whole = plain.run("generate", prompt=["ab", "c"], **knobs)
    assert all(text.count("\ufffd") > 2 for text in texts(whole))
    got = plain.run("generate", prompt=["ab", "c"], stop=[["\ufffd"]], **knobs)
    assert got == whole


@pytest.mark.parametrize(
    "family", ["transformer_lm", pytest.param("gru_lm", marks=pytest.mark.long)]
)
def test_inputs_left_out_take_the_values_of_the_generation_config(served, family):
    one = served(family)
    given = dataclasses.asdict(one.loaded.generation)
    said = {knob.name: given[knob.name] for knob in KNOBS}
    stop = list(said.pop("stop")) or [""]
    every = {name: [value] for name, value in said.items()}
    wanted = one.run("generate", prompt=PROMPTS, stop=[stop], **every)
    assert one.run("generate", prompt=PROMPTS) == wanted
    if family == "gru_lm":
        assert one.run("serving_default", prompt=PROMPTS) == {"text": wanted["text"]}
    assert [len(row) for row in wanted["tokens"]] == [said["max_new_tokens"]] * 4
    for name, other in {"max_new_tokens": 2, "temperature": 3.0, "top_k": 1}.items():
        mixed = one.run("generate", prompt=PROMPTS, **{name: [other]})
        every_other = {**every, name: [other]}
        assert mixed == one.run("generate", prompt=PROMPTS, stop=[stop], **every_other)
    if said["temperature"]:
        moved = one.run("generate", prompt=PROMPTS, seed=[said["seed"] + 1])
        assert moved["text"] != wanted["text"]
        assert b"stop" in wanted["finish_reason"]


def test_a_row_has_the_same_bytes_among_any_mates_at_any_place(plain):
    """At one padded shape: row 0 has the longest prompt and the largest limit."""
    columns = {
        "prompt": ["dcab bed ab jf", "", "é\0", "abc"],
        "max_new_tokens": ("int32", [12, 5, 1, 12]),
        "temperature": ("float32", [0.0, 1.0, 2.0, 0.7]),
        "top_k": ("int32", [0, 0, 5, 0]),
        "top_p": ("float32", [1.0, 1.0, 1.0, 0.5]),
        "min_p": ("float32", [0.0, 0.0, 0.0, 0.1]),
        "repetition_penalty": ("float32", [1.0, 1.0, 1.2, 1.5]),
        "seed": ("int64", [0, 7, -1, 2**40]),
        "stop": [["", ""], ["a", ""], ["b", "c"], ["", ""]],
    }
    columns = {k: v[1] if isinstance(v, tuple) else v for k, v in columns.items()}

    def run(order):
        inputs = {name: [value[i] for i in order] for name, value in columns.items()}
        return plain.session.run("generate", inputs)

    first = run([0, 1, 2, 3])
    for order in ([3, 2, 1, 0], [1, 0, 3, 2], [2, 2, 0, 1], [3, 0, 0, 3], [1, 1, 1, 0]):
        again = run(order)
        for name in first:
            for place, row in enumerate(order):
                assert again[name].row(place) == first[name].row(row), (name, order)


def test_a_thousand_prompts_leave_nothing_behind(plain):
    rng = random.Random(0)

    def call(turn):
        prompt = "".join(rng.choices("abcdefghij é\n", k=rng.randint(0, 30)))
        plain.session.run(
            "generate", {"prompt": [prompt], "max_new_tokens": [1 + turn % 3]}
        )

    kept_its_size, words = growth.measure(call, 1000)
    assert kept_its_size, words


# ---- the other signatures ----


@pytest.mark.parametrize("family", ["transformer_lm", "lstm_lm"])
def test_score_is_log_softmax_by_hand(served, family):
    one = served(family)
    model, tokenizer, _ = one.loaded
    pairs = [("abc", " de fa"), ("", "abc"), ("abc", ""), ("é\0", "b\n"), ("", "")]
    for prompt in ("a", "b", "c", "d", "ab", "cd"):  # and what greedy decoding says
        best = int(log_softmax(model, ids_of(tokenizer, prompt))[-1, :300].argmax())
        if tokenizer.encode(tokenizer.decode([best])) == [best]:
            pairs.append((prompt, tokenizer.decode([best])))
            break
    prompts, completions = map(list, zip(*pairs, strict=True))
    got = one.run("score", prompt=prompts, completion=completions)
    greedy = []
    for row, (prompt, completion) in enumerate(pairs):
        left, right = ids_of(tokenizer, prompt), tokenizer.encode(completion)
        logprob_TV = log_softmax(model, left + right)[len(left) - 1 : -1]
        wanted = [logprob_TV[i, token] for i, token in enumerate(right)]
        padded = wanted + [0.0] * (len(got["token_logprobs"][row]) - len(right))
        assert got["token_logprobs"][row] == pytest.approx(padded, abs=1e-4)
        assert got["logprob"][row] == pytest.approx(sum(wanted), abs=1e-4)
        assert got["num_tokens"][row] == len(right)
        greedy.append([int(i) for i in logprob_TV[:, :300].argmax(-1)] == right)
    assert got["is_greedy"] == greedy
    assert len(got["token_logprobs"][0]) == max(got["num_tokens"])
    assert any(n and g for n, g in zip(got["num_tokens"], greedy, strict=True))
    assert not all(greedy)


@pytest.mark.parametrize("family", ["transformer_lm", "lstm_lm"])  # 300 and 320 rows
def test_generate_and_score_agree(served, family):
    one, knobs = served(family), {"temperature": [1.0], "seed": [1, 2, 3]}
    made = one.run("generate", prompt=["a", "bc", ""], max_new_tokens=[12], **knobs)
    model, tokenizer, _ = one.loaded
    for row, prompt in enumerate(["a", "bc", ""]):
        ids, count = ids_of(tokenizer, prompt), made["num_tokens"][row]
        tokens = made["tokens"][row][:count]
        logprob_TV = log_softmax(model, ids + tokens)[len(ids) - 1 : -1]
        wanted = [logprob_TV[i, token] for i, token in enumerate(tokens)]
        got = made["token_logprobs"][row][:count]
        assert got == pytest.approx(wanted, abs=1e-4)


@pytest.mark.parametrize("family", ["transformer_lm", "lstm_lm"])
def test_embed_is_the_mean_of_features(served, family):
    one = served(family)
    got = one.run("embed", text=PROMPTS)["embedding"]
    for prompt, row in zip(PROMPTS, got, strict=True):
        ids = tf.constant([ids_of(one.loaded.tokenizer, prompt)])
        wanted = one.loaded.model.features(ids).numpy()[0].mean(0)
        np.testing.assert_allclose(row, wanted, atol=1e-5)


def test_tokenize_and_detokenize_are_the_tokenizer(plain):
    tokenizer = plain.loaded.tokenizer
    given = [*PROMPTS, "naïve 😀\u200d", "<|endoftext|>", "  two\r\n\n", "cab " * 60]
    coded = plain.run("tokenize", text=given)
    wanted = [tokenizer.encode(text) for text in given]
    width = max(map(len, wanted))
    assert coded["lengths"] == list(map(len, wanted))
    assert coded["tokens"] == [ids + [0] * (width - len(ids)) for ids in wanted]
    assert texts(plain.run("detokenize", **coded)) == given
    for cut in range(8):  # through the middle of characters
        lengths = [max(length - cut, 0) for length in coded["lengths"]]
        back = texts(plain.run("detokenize", tokens=coded["tokens"], lengths=lengths))
        kept = [ids[:length] for ids, length in zip(wanted, lengths, strict=True)]
        assert back == [text_of(tokenizer, ids) for ids in kept]
    bad = [ids_of(tokenizer, "é")[1:] + tokenizer.encode("a"), [tokenizer.end_id] * 2]
    assert texts(plain.run("detokenize", tokens=bad, lengths=[2, 2])) == ["\ufffda", ""]


@pytest.mark.parametrize("family", ["transformer_lm", "lstm_lm"])
def test_start_and_step_are_generate_in_parts(served, family):
    one, new = served(family), 8
    every = {"temperature": [0.0], "repetition_penalty": [1.0], "stop": [[""]]}
    wanted = one.run("generate", prompt=PROMPTS, max_new_tokens=[new], **every)
    outputs, tokens = one.session.run("start", {"prompt": PROMPTS}), []
    for _ in range(new):
        logits = np.array(outputs.pop("logits").tolist())
        tokens.append([int(i) for i in logits[:, :300].argmax(-1)])
        outputs = one.session.run("step", {"token": tokens[-1], **outputs})
    for row, count in enumerate(wanted["num_tokens"]):
        written = [column[row] for column in tokens]
        assert written[:count] == wanted["tokens"][row][:count]
    assert max(wanted["num_tokens"]) == new


def test_a_full_state_is_refused(plain):
    full = "é" * 12  # 24 tokens, the capacity
    state = plain.session.run("start", {"prompt": ["ab", full[:-1]]})
    del state["logits"]
    assert state["state_1"].shape[2] == 32  # a multiple of 16
    for _ in range(2):
        state = plain.session.run("step", {"token": [5, 6], **state})
        del state["logits"]
    assert plain.session.run("start", {"prompt": [full]})["state_0"].tolist() == [24]
    with pytest.raises(Error, match="state_0: row 1 has 24, 0 to 23 allowed") as error:
        plain.session.run("step", {"token": [5, 6], **state})
    assert error.value.code == "INVALID_ARGUMENT"
