"""Reads GGUF files: the header first, then tensors one at a time.

A file has a magic word, a version, two counts, the fields (name, type, value), and the
names of the tensors with their shapes, types and offsets. The data follows, and each
tensor starts at a multiple of the alignment. The format is from ggml. Its Python
package `gguf` unpacks the blocks of quantised numbers.

Each number of a header is checked against the size of the file. The package's
`GGUFReader` has no such checks: it runs on at a large count, and it needs seconds for
the vocabulary of a small model.
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
# Enough for half a million tokens. Python needs about ten times as much memory.
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
_CHUNK = 2**20  # numbers that are dequantised at once


class Stored(NamedTuple):
    """The type and place of a tensor in its file.

    Attributes:
      kind: the type of its numbers.
      shape: the shape in numpy's order of axes.
      begin, end: the range of its bytes in the file.
    """

    kind: gguf.GGMLQuantizationType
    shape: tuple[int, ...]
    begin: int
    end: int


class File:
    """A file whose header was read.

    Attributes:
      where: the path; error messages start with it.
      fields: values by name: int, float, bool, str, a list of str, or an array.
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
        """Returns a tensor: a view of the file, or a dequantised float32 array."""
        stored = self.tensors[name]
        dtype = _PLAIN.get(stored.kind.name)
        if dtype is not None:
            count = math.prod(stored.shape)
            flat = np.frombuffer(self._map, dtype, count, stored.begin)
            return flat.reshape(stored.shape)
        block, size = gguf.GGML_QUANT_SIZES[stored.kind]
        packed = self.raw(name).reshape(-1, stored.shape[-1] // block * size)
        numbers = np.empty((len(packed), stored.shape[-1]), np.float32)
        step = max(1, _CHUNK // stored.shape[-1])
        with np.errstate(all="ignore"):  # the caller checks for NaN and Inf
            for start in range(0, len(packed), step):
                rows = slice(start, start + step)
                numbers[rows] = gguf.dequantize(packed[rows], stored.kind)
        return numbers.reshape(stored.shape)

    def raw(self, name: str) -> np.ndarray:
        """Returns the bytes of a tensor as a view of the file."""
        stored = self.tensors[name]
        count = stored.end - stored.begin
        return np.frombuffer(self._map, np.uint8, count, stored.begin)

    def release(self) -> None:
        """Releases the memory of pages that were read; the system reads them again."""
        if hasattr(self._map, "madvise"):  # not on every system
            self._map.madvise(mmap.MADV_DONTNEED)

    # -------------------------------------------------------------- the header

    def _read(self):
        """Reads the whole header."""
        version = self._integer("<u4")
        if version not in _VERSIONS:
            swapped = int.from_bytes(version.to_bytes(4, "little"), "big")
            kind = " (big-endian)" if swapped in _VERSIONS else ""
            raise self._broken(f"version {version}{kind}, {_VERSIONS} allowed")
        tensors, fields = self._integer("<u8"), self._integer("<u8")
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
            self.fields[name] = self._value(name, self._integer("<u4"))
        self._place([self._tensor_info() for _ in range(tensors)])

    def _value(self, name, kind):
        """Reads the value of a field; `kind` is the number of its type."""
        if kind in _SCALARS:
            return self._number(_SCALARS[kind])
        if kind == _STRING:
            return self._string(name)
        if kind != _ARRAY:
            raise self._broken(f"the field {name} has the unknown type {kind}")
        kind, count = self._integer("<u4"), self._integer("<u8")
        if kind == _STRING:
            self._check_room(8 * count)  # the length of each
            return [self._string(name) for _ in range(count)]
        if kind not in _SCALARS:
            raise self._broken(f"the field {name} is an array of the type {kind}")
        dtype = np.dtype(_SCALARS[kind])
        begin = self._take(count * dtype.itemsize)
        return np.frombuffer(self._map, dtype, count, begin).copy()

    def _tensor_info(self):
        """Reads the name, shape, type and offset of a tensor."""
        name = self._string("the name of a tensor", _LONGEST_NAME)
        count = self._integer("<u4")
        if not 1 <= count <= _MOST_DIMS:
            raise self._broken(f"the tensor {name} has {count} dimensions")
        shape = tuple(self._integer("<u8") for _ in range(count))[::-1]
        return name, shape, self._integer("<u4"), self._integer("<u8")

    def _place(self, infos):
        """Checks the places of all tensors, and fills `tensors`."""
        step = self.fields.get("general.alignment", gguf.GGUF_DEFAULT_ALIGNMENT)
        valid = type(step) is int and 0 < step <= _LARGEST_ALIGNMENT
        if not valid or step & (step - 1):
            raise self._broken(
                f"general.alignment {step!r:.80}, a power of two allowed"
            )
        data = -(-self._at // step) * step
        end, previous = data, "the header"
        for name, shape, kind, offset in sorted(infos, key=lambda info: info[3]):
            if name in self.tensors:
                raise self._broken(f"the tensor {name} appears twice")
            kind, size = self._kind(name, kind, shape)
            begin = data + offset
            if offset % step or begin < end:
                raise self._broken(
                    f"the tensor {name} begins at the offset {offset}, which is not a "
                    f"multiple of {step} or lies inside {previous}"
                )
            end, previous = begin + size, name
            if end > self._size:
                raise self._broken(
                    f"the tensor {name} ends at byte {end}, but the file has "
                    f"{self._size}"
                )
            self.tensors[name] = Stored(kind, shape, begin, end)

    def _kind(self, name, number, shape):
        """Returns the type of a tensor, and the number of its bytes."""
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
                "convert to floats."
            ) from None
        count = math.prod(shape)
        if not count or shape[-1] % block:
            raise self._broken(
                f"the tensor {name} has the shape {shape}; rows of {kind.name} are "
                f"multiples of {block}"
            )
        return kind, count // block * size

    # -------------------------------------------------------------- numbers and strings

    def _check_room(self, count):
        """Refuses to read `count` more bytes than the file or a header may have."""
        if self._at + count > min(self._size, _LARGEST_HEADER):
            raise self._broken(
                f"the header continues after byte {self._at + count}, but the file has "
                f"{self._size}, and {_LARGEST_HEADER} are allowed for a header"
            )

    def _take(self, count) -> int:
        """Moves on by `count` bytes, and returns where they begin."""
        self._check_room(count)
        self._at += count
        return self._at - count

    def _integer(self, kind) -> int:
        return int(self._number(kind))

    def _number(self, kind):
        """Reads one number of a numpy type."""
        dtype = np.dtype(kind)
        begin = self._take(dtype.itemsize)
        value = np.frombuffer(self._map, dtype, 1, begin)[0]
        # The shortest digits of the float32: 1e-5 is read as 1e-5.
        return float(str(value)) if kind == "<f4" else value.item()

    def _string(self, name, most=_LARGEST_HEADER) -> str:
        """Reads a string of at most `most` bytes; `name` is for messages."""
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
      ValueError: it is not a GGUF file, it is truncated, or its header does not fit.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise ValueError(f"{path}: there is no such file.")
    return File(path)
