"""Beam search in an exported language model: answers, limits and warnings."""

import math
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tensorflow as tf

import zoo
from zoo.decode import generate
from zoo.directory import GenerationConfig, Loaded
from zoo.generation_config import SEARCH
from zoo.saved_model import batching
from zoo.saved_model.checker import c_api
from zoo.saved_model.signatures.language_model import TextGenerator

MOST, NEW = 4, 7
PROMPTS = ["", "abc", "dcab bed ab", "é cab\n gh"]
FAMILIES = {"transformer_lm": {"heads": 2}, "gru_lm": {"units": 24}}
CASES = [
    {"beams": 4, "num_return_sequences": 3},
    {"beams": 3, "num_return_sequences": 3, "length_penalty": 2.0, "early_stopping": 1},
    {"beams": 2, "repetition_penalty": 1.5, "no_repeat_ngram": 2, "stop": ("b", "e")},
    {"beams": 1, "no_repeat_ngram": 1},
]


def build(family, tokenizer, **knobs):
    """A model whose choices are clear, with the defaults of a directory."""
    fields = {"vocab_size": 300, "context": 32, "width": 24, "layers": 1}
    model = zoo.build(family, **fields, **FAMILIES[family])
    for i, weight in enumerate(model.weights):
        noise = tf.random.stateless_normal(weight.shape, [i, 3], stddev=0.5)
        weight.assign(noise + (1.0 if weight.path.endswith("scale") else 0.0))
    return Loaded(model, tokenizer, GenerationConfig(max_new_tokens=NEW, **knobs))


@pytest.fixture(scope="module", params=FAMILIES)
def exported(request, tmp_path_factory, tokenizer, write_some):
    """A model, the folder of its `generate` with a search, and a session."""
    loaded = build(request.param, tokenizer, beams=2, bad_words_ids=((40,), (41, 42)))
    base = tmp_path_factory.mktemp(request.param)
    folder = write_some(base, loaded, "serving_default generate", beams=MOST)
    with c_api.Session(str(folder)) as session:
        yield loaded, folder, session


def ask(session, signature="generate", **inputs):
    outputs = session.run(signature, inputs)
    return {name: value.tolist() for name, value in outputs.items()}


def same_texts(got, wanted):
    """Whether texts are equal, but for a character that is cut at the end."""
    ends = zip(got, wanted, strict=True)
    return all(b.text in (a.decode(), a.decode() + "\ufffd") for a, b in ends)


@pytest.mark.long
def test_answers_are_those_of_zoo_generate(exported):
    (model, tokenizer, defaults), _, session = exported
    for case in CASES:
        rules = {"bad_words_ids": defaults.bad_words_ids, "max_new_tokens": NEW}
        config = GenerationConfig(**rules, **case)
        wanted = generate(model, tokenizer, PROMPTS, config)
        given = {name: [value] for name, value in case.items() if name != "stop"}
        given["stop"] = [list(config.stop) or [""]]
        got = ask(session, prompt=PROMPTS, **given)
        count = config.num_return_sequences
        for row in range(len(PROMPTS)):
            answers = wanted[row * count : (row + 1) * count]
            assert same_texts(got["texts"][row], answers), (case, row)
            assert got["text"][row] == got["texts"][row][0]
            first, number = answers[0], got["num_tokens"][row]
            assert got["tokens"][row][:number] == first.tokens
            assert got["finish_reason"][row].decode() == first.finish_reason
            assert got["logprob"][row] == pytest.approx(first.logprob, abs=1e-4)
            if case["beams"] > 1 and config.repetition_penalty == 1:
                scores = [
                    a.logprob / len(a.tokens) ** config.length_penalty for a in answers
                ]
                assert got["scores"][row] == pytest.approx(scores, abs=1e-4)
    two = ask(session, prompt=PROMPTS)  # those of the directory
    assert two == ask(session, prompt=PROMPTS, beams=[2])
    assert two["text"] != ask(session, prompt=PROMPTS, beams=[1])["text"]
    assert ask(session, "serving_default", prompt=PROMPTS) == {"text": two["text"]}


@pytest.mark.long
def test_the_command_prints_every_answer(exported, commands):
    _, folder, session = exported
    flags = ["--beams=3", "--num_return_sequences=2"]
    done = commands("zoo.ask", f"--saved_model={folder}", "--prompt=abc", *flags)
    got = ask(session, prompt=["abc"], beams=[3], num_return_sequences=[2])
    lines = "".join(f"abc{text.decode()}\n" for text in got["texts"][0])
    assert done.code == 0 and done.out == lines


def numpy(outputs):
    return {name: value.numpy().tolist() for name, value in outputs.items()}


@pytest.fixture(scope="module")
def module(tokenizer):
    """A recurrent model with a search, in memory."""
    return TextGenerator(*build("gru_lm", tokenizer), beams=MOST)


