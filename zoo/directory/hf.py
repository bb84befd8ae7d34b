"""GPT-2 and Llama directories: their config.json and the names of their tensors.

A family is a function that turns its config.json into our Config, one that does the
reverse where the Config can be said in it, and a table from our variables to the
tensors of the file. A row that names several tensors is their concatenation.
"""

from typing import Any, NamedTuple

from zoo import registry
from zoo.models.transformer_lm import Config
from zoo.shapes import suggest

_ACTIVATIONS = {
    "gelu_tanh": "gelu_new",
    "gelu": "gelu",
    "relu": "relu",
    "relu_squared": "relu2",
    "silu": "silu",
}
_OURS = {theirs: ours for ours, theirs in _ACTIVATIONS.items()}
_OURS["gelu_pytorch_tanh"] = "gelu_tanh"
_OURS["gelu_fast"] = "gelu_tanh"


class Row(NamedTuple):
    """One of our variables and the tensors that make it up.

    Attributes:
      ours: the path of the variable.
      theirs: the names of the tensors, concatenated along [out].
      sizes: of each tensor along [out].
      transposed: whether the file holds [in, out].
    """

    ours: str
    theirs: tuple[str, ...]
    sizes: tuple[int, ...]
    transposed: bool = False


def to_hf(config: Config) -> dict[str, Any] | None:
    """The config.json that says this Config, or None where neither family can."""
    c = config
    if c.norm_place != "pre" or c.logit_softcap:
        return None
    common = {
        "vocab_size": c.vocab_size,
        "tie_word_embeddings": c.tied_head,
        "torch_dtype": "float32",
    }
    plain = c.kv_heads in (0, c.heads) and c.head_size * c.heads == c.width
    biased = (c.qkv_bias, c.out_bias, c.mlp_bias)
    if c.norm == "layernorm" and c.positions == "learned":
        if c.gated or not plain or not all(biased):
            return None
        return {
            "model_type": "gpt2",
            "architectures": ["GPT2LMHeadModel"],
            **common,
            "n_positions": c.context,
            "n_embd": c.width,
            "n_layer": c.layers,
            "n_head": c.heads,
            "n_inner": c.mlp_width or 4 * c.width,
            "activation_function": _ACTIVATIONS[c.activation],
            "layer_norm_epsilon": c.norm_epsilon,
            "resid_pdrop": c.dropout,
            "embd_pdrop": c.dropout,
            "attn_pdrop": 0.0,
        }
    if c.norm == "rmsnorm" and c.positions == "rotary" and c.gated:
        if c.qkv_bias != c.out_bias or c.dropout:
            return None
        return {
            "model_type": "llama",
            "architectures": ["LlamaForCausalLM"],
            **common,
            "max_position_embeddings": c.context,
            "hidden_size": c.width,
            "num_hidden_layers": c.layers,
            "num_attention_heads": c.heads,
            "num_key_value_heads": c.kv_heads or c.heads,
            "head_dim": c.head_size,
            "intermediate_size": c.mlp_width or 4 * c.width,
            "hidden_act": _ACTIVATIONS[c.activation],
            "rms_norm_eps": c.norm_epsilon,
            "rope_theta": c.rope_theta,
            "attention_bias": c.qkv_bias,
            "mlp_bias": c.mlp_bias,
        }
    return None


def from_hf(value: dict[str, Any], where: str) -> Config:
    """The Config that a config.json says.

    Raises:
      ValueError: another family, a field that is missing, or a choice that
        `transformer_lm` does not have.
    """
    family = value.get("model_type")
    if not isinstance(family, str) or family not in _FAMILIES:
        raise ValueError(
            f"{where}: model_type {family!r}.{suggest(str(family), _FAMILIES)}"
        )
    try:
        fields = _FAMILIES[family](value, where)
    except KeyError as error:
        raise ValueError(f"{where}: the field {error} is missing.") from None
    try:
        return registry.from_fields(Config, fields, "transformer_lm")
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def _gpt2(value, where):
    _refuse(value, where, "scale_attn_by_inverse_layer_idx", (False,))
    _refuse(value, where, "scale_attn_weights", (True,))
    _refuse(value, where, "add_cross_attention", (False,))
    return dict(
        vocab_size=value["vocab_size"],
        context=value["n_positions"],
        width=value["n_embd"],
        layers=value["n_layer"],
        heads=value["n_head"],
        mlp_width=value.get("n_inner") or 0,
        activation=_activation(value.get("activation_function", "gelu_new"), where),
        norm_epsilon=value.get("layer_norm_epsilon", 1e-5),
        tied_head=value.get("tie_word_embeddings", True),
        dropout=value.get("resid_pdrop", 0.1),
    )


