"""Reads safetensors files tensor by tensor from a memory map, and writes them.

A file is the length of its header in 8 bytes, the header, and the data without gaps.
The header is JSON: the dtype, shape and data_offsets of each name. A model may be split
into several files (shards); then model.safetensors.index.json names the shard of each
tensor.

Each number of a header is checked against the size of the file.
"""

import json
import math
import mmap
import os
import pathlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

import ml_dtypes
import numpy as np

from zoo import files

FILE = "model.safetensors"
INDEX = "model.safetensors.index.json"
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
# Enough for 40,000 tensors. Python needs up to 24 times as much memory.
_LARGEST_HEADER = 4 * 2**20
_DTYPES = {
    "F64": np.dtype(np.float64),
    "F32": np.dtype(np.float32),
    "F16": np.dtype(np.float16),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "F8_E4M3": np.dtype(ml_dtypes.float8_e4m3fn),
    "F8_E5M2": np.dtype(ml_dtypes.float8_e5m2),
    "I64": np.dtype(np.int64),
    "I32": np.dtype(np.int32),
    "I16": np.dtype(np.int16),
    "I8": np.dtype(np.int8),
    "U64": np.dtype(np.uint64),
    "U32": np.dtype(np.uint32),
    "U16": np.dtype(np.uint16),
    "U8": np.dtype(np.uint8),
    "BOOL": np.dtype(np.bool_),
}


class Tensors(Mapping[str, np.ndarray]):
    """A mapping from names to arrays; an array is read when it is asked for.

    Args:
      shapes: the shape of each tensor by name.
      read: `read(name)` returns the array.
      release: called from time to time. It may release the memory of arrays that can be
        read again.
    """

    def __init__(
        self,
        shapes: Mapping[str, tuple[int, ...]],
        read: Callable[[str], np.ndarray],
        release: Callable[[], None] = lambda: None,
    ):
        self.shapes, self.release, self._read = dict(shapes), release, read

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self.shapes:
            raise KeyError(name)
        return self._read(name)

    def __contains__(self, name) -> bool:
        return name in self.shapes

    def __iter__(self) -> Iterator[str]:
        return iter(self.shapes)

    def __len__(self) -> int:
        return len(self.shapes)


class _Location(NamedTuple):
    """The place of a tensor in the memory map of its file."""

    map: mmap.mmap
    dtype: np.dtype
    shape: tuple[int, ...]
    begin: int
    end: int


def read(folder) -> Tensors:
    """Returns the tensors of a directory, from one file or from shards.

    An array is a read-only view of the memory map. Its pages count as memory of the
    process after they are read, until `release`.

    Raises:
      ValueError: there is no safetensors file, a header does not fit its file, or the
        index does not fit the shards.
    """
    folder = pathlib.Path(folder)
    if os.path.lexists(folder / FILE):
        return _tensors(_locations(files.inside(folder, FILE)))
    if not os.path.lexists(folder / INDEX):
        raise ValueError(_nothing(folder))
    wanted: dict[str, set[str]] = {}
    for name, shard in _weight_map(folder).items():
        wanted.setdefault(shard, set()).add(name)
    paths = {shard: files.inside(folder, shard) for shard in sorted(wanted)}
    locations = {}
    for shard, path in paths.items():
        found = _locations(path)
        if found.keys() != wanted[shard]:
            name = sorted(found.keys() ^ wanted[shard])[0]
            raise ValueError(
                f"{folder}: {INDEX} and {shard} do not name the same tensors, see "
                f"{name}."
            )
        locations.update(found)
    return _tensors(locations)


def open_file(path) -> Tensors:
    """Returns the tensors of one file, as `read` does.

    Raises:
      ValueError: a header does not fit the file.
    """
    return _tensors(_locations(path))


def shards(folder) -> list[str]:
    """Returns the names of the shards in the index of a directory.

    Raises:
      ValueError: the index is broken, or names a file outside of the directory.
    """
    return sorted(set(_weight_map(pathlib.Path(folder)).values()))


def refuse_pickle(path) -> None:
    """Refuses a pickle, which can run code when it is read.

    Raises:
      ValueError: the name is that of a pickle. The message says how to convert it.
    """
    path = pathlib.Path(path)
    if path.suffix in PICKLES:
        raise ValueError(
            f"{path}: is a pickle, which can run any code when it is read, so it is "
            "not read here. Where you trust it, convert it with torch and transformers:"
            ' python -c "from transformers import AutoModelForCausalLM as M; '
            f"M.from_pretrained('{path.parent}').save_pretrained('OUT')\"."
        )


