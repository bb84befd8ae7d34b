"""Example requests for a signature: documented ones, or plausible ones by type.

Standard library only. A request is a list of rows. A row is a dict from an input's name
to its tensor without the batch dimension.
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
# of every unknown dimension except the batch: a decoder's caches have a multiple of it
_SIZE = 16
_NUMBERS = 4  # different ones of an example


def documented(path: str) -> dict[str, dict]:
    """The entries of assets.extra/signature.json by signature; {} without the file.

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
    for name, kind, info, field in _fields(content, str(file)):
        if field not in info:
            raise ValueError(f"{file}: {name}.{kind} has an entry without {field!r}.")
    return content["signatures"]


def _fields(content: dict, file: str):
    """Yields (signature, kind, entry, field) of all that every entry must have."""
    for name, signature in _table(content, "signatures", file).items():
        for kind in ("inputs", "outputs"):
            infos = _table(signature, kind, f"{file}: {name}")
            for key in infos:
                info = _table(infos, key, f"{file}: {name}.{kind}")
                yield from ((name, kind, info, field) for field in ("dtype", "shape"))


def _table(parent: dict, key: str, where: str) -> dict:
    """The object in a field of another one."""
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
    for name, info in signature.inputs.items():
        entry = examples.get(name, {})
        if key := next((key for key in ("example", "default") if key in entry), ""):
            where = f"signature.json: {key} of {name!r}"
            result[name] = tensor(entry[key], info.dtype, where)
        elif name in signature.defaults:
            default = signature.defaults[name]
            result[name] = default.row(0) if default.shape else default
        else:
            result[name], known = _plausible(info), False
    return result, known


def _plausible(info: TensorInfo) -> Tensor:
    """A row of text or small numbers of the input's type and shape."""
    shape = tuple(_SIZE if size is None else size for size in (info.shape or ())[1:])
    count = math.prod(shape)
    if info.dtype == STRING:
        return Tensor(STRING, shape, (_TEXT.encode(),) * count)
    if FORMATS.get(info.dtype) is None:
        raise ValueError(f"{info.tensor}: no example for an input of {info.dtype}.")
    step = 0.25 if info.dtype.startswith("float") else 1
    numbers = (step * (1 + i) for i in range(_NUMBERS))
    few = struct.pack(f"={_NUMBERS}{FORMATS[info.dtype]}", *numbers)
    data = few * math.ceil(count / _NUMBERS)  # fast for states of millions of numbers
    return Tensor(info.dtype, shape, data[: count * len(few) // _NUMBERS])


def other(value: Tensor, which: int) -> Tensor:
    """Another value of the same type and shape; each `which` gives another one.

    A text grows at its end with `which`. So the largest `which` has the most tokens in
    any tokenizer: every batch that contains it is padded to the same length.
    """
    if value.dtype == STRING:
        more = _MORE.encode() * which
        full = bool(value.shape)  # in a list of texts, an empty one means "none"
        return value._replace(
            data=tuple(text + more if text or not full else text for text in value.data)
        )
    if value.dtype == "bfloat16" or not value.data:
        return value
    if value.shape:  # the same numbers in another order
        size = struct.calcsize(FORMATS[value.dtype])
        cut = which * size % len(value.data)
        rolled = value.data[cut:] + value.data[:cut]
        if rolled != value.data:
            return value._replace(data=rolled)
    numbers = value.flat()
    if value.dtype == "bool":
        numbers = [not number for number in numbers]
    elif value.dtype.startswith("float"):
        numbers = [number / (1 + which) if number else which / 4 for number in numbers]
    else:
        # Below 100 a sum stays within int8, the smallest type.
        numbers = [n + which if n < 100 else n - which for n in numbers]
    data = struct.pack(f"={len(numbers)}{FORMATS[value.dtype]}", *numbers)
    return value._replace(data=data)


def batch(rows: list[Row]) -> dict[str, Tensor]:
    """The inputs of one request with these rows."""
    return {name: stack([row[name] for row in rows]) for name in rows[0]}
