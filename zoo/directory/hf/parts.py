"""What Hugging Face families share: weight mappings, checked fields, windows."""

import dataclasses
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from zoo.fields import suggest

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
_HF_ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_tanh": "gelu_new",
    "relu": "relu",
    "relu_squared": "relu2",
    "silu": "silu",
}
_FULL, _SLIDING = "full_attention", "sliding_attention"
_MOST_LAYERS = 10_000  # a longer `layer_types` would take too much memory

# Fields of a Config by the names that most families have for them.
_COMMON = {
    "vocab_size": "vocab_size",
    "context": "max_position_embeddings",
    "width": "hidden_size",
    "layers": "num_hidden_layers",
    "heads": "num_attention_heads",
    "mlp_width": "intermediate_size",
}


class WeightMapping(NamedTuple):
    """One variable of a model and the tensors of a file that hold its value.

    Attributes:
      path: the path of the variable.
      hf_names: the names of the tensors. Their values are joined along axis 0 [out].
      sizes: the size of each tensor along [out].
      transposed: whether the tensors are stored as [in, out].
      heads: 0, or the number of heads in a fused query_key_value tensor. Such a tensor
        is [heads, 3, d] along [out], and the variable is [3, heads, d].
      row: whether the tensor of a bias is [1, out].
    """

    path: str
    hf_names: tuple[str, ...]
    sizes: tuple[int, ...]
    transposed: bool = False
    heads: int = 0
    row: bool = False

    def shapes(self, shape) -> list[tuple[int, ...]]:
        """Returns the shape of each tensor, given the shape of the variable."""
        shapes = [(size, *shape[1:]) for size in self.sizes]
        if self.row:
            return [(1, *shape) for shape in shapes]
        return [s[::-1] for s in shapes] if self.transposed else shapes

    def to_hf(self, value: np.ndarray) -> dict[str, np.ndarray]:
        """Splits the value of the variable into tensors by name."""
        if self.heads:
            split = value.reshape(3, self.heads, -1, *value.shape[1:])
            value = split.swapaxes(0, 1).reshape(value.shape)
        tensors = np.split(value, np.cumsum(self.sizes)[:-1])
        tensors = [tensor.T if self.transposed else tensor for tensor in tensors]
        if self.row:
            tensors = [tensor[None] for tensor in tensors]
        return dict(zip(self.hf_names, tensors, strict=True))

    def to_variable(self, tensors) -> np.ndarray:
        """Joins tensors, in the order of `hf_names`, into the value of the variable."""
        tensors = [tensor.T if self.transposed else tensor for tensor in tensors]
        if self.row:
            tensors = [tensor[0] for tensor in tensors]
        value = np.concatenate(tensors) if len(tensors) > 1 else tensors[0]
        if self.heads:
            split = value.reshape(self.heads, 3, -1, *value.shape[1:])
            value = split.swapaxes(0, 1).reshape(value.shape)
        return value


class Family(NamedTuple):
    """How one `model_type` is read and written.

    Attributes:
      read: `read(value, where)` returns the fields of our Config from a config.json.
      write: `write(config)` returns a config.json, or None. It gets a Config from
        `with_defaults`. A caller reads the result back to see whether all is in it.
      mappings: `mappings(config)` yields a `WeightMapping` for each variable. It gets a
        Config from `with_defaults`.
      names: pairs (pattern, replacement) that rename tensors of other files. The
        replacement None drops a tensor that is not a weight.
      tables: names, after `names`, of tensors that repeat the embedding table of a
        model with one vocabulary.
    """

    read: Callable[[dict[str, Any], str], dict[str, Any]]
    write: Callable[[Any], dict[str, Any] | None]
    mappings: Callable[[Any], Iterator[WeightMapping]]
    names: tuple[tuple[str, str | None], ...] = ()
    tables: tuple[str, ...] = ()


def renamed(family: Family, name: str) -> str:
    """Returns a tensor's name after all patterns of a family that drop no tensor."""
    for pattern, replacement in family.names:
        name = name if replacement is None else re.sub(pattern, replacement, name)
    return name


def with_defaults(config: Any) -> Any:
    """Returns the Config with a number in each field where 0 means the default."""
    numbers = {"mlp_width": config.mlp_width or 4 * config.width}
    if config.task == "generate":
        numbers["kv_heads"] = config.kv_heads or config.heads
        numbers["head_width"] = config.head_size
        numbers["query_scalar"] = config.query_scalar or config.head_size
    if config.task == "seq2seq":
        numbers["head_width"] = config.head_size
        numbers["query_scalar"] = config.query_scalar or config.head_size
        numbers["source_context"] = config.source_limit
    return dataclasses.replace(config, **numbers)


