"""Tensors as plain Python values, for programs without numpy and TensorFlow.

Standard library only.
"""

import base64
import math
import struct
from typing import Any, NamedTuple

STRING = "string"
# TensorFlow's number of a type -> its name and the format of the struct module.
# bfloat16 has no format: it is read as the upper half of a float32.
DTYPES = {
    1: ("float32", "f"),
    2: ("float64", "d"),
    3: ("int32", "i"),
    4: ("uint8", "B"),
    5: ("int16", "h"),
    6: ("int8", "b"),
    7: (STRING, None),
    9: ("int64", "q"),
    10: ("bool", "?"),
    14: ("bfloat16", None),
    17: ("uint16", "H"),
    19: ("float16", "e"),
    22: ("uint32", "I"),
    23: ("uint64", "Q"),
}
CODES = {name: code for code, (name, _) in DTYPES.items()}
FORMATS = dict(DTYPES.values())


class Tensor(NamedTuple):
    """A dense tensor.

    Attributes:
      dtype: a name of DTYPES.
      shape: the sizes of its dimensions.
      data: the elements in row-major order: bytes in the machine's byte order, or
        for strings a tuple of bytes objects.
    """

    dtype: str
    shape: tuple[int, ...]
    data: Any

    def flat(self) -> tuple:
        """The elements as Python numbers, bools or bytes objects, in one tuple."""
        if self.dtype == STRING:
            return tuple(self.data)
        if self.dtype == "bfloat16":  # the upper half of a float32
            data = bytearray(2 * len(self.data))
            data[2::4], data[3::4] = self.data[0::2], self.data[1::2]
            return struct.unpack(f"<{len(data) // 4}f", data)
        count = math.prod(self.shape)
        return struct.unpack(f"={count}{FORMATS[self.dtype]}", self.data)

    def tolist(self) -> Any:
        """The elements as nested lists; strings stay bytes."""
        level = list(self.flat())
        for axis in range(len(self.shape) - 1, 0, -1):
            size, count = self.shape[axis], math.prod(self.shape[:axis])
            level = [level[i * size : (i + 1) * size] for i in range(count)]
        return level if self.shape else level[0]

    def row(self, index: int) -> "Tensor":
        """One row of the leading dimension, as a tensor without that dimension."""
        size = len(self.data) // self.shape[0]
        part = self.data[index * size : (index + 1) * size]
        return Tensor(self.dtype, self.shape[1:], part)


def stack(rows: list[Tensor]) -> Tensor:
    """Puts rows of equal type and shape under one new leading dimension."""
    first = rows[0]
    if any((row.dtype, row.shape) != (first.dtype, first.shape) for row in rows):
        raise ValueError(f"Rows differ: {[(r.dtype, r.shape) for r in rows]}.")
    parts = [row.data for row in rows]
    data = sum(parts, ()) if first.dtype == STRING else b"".join(parts)
    return Tensor(first.dtype, (len(rows), *first.shape), data)


def tensor(value: Any, dtype: str, where: str = "value") -> Tensor:
    """Makes a tensor.

    Args:
      value: nested lists of numbers, bools or strings; or a (dtype, shape, data)
        triple such as a Tensor; or, for numbers, any C-contiguous object with the
        buffer protocol (array.array, a numpy array).
      dtype: the type that the result must have.
      where: what messages call the value.

    Raises:
      ValueError: ragged lists, or elements that do not fit the type.
    """
    if isinstance(value, tuple) and len(value) == 3 and value[0] in FORMATS:
        given, shape, data = value
        data = tuple(data) if dtype == STRING else bytes(data)
        result = Tensor(given, tuple(shape), data)
    elif isinstance(value, (list, tuple, str, bytes, dict)):
        return _from_lists(value, dtype, where)
    elif hasattr(value, "__buffer__") or hasattr(value, "itemsize"):
        view = memoryview(value)
        wanted = struct.calcsize(FORMATS[dtype] or "H")
        if dtype == STRING or view.itemsize != wanted:
            raise ValueError(f"{where}: a buffer of {view.format!r}, expected {dtype}.")
        result = Tensor(dtype, tuple(view.shape or ()), view.tobytes())
    else:
        return _from_lists(value, dtype, where)
    if result.dtype != dtype:
        raise ValueError(f"{where}: type {result.dtype}, expected {dtype}.")
    size = 1 if dtype == STRING else struct.calcsize(FORMATS[dtype] or "H")
    if len(result.data) != size * math.prod(result.shape):
        raise ValueError(
            f"{where}: {len(result.data)} elements or bytes do not fill the shape "
            f"{list(result.shape)} of {dtype}."
        )
    return result


def _from_lists(value: Any, dtype: str, where: str) -> Tensor:
    shape, level = [], [value]
    while level and isinstance(level[0], (list, tuple)):
        size = len(level[0])
        if any(not isinstance(v, (list, tuple)) or len(v) != size for v in level):
            raise ValueError(f"{where}: lists of different lengths in one dimension.")
        shape.append(size)
        level = [inner for outer in level for inner in outer]
    if any(isinstance(v, (list, tuple)) for v in level):
        raise ValueError(f"{where}: lists of different depths in one dimension.")
    if dtype == STRING:
        return Tensor(dtype, tuple(shape), tuple(_encode(v, where) for v in level))
    try:
        data = struct.pack(f"={len(level)}{FORMATS[dtype]}", *level)
    except struct.error as error:
        raise ValueError(f"{where}: not all {dtype}: {error}.") from None
    return Tensor(dtype, tuple(shape), data)


def _encode(value: Any, where: str) -> bytes:
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, bytes):
        return value
    if isinstance(value, dict) and list(value) == ["b64"]:  # as in TF Serving's REST
        return base64.b64decode(value["b64"])
    raise ValueError(f"{where}: {value!r} is not a string.")
