"""Reads the protocol buffers that the C API returns, without protobuf.

Standard library only. The field numbers are those of TensorFlow's .proto files
(meta_graph, op_def, tensor, tensor_shape), which protocol buffers never change.
"""

import dataclasses
import struct
from collections.abc import Iterator
from typing import Any

from zoo.saved_model.checker.tensors import DTYPES, FORMATS, STRING, Tensor


class Broken(ValueError):
    """The bytes are not a message of the expected type."""


@dataclasses.dataclass(frozen=True)
class TensorInfo:
    """One input or output of a signature.

    Attributes:
      tensor: the name of the graph's tensor, such as "generate_prompt:0"; "" for a
        sparse or composite one, which has several.
      dtype: the name of its type, or "type <number>" for one without plain values.
      shape: its sizes, None where unknown; None if the rank itself is unknown.
    """

    tensor: str
    dtype: str
    shape: tuple[int | None, ...] | None


@dataclasses.dataclass(frozen=True)
class Signature:
    """Inputs and outputs of a signature, and the defaults of inputs."""

    inputs: dict[str, TensorInfo]
    outputs: dict[str, TensorInfo]
    defaults: dict[str, Tensor]


def fields(message: memoryview) -> Iterator[tuple[int, Any]]:
    """Yields (number, value) of a message's fields.

    A value is an int for a number, and a memoryview for all other types.

    Raises:
      Broken: the bytes are not a protocol buffer message.
    """
    position, end = 0, len(message)
    while position < end:
        key, position = _varint(message, position)
        kind = key & 7
        if kind == 0:
            value, position = _varint(message, position)
        else:
            if kind == 2:
                size, position = _varint(message, position)
            elif kind in (1, 5):
                size = 8 if kind == 1 else 4
            else:
                raise Broken(f"wire type {kind} at byte {position}")
            if position + size > end:
                raise Broken(f"field of {size} bytes at byte {position} of {end}")
            value, position = message[position : position + size], position + size
        yield key >> 3, value


def _varint(message: memoryview, position: int) -> tuple[int, int]:
    result = shift = 0
    while position < len(message):
        byte = message[position]
        position += 1
        result |= (byte & 127) << shift
        if byte < 128:
            return result, position
        shift += 7
    raise Broken("a number is cut off at the end of the message")


def signatures(meta_graph: bytes | memoryview) -> dict[str, Signature]:
    """The signatures of a serialized MetaGraphDef, without TensorFlow's own ones."""
    result = {}
    for number, value in fields(memoryview(meta_graph)):
        if number == 5:
            name, body = entry(value)
            if not name.startswith("__saved_model"):
                result[name] = _signature(body)
    return dict(sorted(result.items()))


def ops(op_list: bytes) -> dict[str, bool]:
    """The names in a serialized OpList, and whether each is declared stateful."""
    result = {}
    for _, op in fields(memoryview(op_list)):
        parts = [pair for pair in fields(op) if pair[0] in (1, 17)]
        name = next(value for number, value in parts if number == 1)
        result[str(name, "utf-8")] = any(n == 17 and v for n, v in parts)
    return result


def entry(message: memoryview) -> tuple[str, memoryview]:
    """The key and the value of a map's entry; an absent value is the empty message."""
    parts = dict(fields(message))
    return text(parts, 1), parts.get(2, message[:0])


def text(parts: dict[int, Any], number: int) -> str:
    """A string field of a message; an absent one is empty."""
    return str(parts.get(number, b""), "utf-8")


def _signature(message: memoryview) -> Signature:
    maps: dict[int, dict] = {1: {}, 2: {}, 4: {}}
    for number, value in fields(message):
        if number in maps:
            name, body = entry(value)
            maps[number][name] = _tensor(body) if number == 4 else _info(body)
    inputs, outputs, defaults = (dict(sorted(m.items())) for m in maps.values())
    return Signature(inputs, outputs, defaults)


def _info(message: memoryview) -> TensorInfo:
    parts = dict(fields(message))
    code = parts.get(2, 0)
    dtype = DTYPES[code][0] if code in DTYPES else f"type {code}"
    shape = _shape(parts.get(3, message[:0]))
    return TensorInfo(text(parts, 1), dtype, shape)


def _shape(message: memoryview) -> tuple[int | None, ...] | None:
    sizes = []
    for number, value in fields(message):
        if number == 3 and value:
            return None
        if number == 2:
            size = dict(fields(value)).get(1, 0)
            sizes.append(None if size >= 1 << 63 else size)  # -1 as an unsigned number
    return tuple(sizes)


# Type -> the field of its values in a TensorProto, and their struct format.
_TYPED = {
    "float32": (5, "f"),
    "float64": (6, "d"),
    "int64": (10, "q"),
    "bool": (11, "?"),
}


def _tensor(message: memoryview) -> Tensor:
    parts = list(fields(message))
    singles = dict(parts)
    dtype = DTYPES[singles[1]][0]
    shape = tuple(size or 0 for size in _shape(singles.get(2, message[:0])) or ())
    count = 1
    for size in shape:
        count *= size
    if dtype == STRING:
        values = [bytes(v) for n, v in parts if n == 8]
        return Tensor(dtype, shape, tuple(_filled(values, count, b"")))
    if len(singles.get(4, b"")):
        return Tensor(dtype, shape, bytes(singles[4]))
    number, code = _TYPED.get(dtype, (7, FORMATS[dtype]))
    values = []
    for field, value in parts:
        if field == number:
            values += _numbers(value, code)
    data = struct.pack(f"={count}{code}", *_filled(values, count, 0))
    return Tensor(dtype, shape, data)


def _numbers(value: int | memoryview, code: str) -> list:
    """The numbers of one field, packed or single."""
    if isinstance(value, int):
        numbers = [value]
    elif code in "fd":
        return list(
            struct.unpack(f"<{len(value) // struct.calcsize(code)}{code}", value)
        )
    else:
        numbers, position = [], 0
        while position < len(value):
            number, position = _varint(value, position)
            numbers.append(number)
    if code in "QI?":
        return numbers
    return [n - (1 << 64) if n >= 1 << 63 else n for n in numbers]


def _filled(values: list, count: int, zero) -> list:
    """All values of a TensorProto, which may leave out repetitions of the last one."""
    last = values[-1] if values else zero
    return values + [last] * (count - len(values))
