"""Safetensors: read as the library writes them and back, and every lie refused."""

import json
import math
import os
import resource

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy
from safetensors_bytes import entry, pack

from zoo.directory import safetensors_file

X = np.arange(6, dtype=np.float32).reshape(2, 3)
ARRAYS = {
    "z": X,
    "a": np.full((3,), -1, np.float32),
    "empty": np.zeros((0, 4), np.float32),
    "scalar": np.float32(7).reshape(()),
}


def shapes(arrays):
    return {name: array.shape for name, array in arrays.items()}


def test_the_library_reads_what_is_written(tmp_path):
    path = tmp_path / safetensors_file.FILE
    safetensors_file.write(path, shapes(ARRAYS), ARRAYS.items())
    found = safetensors.numpy.load_file(path)
    assert found.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].shape == array.shape
    read = safetensors_file.read(tmp_path)
    assert list(read) == list(ARRAYS) and read.shapes == shapes(ARRAYS)
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(read[name], array)
    with safetensors.safe_open(path, "numpy") as file:
        assert file.metadata() == {"format": "pt"}


def test_views_of_others_are_written_in_order(tmp_path):
    transposed = {"t": X.T, "half": X.astype(np.float16)}
    safetensors_file.write(
        tmp_path / safetensors_file.FILE, shapes(transposed), transposed.items()
    )
    read = safetensors_file.read(tmp_path)
    np.testing.assert_array_equal(read["t"], X.T)
    assert read["half"].dtype == np.float32


def test_no_array_is_written_under_another_name(tmp_path):
    with pytest.raises(AssertionError):
        safetensors_file.write(tmp_path / "x", {"a": (2, 3)}, [("b", X)])
    with pytest.raises(AssertionError):
        safetensors_file.write(tmp_path / "x", {"a": (3, 2)}, [("a", X)])
    with pytest.raises(ValueError, match="zip"):
        safetensors_file.write(tmp_path / "x", {"a": (2, 3), "b": (2, 3)}, [("a", X)])


@pytest.mark.parametrize("kind", [np.float32, np.float16, np.int64, np.uint8, np.bool_])
def test_what_the_library_writes_is_read(kind, tmp_path):
    arrays = {"a": X.astype(kind), "b": X.T.astype(kind)}
    safetensors.numpy.save_file(
        {k: np.ascontiguousarray(v) for k, v in arrays.items()},
        tmp_path / safetensors_file.FILE,
    )
    read = safetensors_file.read(tmp_path)
    for name, array in arrays.items():
        assert read[name].dtype == kind and not read[name].flags.writeable
        np.testing.assert_array_equal(read[name], array)


def test_bfloat16(tmp_path):
    x = X.astype(ml_dtypes.bfloat16)
    header = {"x": entry(0, 12, [2, 3], "BF16")}
    (tmp_path / safetensors_file.FILE).write_bytes(pack(header, x.tobytes()))
    assert safetensors_file.read(tmp_path)["x"].dtype == ml_dtypes.bfloat16
    np.testing.assert_array_equal(safetensors_file.read(tmp_path)["x"], x)


def test_a_view_outlives_the_release_and_the_file(tmp_path):
    safetensors_file.write(tmp_path / safetensors_file.FILE, {"x": X.shape}, [("x", X)])
    read = safetensors_file.read(tmp_path)
    view = read["x"]
    (tmp_path / safetensors_file.FILE).unlink()
    read.release()
    np.testing.assert_array_equal(view, X)
    with pytest.raises(KeyError):
        read["y"]


# ---- shards ----


def shard(folder, **tensors):
    """A folder with a shard for each argument, and their index."""
    index = {}
    for file, arrays in tensors.items():
        safetensors.numpy.save_file(arrays, folder / f"{file}.safetensors")
        index |= {name: f"{file}.safetensors" for name in arrays}
    (folder / safetensors_file.INDEX).write_text(json.dumps({"weight_map": index}))
    return index