# ------------------------------------------------------------------ fields


def read_common(value) -> dict[str, Any]:
    """Returns the fields of a Config that most families have under the same names."""
    return {field: value[name] for field, name in _COMMON.items()}


def write_common(architecture, config) -> dict[str, Any]:
    """Returns the beginning of a config.json, with the fields of `read_common`."""
    fields = {name: getattr(config, field) for field, name in _COMMON.items()}
    return {"architectures": [architecture], **fields}


def refuse(value, where, field, *allowed):
    """Refuses a field with another value than `allowed`; allowed[0] is the default.

    Raises:
      ValueError: with the field, its value and what is allowed.
    """
    if value.get(field, allowed[0]) not in allowed:
        names = ", ".join(str(x) for x in allowed)
        raise ValueError(f"{where}: {field} {value[field]!r}; allowed: {names}.")


def integer(value, where, field, default=None) -> int:
    """Returns the field of a config.json, which must be an int.

    Raises:
      KeyError: the field is missing, and there is no default.
      ValueError: the field is not an int.
    """
    number = value[field] if default is None else value.get(field, default)
    if type(number) is not int:
        raise ValueError(f"{where}: {field} {number!r} is not an integer.")
    return number


def activation(name, where):
    """Returns our name of the activation function that transformers calls `name`."""
    if not isinstance(name, str) or name not in _ACTIVATIONS:
        raise ValueError(
            f"{where}: activation {name!r}.{suggest(str(name), _ACTIVATIONS)}"
        )
    return _ACTIVATIONS[name]


def hf_activation(name):
    """Returns the name that transformers has for one of our activation functions."""
    return _HF_ACTIVATIONS[name]


# ------------------------------------------------------------------ windows


def windows(value, where, window, is_local):
    """Returns the fields `window` and `global_layers` of a Config.

    Args:
      value: a config.json.
      where: the start of error messages.
      window: its field for the size of the window; None if no layer has a window.
      is_local: `is_local(i)` tells whether layer i has a window. It is used if the
        config.json has no `layer_types`.

    Raises:
      ValueError: too many layers, or `layer_types` or `window` does not fit.
    """
    layers = integer(value, where, "num_hidden_layers")
    if layers > _MOST_LAYERS:
        raise ValueError(
            f"{where}: num_hidden_layers {layers}, at most {_MOST_LAYERS} allowed."
        )
    types = value.get("layer_types")
    if types is None:
        types = [_SLIDING if is_local(i) else _FULL for i in range(layers)]
    if not isinstance(types, list) or len(types) != layers:
        raise ValueError(f"{where}: layer_types {types!r} is not a list of {layers}.")
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
    """Returns the field `layer_types` of a config.json."""
    return [_SLIDING if config.is_local(i) else _FULL for i in range(config.layers)]


# ------------------------------------------------------------------ weight mappings


def linear(path, hf_names, sizes, bias, transposed=False, heads=0):
    """Yields the mappings of a Linear layer; `hf_names` is a name or a tuple."""
    names = hf_names if isinstance(hf_names, tuple) else (hf_names,)
    weights = tuple(f"{name}.weight" for name in names)
    yield WeightMapping(f"{path}/weight", weights, sizes, transposed, heads)
    if bias:
        biases = tuple(f"{name}.bias" for name in names)
        yield WeightMapping(f"{path}/bias", biases, sizes, False, heads)


def norm(path, hf_name, width, config):
    """Yields the mappings of a norm."""
    yield WeightMapping(f"{path}/scale", (f"{hf_name}.weight",), (width,))
    if config.norm == "layernorm":
        yield WeightMapping(f"{path}/bias", (f"{hf_name}.bias",), (width,))


def attention(path, hf_name, config, out, norms=None):
    """Yields the mappings of attention with q_proj, k_proj and v_proj.

    Args:
      path, hf_name: the path and the name of the attention layer.
      config: a Config from `with_defaults`.
      out: the name of the output projection in the file.
      norms: the name in the file of the norms of heads, without q_ or k_.
    """
    c = config
    q, kv = c.heads * c.head_width, c.kv_heads * c.head_width
    names = tuple(f"{hf_name}.{x}_proj" for x in "qkv")
    yield from linear(f"{path}/qkv", names, (q, kv, kv), c.qkv_bias)
    yield from linear(f"{path}/out", f"{hf_name}.{out}", (c.width,), c.out_bias)
    if c.qk_norm:
        for x in "qk":
            yield from norm(
                f"{path}/{x}_norm", f"{hf_name}.{x}_{norms}", c.head_width, c
            )