def _llama(value, where):
    _refuse(value, where, "pretraining_tp", (1,))
    scaling = value.get("rope_scaling") or value.get("rope_parameters") or {}
    if not isinstance(scaling, dict):
        raise ValueError(f"{where}: rope_scaling {scaling!r} is not an object.")
    if scaling.get("rope_type", scaling.get("type", "default")) != "default":
        raise ValueError(f"{where}: rope_scaling {scaling}; only the default allowed.")
    bias = value.get("attention_bias", False)
    return dict(
        vocab_size=value["vocab_size"],
        context=value["max_position_embeddings"],
        width=value["hidden_size"],
        layers=value["num_hidden_layers"],
        heads=value["num_attention_heads"],
        kv_heads=value.get("num_key_value_heads") or 0,
        head_width=value.get("head_dim") or 0,
        mlp_width=value["intermediate_size"],
        norm="rmsnorm",
        norm_epsilon=value.get("rms_norm_eps", 1e-6),
        positions="rotary",
        rope_theta=value.get("rope_theta", scaling.get("rope_theta", 10000.0)),
        activation=_activation(value.get("hidden_act", "silu"), where),
        gated=True,
        qkv_bias=bias,
        out_bias=bias,
        mlp_bias=value.get("mlp_bias", False),
        tied_head=value.get("tie_word_embeddings", False),
    )


_FAMILIES = {"gpt2": _gpt2, "llama": _llama}


def _refuse(value, where, field, allowed):
    if value.get(field, allowed[0]) not in allowed:
        raise ValueError(f"{where}: {field} {value[field]!r}; allowed: {allowed[0]}.")


def _activation(name, where):
    if not isinstance(name, str) or name not in _OURS:
        raise ValueError(f"{where}: activation {name!r}.{suggest(str(name), _OURS)}")
    return _OURS[name]


def rows(family: str, config: Config) -> list[Row]:
    """The table of a family: one row for each variable of the model."""
    return list((_gpt2_rows if family == "gpt2" else _llama_rows)(config))


def _linear(ours, theirs, sizes, bias, transposed=False):
    names = theirs if isinstance(theirs, tuple) else (theirs,)
    weights = tuple(f"{name}.weight" for name in names)
    yield Row(f"{ours}/weight", weights, sizes, transposed)
    if bias:
        yield Row(f"{ours}/bias", tuple(f"{name}.bias" for name in names), sizes)


def _norm(ours, theirs, width, bias):
    yield Row(f"{ours}/scale", (f"{theirs}.weight",), (width,))
    if bias:
        yield Row(f"{ours}/bias", (f"{theirs}.bias",), (width,))


def _gpt2_rows(c):
    D, F, V = c.width, c.mlp_width or 4 * c.width, c.vocab_size
    yield Row("embedding/weight", ("transformer.wte.weight",), (V,))
    yield Row("position/weight", ("transformer.wpe.weight",), (c.context,))
    for i in range(c.layers):
        us, them = f"block_{i}", f"transformer.h.{i}"
        yield from _norm(f"{us}/norm_1", f"{them}.ln_1", D, True)
        attention = f"{them}.attn"
        yield from _linear(
            f"{us}/attention/qkv", f"{attention}.c_attn", (3 * D,), True, True
        )
        yield from _linear(
            f"{us}/attention/out", f"{attention}.c_proj", (D,), True, True
        )
        yield from _norm(f"{us}/norm_2", f"{them}.ln_2", D, True)
        yield from _linear(f"{us}/mlp/up", f"{them}.mlp.c_fc", (F,), True, True)
        yield from _linear(f"{us}/mlp/down", f"{them}.mlp.c_proj", (D,), True, True)
    yield from _norm("norm", "transformer.ln_f", D, True)
    if not c.tied_head:
        yield from _linear("head", "lm_head", (V,), False)


def _llama_rows(c):
    D, F, V = c.width, c.mlp_width or 4 * c.width, c.vocab_size
    q, kv = c.heads * c.head_size, (c.kv_heads or c.heads) * c.head_size
    yield Row("embedding/weight", ("model.embed_tokens.weight",), (V,))
    for i in range(c.layers):
        us, them = f"block_{i}", f"model.layers.{i}"
        yield from _norm(f"{us}/norm_1", f"{them}.input_layernorm", D, False)
        attention = f"{them}.self_attn"
        names = tuple(f"{attention}.{x}_proj" for x in "qkv")
        yield from _linear(f"{us}/attention/qkv", names, (q, kv, kv), c.qkv_bias)
        yield from _linear(
            f"{us}/attention/out", f"{attention}.o_proj", (D,), c.out_bias
        )
        yield from _norm(f"{us}/norm_2", f"{them}.post_attention_layernorm", D, False)
        names = (f"{them}.mlp.gate_proj", f"{them}.mlp.up_proj")
        yield from _linear(f"{us}/mlp/up", names, (F, F), c.mlp_bias)
        yield from _linear(f"{us}/mlp/down", f"{them}.mlp.down_proj", (D,), c.mlp_bias)
    yield from _norm("norm", "model.norm", D, False)
    if not c.tied_head:
        yield from _linear("head", "lm_head", (V,), False)