def test_rows_do_not_depend_on_their_mates(module):
    columns = {
        "beams": ("int32", [4, 1, 3, 1]),
        "num_return_sequences": ("int32", [2, 1, 3, 1]),
        "temperature": ("float32", [0.0, 0.7, 0.0, 0.0]),
        "seed": ("int64", [0, 3, 0, 0]),
        "no_repeat_ngram": ("int32", [0, 0, 2, 1]),
    }
    defaults = module.signatures()["generate"][2]

    def run(rows):
        given = {
            name: tf.constant([values[row] for row in rows], dtype)
            for name, (dtype, values) in columns.items()
        }
        prompts = tf.constant([PROMPTS[row] for row in rows])
        return numpy(module.generate(prompts, **{**defaults, **given}))

    together, floats = run(range(4)), ("logprob", "token_logprobs", "scores")
    for row in range(4):
        alone, count = run([row]), columns["num_return_sequences"][1][row]
        for name, (value,) in alone.items():
            mixed = together[name][row]
            if name in ("texts", "scores"):
                assert not any(mixed[count:])
                mixed = mixed[:count]
            if name in floats:
                assert value == pytest.approx(mixed, abs=1e-5)
            else:
                assert value == mixed, (row, name)
        assert len(alone["texts"][0]) == count
    assert together["scores"][1][0] == pytest.approx(together["logprob"][1], abs=1e-5)
    assert together["scores"][0][0] >= together["scores"][0][1] > -math.inf


@pytest.mark.long
def test_requests_with_and_without_beams_are_one_batch(module, tokenizer, monkeypatch):
    wait = 600  # seconds; a batch that is full does not wait
    monkeypatch.setattr(batching, "_WAIT_TO_GENERATE", wait * 1_000_000)
    batched = TextGenerator(*build("gru_lm", tokenizer), batch=4, beams=MOST)
    method, specs, defaults = batched.signatures()["generate"]
    traced = tf.function(lambda **given: method(**given), autograph=False)
    traced = traced.get_concrete_function(
        **{name: tf.TensorSpec(x.shape, x.dtype, name) for name, x in specs.items()}
    )
    with pytest.raises(tf.errors.InvalidArgumentError, match="beams: row 0 has 5"):
        traced(prompt=tf.constant(["a"]), **{**defaults, "beams": tf.constant([5])})
    requests = [
        {"beams": tf.constant([4]), "num_return_sequences": tf.constant([3])},
        {"temperature": tf.constant([0.7]), "seed": tf.constant([3], tf.int64)},
        {"beams": tf.constant([2]), "no_repeat_ngram": tf.constant([2])},
        {},
    ]

    def asked(ask, row):
        given = {**defaults, **requests[row]}
        return numpy(ask(prompt=tf.constant(PROMPTS[row : row + 1]), **given))

    began = time.monotonic()
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda row: asked(traced, row), range(4)))
    assert time.monotonic() - began < wait
    for row, got in enumerate(together):
        for name, wanted in asked(module.generate, row).items():
            if name in ("logprob", "token_logprobs", "scores"):
                np.testing.assert_allclose(got[name], wanted, atol=1e-5)
            else:
                assert got[name] == wanted, (row, name)


@pytest.mark.parametrize(
    "name, value, words",
    [
        ("beams", 5, "beams: row 0 has 5, 1 to 4 allowed"),
        ("num_return_sequences", 2, "row 0 has 2, at most beams allowed"),
        ("num_return_sequences", 5, "row 0 has 5, 1 to 4 allowed"),
    ],
)
def test_what_is_refused(module, name, value, words):
    knobs = {**module.signatures()["generate"][2], name: tf.constant([value])}
    with pytest.raises(tf.errors.InvalidArgumentError, match=words):
        module.generate(tf.constant(["ab"]), **knobs)


def test_an_export_without_search_says_what_it_ignores(
    tokenizer, tmp_path, write_some, caplog
):
    loaded = build("gru_lm", tokenizer, beams=4, length_penalty=0.5)
    names = {knob.name for knob in SEARCH}

    def write(name, **options):
        caplog.clear()
        with caplog.at_level("WARNING", logger="absl"):
            folder = write_some(tmp_path / name, loaded, "detokenize", **options)
        assert (folder / "saved_model.pb").exists()
        return caplog.messages

    assert write("without", beams=0) == [
        "without search the signatures ignore beams 4, length_penalty 0.5; --beams=4 "
        "puts it in"
    ]
    assert write("by_default") == []
    assert write("few", beams=2) == ["beams: 4 does not fit, the default is 2"]
    without = TextGenerator(*loaded).signatures()["generate"]
    assert not names & {*without[1], *without[2]}
    few = TextGenerator(*loaded, beams=2).signatures()["generate"]
    assert names <= {*few[1]} and few[2]["beams"].numpy().tolist() == [2]
    with pytest.raises(ValueError, match="beams: 65, 0 to 64 allowed"):
        write("many", beams=65)
