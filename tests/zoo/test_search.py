"""Semantic search: vectors, passages, the file of the index, and the command."""

import json

import keras
import numpy as np
import pytest
import safetensors.numpy
import tensorflow as tf

import zoo
from zoo import search_index
from zoo.data import sources
from zoo.directory import GenerationConfig, Loaded
from zoo.saved_model.signatures.language_model import TextGenerator
from zoo.search_index import Embedder, Passage

TEXTS = ["abc def", "a", "", "jihg fed cba " * 3, "bad cab", "aa bb"]


@pytest.fixture(scope="module")
def loaded(tokenizer):
    keras.utils.set_random_seed(1)
    sizes = {"vocab_size": 300, "context": 32, "width": 16, "layers": 1, "heads": 2}
    model = zoo.build("transformer_lm", **sizes)
    return Loaded(model, tokenizer, GenerationConfig())


@pytest.fixture(scope="module")
def embedder(loaded):
    return Embedder(loaded, "--model: m")


@pytest.fixture
def corpus_file(tmp_path):
    path = tmp_path / "texts" / "one.txt"
    path.parent.mkdir()
    path.write_text("abc def abc.\n\nbad cab bad.\n\n" + "jihg fed cba. " * 12)
    return path


# ---- vectors ----


def test_vectors_are_those_of_the_signature(loaded, embedder):
    vectors_ND = embedder.vectors(TEXTS)
    assert vectors_ND.dtype == np.float32 and vectors_ND.shape == (6, 16)
    module = TextGenerator(*loaded)
    wanted = module.embed(tf.constant(TEXTS))["embedding"]
    np.testing.assert_allclose(vectors_ND, wanted, atol=1e-5)
    alone = np.concatenate([embedder.vectors([text]) for text in TEXTS])
    np.testing.assert_allclose(vectors_ND, alone, atol=1e-5)


def test_vectors_of_an_encoder(tokenizer):
    keras.utils.set_random_seed(2)
    sizes = {"vocab_size": 300, "context": 32, "width": 16, "layers": 1, "heads": 2}
    model = zoo.build("text_encoder", **sizes)
    found = Embedder(Loaded(model, tokenizer, GenerationConfig()), "m").vectors(TEXTS)
    for text, vector in zip(TEXTS, found, strict=True):
        ids = tokenizer.encode(text) or [tokenizer.end_id]
        wanted = model.embed(tf.constant([ids]), tf.constant([len(ids)]))[0]
        np.testing.assert_allclose(vector, wanted, atol=1e-5)


def test_batches_hold_each_row_once_and_few_tokens(monkeypatch):
    monkeypatch.setattr(search_index.embedder, "_TOKENS", 12)
    lengths_N = np.array([3, 9, 1, 1, 4, 30, 2])
    found = list(search_index.embedder._batches(lengths_N))
    assert sorted(np.concatenate(found)) == list(range(7))
    for batch in found:
        assert len(batch) == 1 or len(batch) * lengths_N[batch].max() <= 12
    assert len(found) == 4


def test_what_gives_no_vectors(loaded, embedder):
    with pytest.raises(ValueError, match="^m: has no tokenizer"):
        Embedder(loaded._replace(tokenizer=None), "m")
    table = zoo.build("dense_net", features=3, classes=2)
    with pytest.raises(ValueError, match="a model for classify gives no vectors"):
        Embedder(Loaded(table, None, GenerationConfig()), "m")
    with pytest.raises(ValueError, match="tokens, at most 32 allowed"):
        embedder.vectors(["a", "abc def " * 40])


def test_the_digest_is_that_of_the_content(loaded, embedder, tmp_path):
    zoo.save(tmp_path / "m", *loaded)
    assert Embedder(zoo.load(tmp_path / "m"), "m").digest == embedder.digest
    other = zoo.load(tmp_path / "m")
    weight = other.model.trainable_weights[0]
    weight.assign(weight.value + tf.one_hot([0], weight.shape[1]))
    assert Embedder(other, "m").digest != embedder.digest
    assert len(embedder.digest) == 64


