"""Shards: the stream of the text, bit for bit, and an error for whatever is damaged."""

import dataclasses
import json
import os
import pathlib
import random
import shutil
import subprocess
import sys

import numpy as np
import pytest

from zoo.data import formats, shards
from zoo.data.damage import Damage
from zoo.data.shards import folder as folders
from zoo.data.shards import layout
from zoo.data.token_stream import Array, TokenStream
from zoo.text import tokenizer as tokenizers

ROOT = pathlib.Path(__file__).parents[3]
WORDS = "abcdefghij"


def texts(count, seed=0, longest=400):
    rng = random.Random(seed)
    return [
        "".join(rng.choices(WORDS, k=rng.randint(0, longest))) for _ in range(count)
    ]


def with_prefix(tokenizer, *names):
    """The tokenizer with a post-processor that puts tokens before each text."""
    value = json.loads(tokenizer.json)
    numbers = {name: tokenizer.encode(name, special=True)[0] for name in names}
    value["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [
            *({"SpecialToken": {"id": name, "type_id": 0}} for name in names),
            {"Sequence": {"id": "A", "type_id": 0}},
        ],
        "pair": [{"Sequence": {"id": x, "type_id": 0}} for x in "AB"],
        "special_tokens": {
            name: {"id": name, "ids": [number], "tokens": [name]}
            for name, number in numbers.items()
        },
    }
    return tokenizers.Tokenizer(json.dumps(value), tokenizer.config)


def written(folder, tokenizer, splits, sizes=(3, 1, 40)):
    """Shards of the texts of each split, so many documents each."""
    entries = {}
    for split, documents in splits.items():
        entries[split], first, number = [], 0, 0
        while first < len(documents):
            part = documents[first : first + sizes[number % len(sizes)]]
            ids, size = tokenizer.encode_batch(part), sum(len(t.encode()) for t in part)
            name = f"{split}-{number:05}"
            entries[split].append(shards.write(folder, name, ids, tokenizer, size))
            first, number = first + len(part), number + 1
    shards.finish(folder, entries, tokenizer)
    return entries


@pytest.fixture(scope="module", params=["no prefix", "<a>", "<|endoftext|>", "two"])
def framed(tokenizer, request):
    """Tokenizers with nothing, a token, the end token, and two tokens before a text."""
    names = {"no prefix": (), "two": ("<|endoftext|>", "<a>")}
    names = names.get(request.param, (request.param,))
    value = json.loads(tokenizer.json)
    added = dict(value["added_tokens"][0], content="<a>", id=300)
    value["added_tokens"].append(added)
    plain = tokenizers.Tokenizer(json.dumps(value), tokenizer.config)
    return with_prefix(plain, *names) if names else plain


def everything(stream):
    return [x_1N[0] for x_1N in windows(stream, [0], stream.tokens)]


def windows(stream, first_B, length):
    """Windows with weights, which the stream leaves out where all are 1."""
    tokens_BT, weights_BT = stream.windows(first_B, length)
    assert (weights_BT is None) == (not stream.has_weights)
    return tokens_BT, np.ones(tokens_BT.shape) if weights_BT is None else weights_BT


def test_the_stream_is_that_of_the_text(framed, tmp_path):
    given = {"train": texts(90), "valid": ["", "é", "abc"], "test": []}
    entries = written(tmp_path, framed, given)
    found = shards.read(tmp_path)
    assert list(found.splits) == ["train", "valid"] and len(entries["train"]) > 3
    assert found.tokenizer.json == framed.json
    for split in found.splits:
        expected = formats.language_model(given[split], framed)
        stream = found.stream(split)
        tokens_N, weights_N = everything(stream)
        np.testing.assert_array_equal(tokens_N, expected.tokens)
        ones = np.ones(len(tokens_N))
        own = ones if expected.weights is None else expected.weights
        np.testing.assert_array_equal(weights_N, own)
        assert stream.weighted == (expected.weights is not None)
        assert (stream.bytes, stream.documents) == (expected.bytes, expected.documents)
        assert stream.tokens == len(expected.tokens)
        if split == "train":
            assert stream.tokens > 2 * layout.RECORD
            rng = np.random.default_rng(0)
            for length in (1, 2, 77, 5000):
                first_B = rng.integers(0, stream.tokens - length + 1, 40)
                tokens_BT, weights_BT = windows(stream, first_B, length)
                at_BT = first_B[:, None] + np.arange(length)
                np.testing.assert_array_equal(tokens_BT, tokens_N[at_BT])
                np.testing.assert_array_equal(weights_BT, weights_N[at_BT])