def write(
    path,
    shapes: Mapping[str, tuple[int, ...]],
    arrays: Iterable[tuple[str, np.ndarray]],
) -> None:
    """Writes float32 tensors one by one, so that no second copy of all is held.

    Args:
      path: of the file.
      shapes: of all tensors.
      arrays: names and values in the order of `shapes`.
    """
    header: dict = {"__metadata__": {"format": "pt"}}  # what transformers asks for
    end = 0
    for name, shape in shapes.items():
        begin, end = end, end + 4 * math.prod(shape)
        header[name] = {
            "dtype": "F32",
            "shape": list(shape),
            "data_offsets": [begin, end],
        }
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for (wanted, shape), (name, array) in zip(shapes.items(), arrays, strict=True):
            assert (name, array.shape) == (wanted, tuple(shape)), (name, array.shape)
            file.write(np.ascontiguousarray(array, np.dtype("<f4")).data)


def _nothing(folder):
    """Returns the message for a directory without weights, with what it has."""
    for path in sorted(folder.iterdir()):
        refuse_pickle(path)
    found = ", ".join(sorted(p.name for p in folder.iterdir())[:8])
    return f"{folder}: has neither {FILE} nor {INDEX}, but: {found or 'nothing'}."


def _weight_map(folder) -> dict[str, str]:
    """Reads the index: the name of the shard of each tensor."""
    path = files.inside(folder, INDEX)
    found = files.read_json(path).get("weight_map")
    if not isinstance(found, dict) or not found:
        raise ValueError(f"{path}: the field 'weight_map' is missing or not an object.")
    for name, shard in found.items():
        plain = isinstance(shard, str) and "/" not in shard and "\\" not in shard
        if not plain or not shard.endswith(".safetensors"):
            raise ValueError(
                f"{path}: the tensor {name} is in {shard!r}; the name of a "
                ".safetensors file of the same folder allowed."
            )
    return found


def _tensors(locations: dict[str, _Location]) -> Tensors:
    maps = list(
        {id(location.map): location.map for location in locations.values()}.values()
    )

    def view(name):
        location = locations[name]
        if location.begin == location.end:
            return np.zeros(location.shape, location.dtype)
        count = math.prod(location.shape)
        flat = np.frombuffer(location.map, location.dtype, count, location.begin)
        return flat.reshape(location.shape)

    def release():
        for data in maps:
            if hasattr(data, "madvise"):  # not on every system
                data.madvise(mmap.MADV_DONTNEED)

    shapes = {name: location.shape for name, location in locations.items()}
    return Tensors(shapes, view, release)


def _locations(path) -> dict[str, _Location]:
    """Reads the header of a file; each byte of the data belongs to one tensor."""
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > size - 8:
            raise _broken(path, f"{size} bytes cannot hold a header of {length}")
        if length > _LARGEST_HEADER:
            raise _broken(
                path, f"a header of {length} bytes, at most {_LARGEST_HEADER} allowed"
            )
        header = _header(path, file.read(length))
        data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    start, end, locations = 8 + length, 0, {}
    entries = [(_entry(path, name, value), name) for name, value in header.items()]
    for (begin, stop, dtype, shape), name in sorted(entries, key=lambda e: e[0][:2]):
        if begin != end:
            what = "overlap" if begin < end else "leave a gap"
            raise _broken(path, f"the data of {name} and the tensor before it {what}")
        end = stop
        locations[name] = _Location(data, dtype, shape, start + begin, start + stop)
    if start + end != size:
        raise _broken(path, f"{size} bytes, but the header says {start + end}")
    return locations


def _header(path, text):
    """Parses a header, without its `__metadata__`."""

    def unique(pairs):
        found = dict(pairs)
        if len(found) < len(pairs):
            raise ValueError("a name appears twice")
        return found

    try:
        header = json.loads(text.decode("utf-8"), object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:
        raise _broken(path, f"the header is not JSON: {error}") from None
    if not isinstance(header, dict):
        raise _broken(path, f"the header holds a {type(header).__name__}")
    header.pop("__metadata__", None)
    return header


def _entry(path, name, value):
    """Returns offsets, dtype and shape of a tensor, checked against each other."""
    if not isinstance(value, dict) or not isinstance(value.get("dtype"), str):
        raise _broken(path, f"the header has no dtype for {name}")
    dtype = _DTYPES.get(value["dtype"])
    if dtype is None:
        raise _broken(
            path,
            f"{name} has the dtype {value['dtype']!r}; allowed: {', '.join(_DTYPES)}",
        )
    shape, offsets = _naturals(value.get("shape")), _naturals(value.get("data_offsets"))
    if shape is None or offsets is None or len(offsets) != 2 or len(shape) > 8:
        raise _broken(path, f"the header has no shape or no data_offsets for {name}")
    begin, end = offsets
    if end - begin != dtype.itemsize * math.prod(shape):
        raise _broken(
            path,
            f"{name} has {end - begin} bytes, which is not its shape {shape} in "
            f"{value['dtype']}",
        )
    return begin, end, dtype, shape


def _naturals(value):
    """Returns a list of integers from 0 to 2**63 as a tuple, or None."""
    if not isinstance(value, list):
        return None
    if not all(type(number) is int and 0 <= number < 2**63 for number in value):
        return None
    return tuple(value)


def _broken(path, why):
    return ValueError(f"{path}: cannot be read as safetensors: {why}.")