# ---- passages ----


def fits(text):
    return len(text) <= 20


@pytest.mark.parametrize(
    "text, wanted",
    [
        ("short", ["short"]),
        (" \n ", []),
        ("One two three. Four.\n\nFive six.", ["One two three. Four.", "Five six."]),
        ("One two three four. Five six.", ["One two three four.", "Five six."]),
        ("a line of words\nanother line.", ["a line of words", "another line."]),
        ("0123456789" * 3, ["012345678901234", "567890123456789"]),
    ],
)
def test_where_a_text_is_cut(text, wanted):
    assert list(search_index.split(text, fits)) == wanted


def test_a_cut_loses_nothing():
    text = "One two, three four five. Six!\n\nSeven eight nine ten eleven. " * 9
    parts = list(search_index.split(text, fits))
    assert all(map(fits, parts)) and len(parts) < len(text) / 8
    assert " ".join(parts).split() == text.split()
    with pytest.raises(ValueError, match="no room for the tokens of 'a'"):
        list(search_index.split("aa", lambda _: False))


def test_passages_of_files_and_lines(embedder, corpus_file, tmp_path):
    found = search_index.passages(f"text:{tmp_path}/texts/*.txt", embedder)
    assert {passage.place for passage in found} == {str(corpus_file)}
    assert len(found) > 2
    assert all(embedder.count(passage.text) <= embedder.room for passage in found)
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"body": "abc"}\n\n{"body": " "}\n{"body": "def"}\n')
    found = search_index.passages(f"jsonl:{rows}#body", embedder)
    assert found == [
        Passage(f"{rows}, line 1", "abc"),
        Passage(f"{rows}, line 4", "def"),
    ]
    with pytest.raises(ValueError, match="line 1: no field 'text'"):
        search_index.passages(f"jsonl:{rows}", embedder)


def test_a_passage_of_the_bible_is_a_verse():
    verses = dict(sources.placed("kjv"))
    assert len(verses) == 31_102
    assert verses["John 11:35"] == "Jesus wept."
    assert "[" not in verses["Genesis 1:2"]


# ---- the file ----


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_an_index_finds_what_is_near(embedder, corpus_file, tmp_path, dtype):
    path = tmp_path / "i.index"
    written = search_index.write(path, embedder, f"text:{corpus_file}", dtype)
    index = search_index.read(path, embedder)
    assert index.passages == written.passages
    assert index.vectors_ND.dtype == dtype
    np.testing.assert_array_equal(index.vectors_ND, written.vectors_ND)
    texts = [passage.text for passage in index.passages]
    queries_QD = embedder.vectors(texts)
    unit_QD = queries_QD / np.linalg.norm(queries_QD, axis=1, keepdims=True)
    cosine_QN = unit_QD @ unit_QD.T
    for hits, cosine_N in zip(index.search(queries_QD, 3), cosine_QN, strict=True):
        wanted = np.sort(cosine_N)[::-1][:3]
        np.testing.assert_allclose([hit.score for hit in hits], wanted, atol=2e-3)
    hits = index.search(queries_QD, 1)
    assert [hit.text for (hit,) in hits] == texts
    with pytest.raises(ValueError, match=f"k: 99, 1 to the {len(texts)} passages"):
        index.search(queries_QD, 99)


@pytest.fixture
def index(embedder, corpus_file, tmp_path):
    path = tmp_path / "i.index"
    search_index.write(path, embedder, f"text:{corpus_file}")
    return path


def test_another_model_is_refused_with_both_digests(loaded, embedder, index, tokenizer):
    keras.utils.set_random_seed(3)
    sizes = {"vocab_size": 300, "context": 32, "width": 16, "layers": 1, "heads": 2}
    other = Loaded(zoo.build("transformer_lm", **sizes), tokenizer, loaded.generation)
    other = Embedder(other, "m")
    with pytest.raises(ValueError, match="was made by another model") as error:
        search_index.read(index, other)
    assert embedder.digest in str(error.value) and other.digest in str(error.value)