def test_a_stream_in_memory_is_read_alike():
    tokens_N = np.arange(50, dtype=np.int32)
    weights_N = tokens_N % 3 > 0
    pieces = [
        Array(tokens_N[:20], weights_N[:20]),
        Array(tokens_N[20:], weights_N[20:]),
    ]
    stream = TokenStream(pieces, weighted=True)
    tokens_BT, weights_BT = stream.windows([3, 17, 40], 10)
    at_BT = np.array([3, 17, 40])[:, None] + np.arange(10)
    np.testing.assert_array_equal(tokens_BT, at_BT)
    np.testing.assert_array_equal(weights_BT, weights_N[at_BT])


def test_equal_documents_give_equal_bytes(tokenizer, tmp_path):
    for name in "ab":
        written(tmp_path / name, tokenizer, {"train": texts(60)})
    files = sorted(p.relative_to(tmp_path / "a") for p in (tmp_path / "a").rglob("*.*"))
    assert len(files) == 3 + 3 * 6  # index and tokenizer; six shards
    for name in files:
        one, other = ((tmp_path / x / name).read_bytes() for x in "ab")
        assert one == other, name


def test_the_dtype_has_room_for_the_vocabulary():
    assert layout.dtype_for(2**16) == "uint16"
    assert layout.dtype_for(2**16 + 1) == "uint32"


def test_tensorflow_reads_the_records(tokenizer, tmp_path):
    import tensorflow as tf

    written(tmp_path, tokenizer, {"train": texts(40)}, sizes=(40,))
    paths = [str(tmp_path / "train-00000.tfrecord")]
    records = [
        np.frombuffer(record, "<u2")
        for record in tf.data.TFRecordDataset(paths).as_numpy_iterator()
    ]
    assert all(len(record) == shards.RECORD for record in records)
    tokens_N = formats.language_model(texts(40), tokenizer).tokens[1:]
    joined = np.concatenate(records)
    np.testing.assert_array_equal(joined[: len(tokens_N)], tokens_N)
    assert not joined[len(tokens_N) :].any()


def test_reading_needs_no_tensorflow():
    code = "import sys, zoo.data.shards; sys.exit('tensorflow' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


@pytest.mark.parametrize(
    "documents, words",
    [
        ([], "train-00000.tfrecord: there is no document"),
        ([[1], [2, 300]], "document 1 has the token id 300, 0 to 299 allowed"),
        ([[-1]], "the token id -1, 0 to 299"),
    ],
)
def test_what_a_shard_cannot_hold(tokenizer, tmp_path, documents, words):
    with pytest.raises(ValueError) as error:
        shards.write(tmp_path, "train-00000", documents, tokenizer)
    assert words in str(error.value)
    assert not list(tmp_path.iterdir())  # no part of it stays


@pytest.fixture(scope="module")
def template(tokenizer, tmp_path_factory):
    """Shards of 3 records and more, of two splits."""
    folder = tmp_path_factory.mktemp("shards")
    written(folder, tokenizer, {"train": texts(240), "valid": texts(20, 1)}, (60,))
    return folder


@pytest.fixture
def place(template, tmp_path):
    """A copy of the template."""
    return pathlib.Path(shutil.copytree(template, tmp_path / "shards"))


def test_finish_sweeps_what_a_killed_writer_left(tokenizer, place):
    entries = {
        split: [dataclasses.asdict(entry) for entry in found]
        for split, found in shards.read(place).splits.items()
    }
    before = (place / shards.INDEX).read_bytes()
    (place / ".train-00009.tfrecord.1.new").write_bytes(b"x")
    shards.finish(place, entries, tokenizer)
    assert not list(place.glob(".*"))
    assert (place / shards.INDEX).read_bytes() == before


def change_index(place, change):
    path = place / shards.INDEX
    value = json.loads(path.read_text())
    value.pop("sha256")
    change(value)
    value["sha256"] = folders._digest(value)
    path.write_text(json.dumps(value))


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda v: v.update(version=2), "version 2 with records of 4096"),
        (lambda v: v.update(dtype="int8"), "dtype: 'int8'"),
        (lambda v: v.pop("splits"), "has no field 'splits'"),
        (lambda v: v.update(splits=[]), "another type"),
        (lambda v: v.update(splits={}), "there is no shard"),
        (lambda v: v["splits"].update(train=[]), "there is no shard"),
        (lambda v: v["splits"]["train"][0].update(file="../x"), "'../x' is no name"),
        (lambda v: v["splits"]["train"][0].update(tokens=True), "is a bool"),
        (lambda v: v["splits"]["train"][0].pop("tokens"), "tokens"),
        (lambda v: v["splits"]["train"][0].update(documents=-1), "documents: -1"),
        (lambda v: v["tokenizer"].update(start="x"), "tokenizer.start: 'x'"),
    ],
)
def test_an_index_with_wrong_fields(place, change, words):
    change_index(place, change)
    with pytest.raises(ValueError) as error:
        shards.read(place)
    assert words in str(error.value) and "shards.json" in str(error.value)


