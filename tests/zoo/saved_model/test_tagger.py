"""Exported taggers: labelled spans of a text, against the model's own answers."""

import pathlib

import numpy as np
import pytest
import tensorflow as tf

from zoo import directory, models, registry
from zoo.directory import GenerationConfig, Loaded
from zoo.saved_model import checker
from zoo.saved_model.checker import c_api
from zoo.saved_model.signatures.tagger import Tagger
from zoo.text import framing

BERT = pathlib.Path(__file__).parents[1] / "directory/families/encoders/bert"
LABELS = ("nn", "vb", "jj")
TEXTS = [
    "abc  def\n jig\u3000é",
    "",
    " \t",
    "  a b ",
    "<s> ".join("abcdefgh"),
    "jig " * 9,
]


def built(body, **fields):
    model = models.build("headed", body=body, task="tag", **fields)
    for i, weight in enumerate(model.weights):
        noise = tf.random.stateless_normal(weight.shape, [i, 3], stddev=0.7)
        weight.assign(noise + (1.0 if weight.path.endswith("scale") else 0.0))
        if weight.name == "bias":  # it would choose one label for all words
            weight.assign(tf.zeros_like(noise))
    return model


def language_model(**fields):
    body = {"name": "transformer_lm", "vocab_size": 300, "context": 64, "heads": 2}
    return built({**body, "width": 16, "layers": 1}, classes=3, **fields)


def wanted_spans(model, tokenizer, text):
    """Each word with its place, label and probability, by the library's offsets."""
    words, frame = text.split(), framing.frame(tokenizer, model.config)
    ids, offsets = tokenizer.encode_with_spans(" ".join(words))
    ids = frame.around(ids)
    logits = model(tf.constant([ids]), tf.constant([len(ids)]))[0].numpy()
    power = np.exp(logits - logits.max(-1, keepdims=True))
    shares = power / power.sum(-1, keepdims=True)
    found, start, place = [], 0, 0
    at = 0  # characters of the text given
    for word in words:
        while offsets[place][1] <= start:
            place += 1
        share = shares[len(frame.before) + place]
        at = text.index(word, at)
        first = len(text[:at].encode())
        last = first + len(word.encode())
        found.append((first, last, model.config.labels[share.argmax()], share.max()))
        at, start = at + len(word), start + len(word) + 1
    return found


def check(out, model, tokenizer, texts):
    for row, text in enumerate(texts):
        count = out["num_spans"][row]
        keys = "starts", "ends", "labels", "probabilities"
        columns = (out[key][row][:count] for key in keys)
        found = list(zip(*columns, strict=True))
        wanted = wanted_spans(model, tokenizer, text)
        assert [(a, b, c.decode()) for a, b, c, _ in found] == [w[:3] for w in wanted]
        np.testing.assert_allclose(
            [f[3] for f in found], [w[3] for w in wanted], atol=1e-5
        )


@pytest.fixture(scope="module")
def exported(tmp_path_factory, tokenizer, write_some):
    """A tagger on a language model that batches in the graph, and its folder."""
    model = language_model(labels=LABELS)
    loaded = Loaded(model, tokenizer, GenerationConfig())
    base, names = tmp_path_factory.mktemp("tag") / "x", "serving_default tag tokenize"
    return model, write_some(base, loaded, names, batch=4)


@pytest.fixture(scope="module")
def session(exported):
    with c_api.Session(str(exported[1])) as opened:
        yield opened


@pytest.mark.parametrize("rows", [4, 6])  # 6 are more than a batch holds
def test_tags_as_the_model_does(exported, session, tokenizer, rows):
    out = session.run("tag", {"text": TEXTS[:rows]})
    assert session.run("serving_default", {"text": TEXTS[:rows]}) == out
    out = {name: value.tolist() for name, value in out.items()}
    assert out["num_spans"][:4] == [4, 0, 0, 2]
    check(out, exported[0], tokenizer, TEXTS[:rows])
    labels = {label for row in out["labels"] for label in row if label}
    assert len(labels) > 1


def test_tags_the_words_of_an_encoder():
    """WordPiece, with tokens before the text, and words without tokens."""
    loaded = directory.load(BERT)
    body = registry.to_fields(loaded.model.config)
    model, tokenizer = built(body, classes=3, labels=LABELS), loaded.tokenizer
    method, specs, _ = Tagger(model, tokenizer).signatures()["tag"]
    tag = tf.function(method, input_signature=[*specs.values()], autograph=False)
    out = {name: x.numpy().tolist() for name, x in tag(tf.constant(TEXTS)).items()}
    check(out, model, tokenizer, TEXTS)
    out = tag(tf.constant(["a \u200d b"]))
    assert out["starts"].numpy().tolist() == [[0, 6]]


def test_joins_words_to_spans(tokenizer):
    model = language_model(labels=("O", "B-X", "I-X"))
    model.classifier.weight.assign(tf.zeros((3, 16)))
    model.classifier.bias.assign([0.0, 0.0, 9.0])  # every word is I-X
    out = Tagger(model, tokenizer).tag(tf.constant([" abc  def ", ""]))
    assert out["num_spans"].numpy().tolist() == [1, 0]
    assert out["starts"].numpy().tolist() == [[1], [0]]
    assert out["ends"].numpy().tolist() == [[9], [0]]
    assert out["labels"].numpy().tolist() == [[b"X"], [b""]]


@pytest.mark.parametrize(
    "given, words",
    [
        (["a", "a " * 65], "text: row 1 has 65, tokens, at most 64 allowed"),
        (["a", b"b\xff"], "text: row 1 has"),
        ([], "text: a batch of 0 rows, at least 1 allowed"),
    ],
    ids=["tokens", "utf-8", "rows"],
)
def test_refuses(given, words, session):
    with pytest.raises(c_api.Error) as error:
        session.run("tag", {"text": given})
    assert error.value.code == "INVALID_ARGUMENT" and words in str(error.value)


def test_the_checker_says_yes(exported):
    report = checker.check(str(exported[1]), calls=0)
    assert report.ok, report.failures()


def test_a_command_asks(exported, commands):
    done = commands("zoo.ask", f"--saved_model={exported[1]}", "--text=é abc")
    assert done.code == 0, done.out
    lines = [line.split() for line in done.out.splitlines()[-2:]]
    assert [line[0] for line in lines] == ["é", "abc"]
    assert all(line[1] in LABELS and 0 < float(line[2]) <= 1 for line in lines)