def test_shards(tmp_path):
    shard(tmp_path, one={"a": X, "b": X + 1}, two={"c": X + 2})
    read = safetensors_file.read(tmp_path)
    assert sorted(read) == ["a", "b", "c"]
    np.testing.assert_array_equal(read["c"], X + 2)
    np.testing.assert_array_equal(read["b"], X + 1)
    assert safetensors_file.shards(tmp_path) == ["one.safetensors", "two.safetensors"]


@pytest.mark.parametrize(
    "change, words",
    [
        ({"a": "../one.safetensors"}, "is in '../one.safetensors'"),
        ({"a": "/etc/passwd"}, "is in '/etc/passwd'"),
        ({"a": "..\\one.safetensors"}, "of the same folder allowed"),
        ({"a": "one.bin"}, "is in 'one.bin'"),
        ({"a": 3}, "is in 3"),
        ({"a": None}, "is in None"),
        ({"a": "three.safetensors"}, "three.safetensors: there is no such file"),
        ({"a": "\0.safetensors"}, "is not the name of a file"),
        ({"a": "two.safetensors"}, "do not name the same tensors, see a"),
        (
            {"d": "two.safetensors"},
            "two.safetensors do not name the same tensors, see d",
        ),
    ],
    ids=str,
)
def test_an_index_that_lies(change, words, tmp_path):
    index = shard(tmp_path, one={"a": X, "b": X}, two={"c": X})
    text = json.dumps({"weight_map": index | change})
    (tmp_path / safetensors_file.INDEX).write_text(text)
    (tmp_path.parent / "one.safetensors").write_bytes(b"")
    with pytest.raises(ValueError) as error:
        safetensors_file.read(tmp_path)
    assert words in str(error.value) and str(tmp_path) in str(error.value)


def test_an_index_without_one_of_the_tensors(tmp_path):
    index = shard(tmp_path, one={"a": X, "b": X})
    del index["b"]
    (tmp_path / safetensors_file.INDEX).write_text(json.dumps({"weight_map": index}))
    with pytest.raises(ValueError, match="do not name the same tensors, see b"):
        safetensors_file.read(tmp_path)


@pytest.mark.parametrize("text", ["{}", '{"weight_map": []}', '{"weight_map": {}}'])
def test_an_index_without_a_map(text, tmp_path):
    (tmp_path / safetensors_file.INDEX).write_text(text)
    with pytest.raises(ValueError, match="'weight_map' is missing or not an object"):
        safetensors_file.read(tmp_path)


# ---- headers that lie ----

GOOD = {"a": entry(0, 8, [2]), "b": entry(8, 20, [3])}


@pytest.mark.parametrize(
    "content, words",
    [
        (b"", "0 bytes cannot hold"),
        (b"\x01\x00", "2 bytes cannot hold"),
        (pack(GOOD, bytes(20), 2**63), "cannot hold a header of 9223372036854775808"),
        (pack(GOOD, bytes(19)), "bytes, but the header says"),
        (pack(GOOD, bytes(21)), "bytes, but the header says"),
        (pack(b"", bytes(20)), "is not JSON"),
        (pack(b"[1]"), "holds a list"),
        (pack(b"\xff{}"), "is not JSON"),
        (pack(b"[" * 90000), "is not JSON"),
        (pack(b'{"a":' + b"9" * 5000 + b"}"), "is not JSON"),
        (pack(b'{"a":{},"a":{}}'), "a name appears twice"),
        (pack({"a": 3}), "no dtype for a"),
        (pack({"a": {"dtype": ["F32"]}}), "no dtype for a"),
        (pack({"a": entry(0, 4, [1], "F31")}, bytes(4)), "'F31'; allowed: F64, F32"),
        (pack({"a": {"dtype": "F32", "shape": [1]}}), "no shape or no data_offsets"),
        (pack({"a": entry(0, 4, [-1])}, bytes(4)), "no shape or no data_offsets"),
        (pack({"a": entry(0, 4, [True])}, bytes(4)), "no shape or no data_offsets"),
        (pack({"a": entry(0, 4, [1.0])}, bytes(4)), "no shape or no data_offsets"),
        (pack({"a": entry(0, 4, "1")}, bytes(4)), "no shape or no data_offsets"),
        (pack({"a": entry(-4, 0, [1])}), "no shape or no data_offsets"),
        (pack({"a": entry(0, 4, [2])}, bytes(4)), "which is not its shape (2,)"),
        (pack({"a": entry(4, 0, [1])}, bytes(4)), "has -4 bytes"),
        (pack({"a": entry(0, 4, [2**62, 4])}, bytes(4)), "which is not its shape"),
        (pack({"a": entry(0, 2**50, [2**48])}, bytes(4)), "but the header says"),
        (pack({"a": entry(4, 8, [1])}, bytes(8)), "leave a gap"),
        (pack(GOOD | {"b": entry(4, 16, [3])}, bytes(16)), "overlap"),
        (pack(GOOD | {"c": entry(8, 20, [3])}, bytes(20)), "overlap"),
        (pack({f"{i}": entry(0, 8, [2]) for i in range(9)}, bytes(8)), "overlap"),
    ],
    ids=range(28),
)
def test_a_header_that_lies(content, words, tmp_path):
    path = tmp_path / safetensors_file.FILE
    path.write_bytes(content)
    with pytest.raises(ValueError) as error:
        safetensors_file.read(tmp_path)
    message = str(error.value)
    assert f"{path}: cannot be read as safetensors: " in message and words in message
    assert len(message) < len(str(path)) + 300