def test_the_file_can_be_read_by_others(embedder, index):
    with safetensors.safe_open(index, "np") as file:
        metadata = file.metadata()
    assert metadata["model"] == embedder.digest and metadata["dimension"] == "16"
    tensors = safetensors.numpy.load_file(index)
    assert tensors["vectors"].dtype == np.float32
    ends_N = tensors["text_ends"]
    first = tensors["text"][: ends_N[0]].tobytes().decode()
    assert first == search_index.read(index, embedder).passages[0].text


@pytest.mark.parametrize(
    "change",
    [
        {"vectors": np.zeros([2, 16], np.float32)},
        {"vectors": np.zeros([1, 16], np.int32)},
        {"text_ends": np.array([9, 4], np.int64)},
        {"text_ends": np.array([0.5], np.float32)},
        {"text": np.full([2], 0xFF, np.uint8), "text_ends": np.array([2], np.int64)},
        {"place_ends": np.array([1, 1], np.int64)},
        {"vectors": np.full([1, 16], np.nan, np.float32)},
    ],
)
def test_a_broken_index(embedder, tmp_path, change):
    good = {
        "vectors": np.ones([1, 16], np.float32),
        "text": np.frombuffer(b"ab", np.uint8),
        "text_ends": np.array([2], np.int64),
        "place": np.frombuffer(b"p", np.uint8),
        "place_ends": np.array([1], np.int64),
    }
    metadata = {"format": "zoo search index 1", "model": embedder.digest}
    path = tmp_path / "i.index"
    safetensors.numpy.save_file(good, path, metadata)
    assert search_index.read(path, embedder).passages == [Passage("p", "ab")]
    safetensors.numpy.save_file(good | change, path, metadata)
    with pytest.raises(ValueError, match="is a broken index"):
        search_index.read(path, embedder)


def test_what_is_no_index(embedder, tmp_path):
    path = tmp_path / "i.index"
    with pytest.raises(ValueError, match="i.index"):
        search_index.read(path, embedder)
    path.write_bytes(b"not safetensors at all")
    with pytest.raises(ValueError, match="i.index"):
        search_index.read(path, embedder)
    safetensors.numpy.save_file({"a": np.zeros(1)}, path)
    with pytest.raises(ValueError, match="format None, 'zoo search index 1' allowed"):
        search_index.read(path, embedder)


def test_nothing_is_half_written(embedder, corpus_file, tmp_path, monkeypatch, index):
    with pytest.raises(ValueError, match="exists; give the name of a new file"):
        search_index.write(index, embedder, f"text:{corpus_file}")

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(safetensors.numpy, "save_file", full)
    with pytest.raises(ValueError, match="No space left"):
        search_index.write(tmp_path / "j.index", embedder, f"text:{corpus_file}")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["i.index", "texts"]


# ---- the command ----


def test_the_command(loaded, corpus_file, tmp_path, commands):
    zoo.save(tmp_path / "m", *loaded)
    args = f"--model={tmp_path}/m", f"--index={tmp_path}/i.index"
    done = commands("zoo.search", *args)
    assert done.code == 1 and "--query, --build: give at least one" in done.errors[0]
    done = commands("zoo.search", *args, f"--build=text:{corpus_file}")
    assert done.code == 0 and "passages" in done.out and "tokens/s" in done.out
    more = "--query=bad cab", "--query=abc", "--k=2", "--output=json"
    done = commands("zoo.search", *args, *more)
    assert done.code == 0, done.out
    rows = [json.loads(line) for line in done.out.splitlines() if line[:1] == "{"]
    assert [row["query"] for row in rows] == ["bad cab", "abc"]
    for row in rows:
        first, second = row["hits"]
        assert first["score"] >= second["score"]
        assert first["place"] == str(corpus_file) and first["text"]
    done = commands("zoo.search", *args, f"--build=text:{corpus_file}")
    assert done.code == 1 and "exists; give the name of a new file" in done.errors[0]
