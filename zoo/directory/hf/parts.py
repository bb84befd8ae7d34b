"""What the tables of Hugging Face families share: rows, values, windows."""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from zoo.fields import suggest
from zoo.models import text_encoder

_ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_fast": "gelu_tanh",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu",
    "relu2": "relu_squared",
    "silu": "silu",
    "swish": "silu",
}
_THEIRS = {
    "gelu": "gelu",
    "gelu_tanh": "gelu_new",
    "relu": "relu",
    "relu_squared": "relu2",
    "silu": "silu",
}
_FULL, _SLIDING = "full_attention", "sliding_attention"
_MOST_LAYERS = 10_000  # what is made of them here has a size


class Row(NamedTuple):
    """One of our variables and the tensors that make it up.

    Attributes:
      ours: the path of the variable.
      theirs: the names of the tensors, concatenated along [out].
      sizes: of each tensor along [out].
      transposed: whether the file holds [in, out].
      heads: where above 0, the file holds [heads, 3, d] along [out], of each head its
        query, key and value together, and we hold [3, heads, d].
    """

    ours: str
    theirs: tuple[str, ...]
    sizes: tuple[int, ...]
    transposed: bool = False
    heads: int = 0

    def shapes(self, shape) -> list[tuple[int, ...]]:
        """The shapes of the tensors, for a variable of this shape."""
        shapes = [(size, *shape[1:]) for size in self.sizes]
        return [s[::-1] for s in shapes] if self.transposed else shapes

    def to_theirs(self, value: np.ndarray) -> dict[str, np.ndarray]:
        """The tensors by name that hold a variable's value."""
        if self.heads:
            apart = value.reshape(3, self.heads, -1, *value.shape[1:])
            value = apart.swapaxes(0, 1).reshape(value.shape)
        parts = np.split(value, np.cumsum(self.sizes)[:-1])
        parts = [part.T if self.transposed else part for part in parts]
        return dict(zip(self.theirs, parts, strict=True))

    def to_ours(self, parts) -> np.ndarray:
        """The variable's value, of its tensors in the order of `theirs`."""
        parts = [part.T if self.transposed else part for part in parts]
        value = np.concatenate(parts) if len(parts) > 1 else parts[0]
        if self.heads:
            apart = value.reshape(self.heads, 3, -1, *value.shape[1:])
            value = apart.swapaxes(0, 1).reshape(value.shape)
        return value


class Family(NamedTuple):
    """How one `model_type` is read and written.

    Attributes:
      read: `read(value, where)`: the fields of our Config that a config.json says.
      write: `write(config)`: the config.json of a `filled` Config; what the family
        cannot say is left out, and found by reading it back.
      rows: `rows(config)`: the rows of a `filled` Config.
      names: (pattern, replacement) for tensors that some files call otherwise; None
        drops what is no weight.
    """

    read: Callable[[dict[str, Any], str], dict[str, Any]]
    write: Callable[[Any], dict[str, Any]]
    rows: Callable[[Any], Iterator[Row]]
    names: tuple[tuple[str, str | None], ...] = ()


def filled(config: Any) -> Any:
    """The same Config, with numbers where 0 stands for the usual."""
    if isinstance(config, text_encoder.Config):
        width = config.mlp_width or 4 * config.width
        return dataclasses.replace(config, mlp_width=width)
    return dataclasses.replace(
        config,
        kv_heads=config.kv_heads or config.heads,
        head_width=config.head_size,
        mlp_width=config.mlp_width or 4 * config.width,
        query_scalar=config.query_scalar or config.head_size,
    )


# ------------------------------------------------------------------ values


def refuse(value, where, field, *allowed):
    """Refuses a field that is there and not among what is allowed, the default first.

    Raises:
      ValueError: with the field, its value and what is allowed.
    """
    if value.get(field, allowed[0]) not in allowed:
        names = ", ".join(str(x) for x in allowed)
        raise ValueError(f"{where}: {field} {value[field]!r}; allowed: {names}.")


def whole(value, where, field):
    """A field that has to be there and to be an int."""
    number = value[field]
    if type(number) is not int:
        raise ValueError(f"{where}: {field} {number!r} is not an integer.")
    return number


def activation(name, where):
    """Our name of an activation function."""
    if not isinstance(name, str) or name not in _ACTIVATIONS:
        raise ValueError(
            f"{where}: activation {name!r}.{suggest(str(name), _ACTIVATIONS)}"
        )
    return _ACTIVATIONS[name]


def their_activation(name):
    """Their name of it."""
    return _THEIRS[name]


# ------------------------------------------------------------------ windows


def windows(value, where, window, is_local):
    """The fields that say which layers have a window.

    Args:
      value: config.json.
      where: for messages.
      window: what it says of the size; may be None where no layer has one.
      is_local: `is_local(i)` decides where there are no `layer_types`.
    """
    layers = whole(value, where, "num_hidden_layers")
    if layers > _MOST_LAYERS:
        raise ValueError(
            f"{where}: num_hidden_layers {layers}, at most {_MOST_LAYERS} allowed."
        )
    types = value.get("layer_types")
    if types is None:
        types = [_SLIDING if is_local(i) else _FULL for i in range(layers)]
    if not isinstance(types, list) or len(types) != layers:
        raise ValueError(f"{where}: layer_types {types!r} is no list of {layers}.")
    for kind in types:
        if kind not in (_FULL, _SLIDING):
            raise ValueError(
                f"{where}: layer_types {kind!r}; allowed: {_FULL}, {_SLIDING}."
            )
    if _SLIDING not in types:
        return {}
    if type(window) is not int or window < 1:
        raise ValueError(
            f"{where}: sliding_window {window!r}, but layer_types has {_SLIDING}; "
            "allowed: 1 or more."
        )
    full = tuple(i for i, kind in enumerate(types) if kind == _FULL)
    return {"window": window, "global_layers": full}


def layer_types(config):
    """The `layer_types` of a Config."""
    return [_SLIDING if config.is_local(i) else _FULL for i in range(config.layers)]


# ------------------------------------------------------------------ rows


def linear(ours, theirs, sizes, bias, transposed=False, heads=0):
    """The rows of a linear map; `theirs` is a name or a tuple of names."""
    names = theirs if isinstance(theirs, tuple) else (theirs,)
    weights = tuple(f"{name}.weight" for name in names)
    yield Row(f"{ours}/weight", weights, sizes, transposed, heads)
    if bias:
        biases = tuple(f"{name}.bias" for name in names)
        yield Row(f"{ours}/bias", biases, sizes, False, heads)


def norm(ours, theirs, width, config):
    """The rows of a norm."""
    yield Row(f"{ours}/scale", (f"{theirs}.weight",), (width,))
    if config.norm == "layernorm":
        yield Row(f"{ours}/bias", (f"{theirs}.bias",), (width,))


def attention(ours, theirs, config, out, norms=None):
    """The rows of attention with three projections.

    Args:
      ours, theirs: the paths of the whole.
      config: a `filled` Config.
      out: their name of the last projection.
      norms: what follows q_ and k_ in their names of the norms of heads.
    """
    c = config
    q, kv = c.heads * c.head_width, c.kv_heads * c.head_width
    names = tuple(f"{theirs}.{x}_proj" for x in "qkv")
    yield from linear(f"{ours}/qkv", names, (q, kv, kv), c.qkv_bias)
    yield from linear(f"{ours}/out", f"{theirs}.{out}", (c.width,), c.out_bias)
    if c.qk_norm:
        for x in "qk":
            yield from norm(
                f"{ours}/{x}_norm", f"{theirs}.{x}_{norms}", c.head_width, c
            )
