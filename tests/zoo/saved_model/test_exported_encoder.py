"""Exported encoders: the vectors of transformers, from texts, by the C library."""

import json
import pathlib

import numpy as np
import pytest
import tensorflow as tf

from zoo import directory
from zoo.saved_model import checker, writer
from zoo.saved_model.checker import c_api
from zoo.saved_model.signatures.text_encoder import TextEncoderModule

FOLDER = pathlib.Path(__file__).parents[1] / "directory/families/encoders"
FAMILIES = ("bert", pytest.param("roberta", marks=pytest.mark.long))


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """The folder of an artefact; BERT's batches in the graph."""
    base, made = tmp_path_factory.mktemp("encoders"), {}

    def get(family):
        if family not in made:
            batch = 4 if family == "bert" else 0
            loaded = directory.load(FOLDER / family)
            made[family] = writer.write(base / family, loaded, batch=batch)
        return made[family]

    return get


@pytest.fixture(scope="module")
def sessions(exported):
    opened = {}

    def get(family):
        if family not in opened:
            opened[family] = c_api.Session(str(exported(family)))
        return opened[family]

    yield get
    for session in opened.values():
        session.close()


def texts(family):
    return json.loads((FOLDER / family / "texts.json").read_text())


def golden(family):
    return np.load(FOLDER / family / "golden.npz")


@pytest.mark.parametrize("family", FAMILIES)
def test_embeds_as_transformers_does(family, sessions):
    wanted = golden(family)["embeddings"]
    for name in ("serving_default", "embed"):
        out = sessions(family).run(name, {"text": texts(family)})
        assert list(out) == ["embedding"] and out["embedding"].dtype == "float32"
        assert np.abs(np.array(out["embedding"].tolist()) - wanted).max() < 1e-5
    for text, vector in zip(texts(family), wanted, strict=True):
        out = sessions(family).run("embed", {"text": [text]})["embedding"].tolist()
        assert np.abs(np.array(out[0]) - vector).max() < 1e-5


def test_embeds_in_this_process_too():
    """The other family, without the cost of an export."""
    model, tokenizer, _ = directory.load(FOLDER / "roberta")
    method, specs, defaults = TextEncoderModule(model, tokenizer).signatures()["embed"]
    assert list(specs) == ["text"] and not defaults
    embed = tf.function(method, input_signature=[*specs.values()], autograph=False)
    out = embed(tf.constant(texts("roberta")))["embedding"]
    assert np.abs(out - golden("roberta")["embeddings"]).max() < 1e-5


@pytest.mark.parametrize("family", FAMILIES)
def test_tokenizes_with_the_frame(family, sessions):
    wanted = golden(family)
    out = sessions(family).run("tokenize", {"text": texts(family)})
    assert out["lengths"].tolist() == wanted["lengths"].tolist()
    for row, length, ids in zip(
        out["tokens"].tolist(), wanted["lengths"], wanted["tokens"], strict=True
    ):
        assert row[:length] == ids[:length].tolist() and not any(row[length:])


@pytest.mark.parametrize("family", FAMILIES)
def test_more_texts_than_a_batch_holds(family, sessions):
    many = texts(family) * 3
    out = sessions(family).run("embed", {"text": many})["embedding"].tolist()
    wanted = np.tile(golden(family)["embeddings"], (3, 1))
    assert np.abs(np.array(out) - wanted).max() < 1e-5


@pytest.mark.parametrize(
    "given, words",
    [
        (["a", "b " * 63], "text: row 1 has 65, tokens, at most 64 allowed"),
        (["a", b"b\xff"], "text: row 1 has"),
        (["a" * (2**20 + 1)], "text: row 0 has 1048577, bytes, at most 1048576"),
        ([], "text: a batch of 0 rows, at least 1 allowed"),
    ],
    ids=["tokens", "utf-8", "bytes", "rows"],
)
def test_refuses(given, words, sessions):
    with pytest.raises(c_api.Error) as error:
        sessions("bert").run("embed", {"text": given})
    assert error.value.code == "INVALID_ARGUMENT" and words in str(error.value)


def test_the_longest_text_is_taken(sessions):
    out = sessions("bert").run("embed", {"text": ["b " * 62]})
    assert out["embedding"].shape == (1, 32)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_checker_says_yes(family, exported):
    report = checker.check(str(exported(family)), calls=0)
    assert report.ok, report.failures()
    recorded = exported(family) / "assets.extra/requests.json"
    asked = {item["signature"] for item in json.loads(recorded.read_text())}
    assert asked == {"serving_default", "embed", "tokenize"}


def test_needs_a_tokenizer(tmp_path):
    loaded = directory.load(FOLDER / "bert")._replace(tokenizer=None)
    with pytest.raises(ValueError, match="the model directory has no tokenizer.json"):
        writer.write(tmp_path / "x", loaded)
