"""GGUF files: what their header says, and the tensors, one at a time.

A file is a magic word, a version, two counts, the fields (name, type, value), the names
of the tensors with their shapes, types and offsets, and the data, each tensor at a
multiple of the alignment. The format is ggml's; its `gguf` package knows how the blocks
of quantised numbers are packed.

Nothing of a header is believed before it was compared with the file: `GGUFReader` of
the package does not end where a count is large, and takes seconds for the vocabulary of
a small model.
"""

import math
import mmap
import os
import pathlib
import struct
from typing import Any, NamedTuple

import gguf
import ml_dtypes
import numpy as np

_MAGIC = b"GGUF"
_VERSIONS = (2, 3)
# A vocabulary of half a million tokens; Python takes some ten times as much to hold it.
_LARGEST_HEADER = 32 * 2**20
_MOST_FIELDS, _MOST_TENSORS, _MOST_DIMS = 4096, 65536, 4
_LARGEST_ALIGNMENT, _LONGEST_NAME = 2**20, 256
_SCALARS = dict(enumerate(("<u1", "<i1", "<u2", "<i2", "<u4", "<i4", "<f4", "?")))
_SCALARS |= dict(enumerate(("<u8", "<i8", "<f8"), 10))
_STRING, _ARRAY = 8, 9
_PLAIN = {
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype(ml_dtypes.bfloat16),
}
_PIECE = 2**20  # numbers that are dequantised at once


class Stored(NamedTuple):
    """Where a tensor is in its file.

    Attributes:
      kind: of its numbers.
      shape: in the order of numpy.
      begin, end: of its bytes.
    """

    kind: gguf.GGMLQuantizationType
    shape: tuple[int, ...]
    begin: int
    end: int