def flip(path, at, bit=0):
    data = bytearray(path.read_bytes())
    data[at] ^= 1 << bit
    path.write_bytes(data)


@pytest.mark.parametrize(
    "name",
    ["shards.json", "tokenizer/tokenizer.json", "tokenizer/tokenizer_config.json"],
)
def test_a_flipped_bit_is_seen_at_once(place, name):
    flip(place / name, 100)
    with pytest.raises(ValueError, match=f"{name}: .*damaged|is not JSON"):
        shards.read(place)


def test_a_folder_that_is_not_whole(place, tmp_path):
    with pytest.raises(ValueError, match="preparation has not ended"):
        shards.read(tmp_path)
    for suffix in (".documents.npy", ".crc32c.npy", ".tfrecord"):
        path = place / f"train-00001{suffix}"
        path.rename(tmp_path / "away")
        with pytest.raises(ValueError, match=f"{path}: there is no such file"):
            shards.read(place)
        (tmp_path / "away").rename(path)
    path.unlink()
    os.mkfifo(path)  # which a reader would wait for
    with pytest.raises(ValueError, match="is not a regular file"):
        shards.read(place)


def test_a_file_of_another_size(place):
    path = place / "train-00001.tfrecord"
    size = path.stat().st_size
    os.truncate(path, size - 5000)
    words = f"{path}: {size - 5000} bytes, {size} expected; .* from byte {size - 5000}"
    with pytest.raises(ValueError, match=words):
        shards.read(place)
    damage = Damage(budget=1)
    stream = shards.read(place, sizes=False).stream("train", damage)
    stream.check()
    assert damage.records == {(str(path), size // 8208 - 1)}


@pytest.mark.parametrize("at", [0, 9, 12, 500, 8203, 8204, 8207])
def test_a_flipped_bit_is_seen_when_it_is_read(place, at):
    path = place / "train-00001.tfrecord"
    flip(path, 8208 + at, bit=at % 8)
    stream = shards.read(place).stream("train")
    begin = 1 + shards.read(place).splits["train"][0].tokens
    stream.windows([0, begin], layout.RECORD)  # what is whole
    words = f"{path}: record 1 at byte 8208: its checksum is wrong"
    for first in (begin + layout.RECORD, begin + layout.RECORD - 9):
        with pytest.raises(ValueError, match=words):
            stream.windows([first], 10)
    with pytest.raises(ValueError, match=words):
        shards.read(place).stream("train").check()


def test_records_and_files_in_the_place_of_others(place):
    one, other = (place / f"train-0000{i}.tfrecord" for i in (0, 1))
    left, right = one.read_bytes(), other.read_bytes()
    swapped = left[8208:16416] + left[:8208] + left[16416:]
    one.write_bytes(swapped)
    damage = Damage(budget=9)
    shards.read(place).stream("train", damage).check()
    assert damage.records == {(str(one), 0), (str(one), 1)}
    one.write_bytes(right)
    other.write_bytes(left)
    with pytest.raises(ValueError, match=f"{one}: (record 0|.* bytes)"):
        shards.read(place).stream("train").windows([0], 10)


def test_damaged_records_within_a_budget_are_counted_and_have_no_weight(place):
    path = place / "train-00001.tfrecord"
    for record in (0, 2):
        flip(path, 8208 * record + 50)
    found = shards.read(place)
    begin = 1 + found.splits["train"][0].tokens
    damage = Damage(budget=2)
    stream = found.stream("train", damage)
    tokens_BT, weights_BT = stream.windows([0, begin + 5, begin + 5000], 100)
    assert weights_BT.sum(1).tolist() == [100, 0, 100] and not tokens_BT[1].any()
    stream.check()
    stream.check()
    assert damage.records == {(str(path), 0), (str(path), 2)}
    damage = Damage(budget=1)
    stream = shards.read(place).stream("train", damage)
    with pytest.raises(ValueError, match="2 records are damaged, at most 1 allowed"):
        stream.check()
    (place / "train-00001.crc32c.npy").write_bytes(b"x")
    damage = Damage(budget=1000)
    shards.read(place).stream("train", damage).check()
    count = layout.records_of(found.splits["train"][1].tokens)
    assert damage.records == {(str(path), i) for i in range(count)}


def test_another_tokenizer_is_refused(tokenizer, place):
    found = shards.read(place)
    found.check_tokenizer(tokenizer, "x")
    other = tokenizers.train(["ab ab cd"], 258)
    digest = shards.digest_of(other)[:12]
    with pytest.raises(ValueError, match=f"x: the tokenizer has the SHA-256 {digest}"):
        found.check_tokenizer(other, "x")