def test_a_header_of_200_megabytes_is_not_read(tmp_path):
    path = tmp_path / safetensors_file.FILE
    with open(path, "wb") as file:
        file.write(pack(b"{", b"", 200 * 2**20))
        file.truncate(8 + 200 * 2**20)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ValueError, match="a header of 209715200 bytes, at most"):
        safetensors_file.read(tmp_path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 32 * 1024


def test_a_header_of_the_largest_size_takes_bounded_memory(tmp_path):
    text = b'{"a":[' + b"{}," * (4 * 2**20 // 3 - 8) + b"{}]}"
    (tmp_path / safetensors_file.FILE).write_bytes(pack(text))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ValueError, match="no dtype for a"):
        safetensors_file.read(tmp_path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 256 * 1024


# ---- no safetensors ----


@pytest.mark.parametrize("name", ["pytorch_model.bin", "x.pt", "model.ckpt", "a.pkl"])
def test_a_pickle_is_refused_with_the_way_out(name, tmp_path):
    (tmp_path / name).write_bytes(b"cos\nsystem\n(S'touch /tmp/x'\ntR.")
    with pytest.raises(ValueError) as error:
        safetensors_file.read(tmp_path)
    for words in (name, "can run any code", "save_pretrained('OUT')", str(tmp_path)):
        assert words in str(error.value)


def test_other_files_are_named(tmp_path):
    with pytest.raises(
        ValueError, match="has neither model.safetensors nor .* nothing"
    ):
        safetensors_file.read(tmp_path)
    (tmp_path / "tf_model.h5").write_text("")
    with pytest.raises(ValueError, match="but: tf_model.h5"):
        safetensors_file.read(tmp_path)


def test_tensors_are_read_once_asked_for():
    asked = []
    tensors = safetensors_file.Tensors(
        {"a": (2,)}, lambda name: asked.append(name) or X
    )
    assert dict(tensors.shapes) == {"a": (2,)} and "a" in tensors and not asked
    assert tensors["a"] is X and asked == ["a"]
    with pytest.raises(KeyError):
        tensors["b"]
    assert asked == ["a"]


def test_offsets_that_are_not_aligned(tmp_path):
    header = pack({"a": entry(0, 1, [1], "U8"), "b": entry(1, 25, [2, 3])})
    (tmp_path / safetensors_file.FILE).write_bytes(header + b"\7" + X.tobytes())
    np.testing.assert_array_equal(safetensors_file.read(tmp_path)["b"], X)
    assert math.prod(safetensors_file.read(tmp_path).shapes["b"]) == 6
    assert os.path.getsize(tmp_path / safetensors_file.FILE) == len(header) + 25