class File:
    """A file whose header was read.

    Attributes:
      fields: by name: int, float, bool, str, a list of str, or an array of numbers.
      tensors: a `Stored` by name.
    """

    def __init__(self, path):
        self.where = str(path)
        self.fields: dict[str, Any] = {}
        self.tensors: dict[str, Stored] = {}
        with open(path, "rb") as file:
            self._size = os.fstat(file.fileno()).st_size
            if file.read(4) != _MAGIC:
                raise self._broken("it does not begin with the letters GGUF")
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._at = 4
        self._read()

    def array(self, name: str) -> np.ndarray:
        """The numbers of a tensor: a view of the file, or float32 of its own."""
        stored = self.tensors[name]
        dtype = _PLAIN.get(stored.kind.name)
        if dtype is not None:
            count = math.prod(stored.shape)
            flat = np.frombuffer(self._map, dtype, count, stored.begin)
            return flat.reshape(stored.shape)
        block, size = gguf.GGML_QUANT_SIZES[stored.kind]
        packed = self.raw(name).reshape(-1, stored.shape[-1] // block * size)
        numbers = np.empty((len(packed), stored.shape[-1]), np.float32)
        step = max(1, _PIECE // stored.shape[-1])
        with np.errstate(all="ignore"):  # the caller looks for what is not finite
            for start in range(0, len(packed), step):
                rows = slice(start, start + step)
                numbers[rows] = gguf.dequantize(packed[rows], stored.kind)
        return numbers.reshape(stored.shape)

    def raw(self, name: str) -> np.ndarray:
        """The bytes of a tensor, a view of the file."""
        stored = self.tensors[name]
        count = stored.end - stored.begin
        return np.frombuffer(self._map, np.uint8, count, stored.begin)

    def release(self) -> None:
        """Lets go of the pages that were looked at; they come back by themselves."""
        if hasattr(self._map, "madvise"):  # not everywhere
            self._map.madvise(mmap.MADV_DONTNEED)

    # -------------------------------------------------------------- the header

    def _read(self):
        version = self._number("<u4")
        if version not in _VERSIONS:
            turned = int.from_bytes(version.to_bytes(4, "little"), "big")
            kind = " (big-endian)" if turned in _VERSIONS else ""
            raise self._broken(f"version {version}{kind}, {_VERSIONS} allowed")
        tensors, fields = self._number("<u8"), self._number("<u8")
        for what, count, most in (
            ("tensors", tensors, _MOST_TENSORS),
            ("fields", fields, _MOST_FIELDS),
        ):
            if count > most:
                raise self._broken(f"{count} {what}, at most {most} allowed")
        for _ in range(fields):
            name = self._string("the name of a field", _LONGEST_NAME)
            if name in self.fields:
                raise self._broken(f"the field {name} appears twice")
            self.fields[name] = self._value(name, self._number("<u4"))
        heads = [self._head() for _ in range(tensors)]
        self._place(heads)

    def _value(self, name, kind):
        if kind in _SCALARS:
            return self._number(_SCALARS[kind])
        if kind == _STRING:
            return self._string(name)
        if kind != _ARRAY:
            raise self._broken(f"the field {name} has the unknown type {kind}")
        kind, count = self._number("<u4"), self._number("<u8")
        if kind == _STRING:
            self._room(8 * count)  # the length of each
            return [self._string(name) for _ in range(count)]
        if kind not in _SCALARS:
            raise self._broken(f"the field {name} is an array of the type {kind}")
        dtype = np.dtype(_SCALARS[kind])
        begin = self._take(count * dtype.itemsize)
        return np.frombuffer(self._map, dtype, count, begin).copy()

    def _head(self):
        name = self._string("the name of a tensor", _LONGEST_NAME)
        count = self._number("<u4")
        if not 1 <= count <= _MOST_DIMS:
            raise self._broken(f"the tensor {name} has {count} dimensions")
        shape = tuple(self._number("<u8") for _ in range(count))[::-1]
        return name, shape, self._number("<u4"), self._number("<u8")

    def _place(self, heads):
        step = self.fields.get("general.alignment", gguf.GGUF_DEFAULT_ALIGNMENT)
        whole = type(step) is int and 0 < step <= _LARGEST_ALIGNMENT
        if not whole or step & (step - 1):
            raise self._broken(
                f"general.alignment {step!r:.80}, a power of two allowed"
            )
        data = -(-self._at // step) * step
        end, before = data, "the header"
        for name, shape, kind, offset in sorted(heads, key=lambda head: head[3]):
            if name in self.tensors:
                raise self._broken(f"the tensor {name} appears twice")
            kind, size = self._kind(name, kind, shape)
            begin = data + offset
            if offset % step or begin < end:
                raise self._broken(
                    f"the tensor {name} begins at the offset {offset}, which is no "
                    f"multiple of {step} or lies inside {before}"
                )
            end, before = begin + size, name
            if end > self._size:
                raise self._broken(
                    f"the tensor {name} ends at byte {end}, but the file has "
                    f"{self._size}"
                )
            self.tensors[name] = Stored(kind, shape, begin, end)

    def _kind(self, name, number, shape):
        """The type of a tensor, and how many bytes it takes."""
        try:
            kind = gguf.GGMLQuantizationType(number)
            block, size = gguf.GGML_QUANT_SIZES[kind]
            if kind.name not in _PLAIN:
                gguf.dequantize(np.zeros((1, size), np.uint8), kind)
        except (ValueError, KeyError, NotImplementedError):
            names = [k.name for k in gguf.GGMLQuantizationType if k == number]
            raise ValueError(
                f"{self.where}: the tensor {name} is of the type "
                f"{names[0] if names else number}, which the package gguf cannot "
                "turn into floats."
            ) from None
        count = math.prod(shape)
        if not count or shape[-1] % block:
            raise self._broken(
                f"the tensor {name} has the shape {shape}; rows of {kind.name} are "
                f"multiples of {block}"
            )
        return kind, count // block * size

    # -------------------------------------------------------------- its parts

    def _room(self, count):
        if self._at + count > min(self._size, _LARGEST_HEADER):
            raise self._broken(
                f"the header goes on behind byte {self._at + count}, but the file has "
                f"{self._size}, and {_LARGEST_HEADER} are allowed for a header"
            )

    def _take(self, count) -> int:
        self._room(count)
        self._at += count
        return self._at - count

    def _number(self, kind):
        dtype = np.dtype(kind)
        begin = self._take(dtype.itemsize)
        value = np.frombuffer(self._map, dtype, 1, begin)[0]
        # 1e-5 was written as the nearest float32, and is read as 1e-5 again
        return float(str(value)) if kind == "<f4" else value.item()

    def _string(self, name, most=_LARGEST_HEADER) -> str:
        (count,) = struct.unpack_from("<Q", self._map, self._take(8))
        if count > most:
            raise self._broken(f"{name} has {count} bytes, at most {most} allowed")
        begin = self._take(count)
        try:
            return self._map[begin : begin + count].decode("utf-8")
        except UnicodeDecodeError:
            raise self._broken(f"{name} is not UTF-8") from None

    def _broken(self, why):
        return ValueError(f"{self.where}: cannot be read as GGUF: {why}.")


def read(path) -> File:
    """Reads the header of a file.

    Raises:
      ValueError: it is no GGUF file, it is cut, or its header does not fit it.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise ValueError(f"{path}: there is no such file.")
    return File(path)
