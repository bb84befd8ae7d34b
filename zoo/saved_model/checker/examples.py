"""Example requests for a signature: documented ones, or plausible ones by type.

Standard library only. A request is a list of rows; a row is a dict from an input's
name to its tensor without the batch dimension.
"""

import json
import math
import pathlib
import struct

from zoo.saved_model.checker.tensors import FORMATS, STRING, Tensor, stack, tensor
from zoo.saved_model.checker.wire import Signature, TensorInfo

Row = dict[str, Tensor]

_TEXT = "The sea was calm"
_MORE = " and then"
_SIZE = 4  # stands for every unknown size but the batch's


def documented(path: str) -> dict[str, dict]:
    """What assets.extra/signature.json says of each signature; {} without the file.

    Raises:
      ValueError: the file is there but is not such a description.
    """
    file = pathlib.Path(path) / "assets.extra" / "signature.json"
    if not file.exists():
        return {}
    try:
        content = json.loads(file.read_text())
    except ValueError as error:
        raise ValueError(f"{file}: not JSON: {error}.") from None
    if not isinstance(content, dict) or content.get("format") != 1:
        seen = content.get("format") if isinstance(content, dict) else content
        raise ValueError(f"{file}: format {seen!r}. Allowed: 1.")
    for name, kind, port, field in _fields(content, str(file)):
        if field not in port:
            raise ValueError(f"{file}: {name}.{kind} has an entry without {field!r}.")
    return content["signatures"]


def _fields(content: dict, file: str):
    for name, signature in _table(content, "signatures", file).items():
        for kind in ("inputs", "outputs"):
            ports = _table(signature, kind, f"{file}: {name}")
            for key in ports:
                port = _table(ports, key, f"{file}: {name}.{kind}")
                yield from ((name, kind, port, field) for field in ("dtype", "shape"))


def _table(parent: dict, key: str, where: str) -> dict:
    value = parent.get(key) if isinstance(parent, dict) else None
    if not isinstance(value, dict):
        raise ValueError(f"{where}: {key!r} is {value!r}, expected an object.")
    return value


def row(signature: Signature, about: dict | None) -> tuple[Row, bool]:
    """A first row for a signature.

    Args:
      signature: its inputs and defaults.
      about: its entry in signature.json, where there is one.

    Returns:
      The row, and whether it must be accepted: every value is a documented example
      or a default.

    Raises:
      ValueError: an example does not fit its input's type, or there is none for a
        type without plain values.
    """
    examples = (about or {}).get("inputs", {})
    result, known = {}, True
    for name, port in signature.inputs.items():
        said = examples.get(name, {})
        if key := next((key for key in ("example", "default") if key in said), ""):
            where = f"signature.json: {key} of {name!r}"
            result[name] = tensor(said[key], port.dtype, where)
        elif name in signature.defaults:
            default = signature.defaults[name]
            result[name] = default.row(0) if default.shape else default
        else:
            result[name], known = _plausible(port), False
    return result, known


def _plausible(port: TensorInfo) -> Tensor:
    shape = tuple(_SIZE if size is None else size for size in (port.shape or ())[1:])
    count = math.prod(shape)
    if port.dtype == STRING:
        return Tensor(STRING, shape, (_TEXT.encode(),) * count)
    if FORMATS.get(port.dtype) is None:
        raise ValueError(f"{port.tensor}: no example for an input of {port.dtype}.")
    step = 0.25 if port.dtype.startswith("float") else 1
    numbers = (step * (1 + i) for i in range(_SIZE))
    few = struct.pack(f"={_SIZE}{FORMATS[port.dtype]}", *numbers)
    data = few * math.ceil(count / _SIZE)  # a state may hold millions
    return Tensor(port.dtype, shape, data[: count * len(few) // _SIZE])


def other(value: Tensor, turn: int) -> Tensor:
    """Another value of the same type and shape; `turn` says which of many.

    A text grows at its end, so that of several turns the last is the longest whatever
    the tokenizer: a batch that holds it is padded to the same length.
    """
    if value.dtype == STRING:
        more = _MORE.encode() * turn
        full = bool(value.shape)  # in a list of texts, an empty one means "none"
        return value._replace(
            data=tuple(text + more if text or not full else text for text in value.data)
        )
    if value.dtype == "bfloat16" or not value.data:
        return value
    if value.shape:  # the same numbers in another order
        size = struct.calcsize(FORMATS[value.dtype])
        cut = turn * size % len(value.data)
        turned = value.data[cut:] + value.data[:cut]
        if turned != value.data:
            return value._replace(data=turned)
    numbers = value.flat()
    if value.dtype == "bool":
        numbers = [not number for number in numbers]
    elif value.dtype.startswith("float"):
        numbers = [number / (1 + turn) if number else turn / 4 for number in numbers]
    else:
        # Stays within the type: 127 is the largest of the smallest one.
        numbers = [n + turn if n < 100 else n - turn for n in numbers]
    data = struct.pack(f"={len(numbers)}{FORMATS[value.dtype]}", *numbers)
    return value._replace(data=data)


def batch(rows: list[Row]) -> dict[str, Tensor]:
    """The inputs of one request with these rows."""
    return {name: stack([row[name] for row in rows]) for name in rows[0]}
