"""The architectures of GGUF files: their fields, the names and changes of tensors.

llama.cpp's converters change some tensors, and `undo` undoes the changes. For Llama,
they reorder the rows of queries and keys so that rotary pairs are adjacent. For Gemma,
they add 1 to the norms. For GPT-2, they transpose matrices.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from zoo.directory.gguf import file as gguf_file
from zoo.directory.gguf import rope
from zoo.directory.gguf.fields import Fields


class Architecture(NamedTuple):
    """How one architecture is read and written.

    Attributes:
      config: `config(fields, file)` returns the config.json.
      names: Hugging Face's names by ggml's names; `{i}` is the number of a block.
      undo: `undo(name, array, config)` takes a tensor with its ggml name, and returns
        the numbers as they were before the converter changed them.
      redo: the inverse of `undo`.
      transposed: whether the matrices of blocks are transposed.
    """

    config: Callable[[Fields, gguf_file.File], dict[str, Any]]
    names: dict[str, str]
    undo: Callable[[str, np.ndarray, dict[str, Any]], np.ndarray]
    redo: Callable[[str, np.ndarray, dict[str, Any]], np.ndarray]
    transposed: bool = False

    def is_transposed(self, name: str, shape) -> bool:
        """Returns whether the tensor with this ggml name is transposed."""
        return self.transposed and name.startswith("blk.") and len(shape) == 2


# ------------------------------------------------------------------ fields


def _sizes(fields, file):
    """Returns the size of the vocabulary, and whether the head is tied."""
    if "token_embd.weight" not in file.tensors:
        raise ValueError(f"{file.where}: the tensor token_embd.weight is missing.")
    same = "output.weight" not in file.tensors
    if not same:
        # A head with other bytes, such as from another quantisation, is not tied.
        here, there = (file.tensors[f"{n}.weight"] for n in ("output", "token_embd"))
        same = (here.kind, here.shape) == (there.kind, there.shape) and np.array_equal(
            file.raw("output.weight"), file.raw("token_embd.weight")
        )
        file.release()
    return {
        "vocab_size": file.tensors["token_embd.weight"].shape[0],
        "tie_word_embeddings": same,
    }


def _gpt2(fields, file):
    return {
        "model_type": "gpt2",
        **_sizes(fields, file),
        "n_positions": fields.integer("context_length"),
        "n_embd": fields.integer("embedding_length"),
        "n_layer": fields.integer("block_count"),
        "n_head": fields.integer("attention.head_count"),
        "n_inner": fields.integer("feed_forward_length"),
        "layer_norm_epsilon": fields.number("attention.layer_norm_epsilon"),
    }


def _llama_like(family, fields, file):
    """Returns the config.json of a family with Llama's layers."""
    width = fields.integer("embedding_length")
    heads = fields.integer("attention.head_count")
    head = fields.integer("attention.key_length", width // heads or 1)
    for name in ("attention.value_length", "rope.dimension_count"):
        if fields.integer(name, head) != head:
            raise ValueError(
                f"{file.where}: {fields.architecture}.{name} {fields.integer(name)}; "
                f"allowed: {head}, the width of a head."
            )
    theta = fields.number("rope.freq_base", 10000.0)
    return {
        "model_type": family,
        **_sizes(fields, file),
        "max_position_embeddings": fields.integer("context_length"),
        "hidden_size": width,
        "num_hidden_layers": fields.integer("block_count"),
        "num_attention_heads": heads,
        "num_key_value_heads": fields.integer("attention.head_count_kv", heads),
        "head_dim": head,
        "intermediate_size": fields.integer("feed_forward_length"),
        "rms_norm_eps": fields.number("attention.layer_norm_rms_epsilon"),
        "rope_theta": theta,
        "rope_scaling": rope.scaling(fields, file, theta, head),
        "attention_bias": "blk.0.attn_output.bias" in file.tensors,
    }


def _llama(fields, file):
    fields.refuse("attn_logit_softcapping", 0)
    fields.refuse("final_logit_softcapping", 0)
    value = _llama_like("llama", fields, file)
    value["mlp_bias"] = "blk.0.ffn_down.bias" in file.tensors
    if "attention.sliding_window" in fields:
        window = fields.integer("attention.sliding_window")
        value |= {"model_type": "mistral", "sliding_window": window}
    return value


def _qwen(fields, file):
    fields.refuse("attention.sliding_window", 0)
    return _llama_like(fields.architecture, fields, file)


def _gemma(family, largest, fields, file):
    """Returns the config.json of a Gemma.

    `largest` is the number of layers of the largest model, whose queries are divided by
    the root of width / heads instead of the head width.
    """
    value = _llama_like(family, fields, file)
    value["hidden_activation"] = "gelu_pytorch_tanh"
    value["sliding_window"] = fields.integer("attention.sliding_window")
    scalar = value["head_dim"]
    if value["num_hidden_layers"] == largest:
        scalar = value["hidden_size"] // value["num_attention_heads"]
    return {**value, "query_pre_attn_scalar": scalar}


def _gemma2(fields, file):
    return {
        **_gemma("gemma2", 46, fields, file),
        "attn_logit_softcapping": fields.number("attn_logit_softcapping", 50.0),
        "final_logit_softcapping": fields.number("final_logit_softcapping", 30.0),
    }


def _gemma3(fields, file):
    fields.refuse("attn_logit_softcapping", 0)
    return {
        **_gemma("gemma3_text", 62, fields, file),
        "rope_local_base_freq": fields.number("rope.freq_base_swa", 10000.0),
        "sliding_window_pattern": fields.integer("attention.sliding_window_pattern", 6),
        "final_logit_softcapping": fields.number("final_logit_softcapping", None),
    }


# ------------------------------------------------------------------ tensors


def _unchanged(name, array, config):
    del name, config
    return array


def _pairs(sizes, name, array, config):
    """Reorders the rows of each head, which is reshaped to `sizes` and transposed.

    (2, -1) puts the rows of two halves next to each other as pairs. (-1, 2) is the
    inverse.
    """
    heads = {
        "attn_q": config["num_attention_heads"],
        "attn_k": config["num_key_value_heads"],
    }.get(name.split(".")[-2])
    if heads is None or len(array) % (2 * heads):  # the shape is refused later
        return array
    split = array.reshape(heads, *sizes, *array.shape[1:])
    return split.swapaxes(1, 2).reshape(array.shape)


def _plus(number, name, array, config):
    """Adds a number to the scale of a norm; other tensors are unchanged."""
    del config
    return array + np.float32(number) if name.endswith("norm.weight") else array


_OUTER = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "output": "lm_head",
}
_LLAMA_NAMES = _OUTER | {
    f"{{i}}.{name}": f"model.layers.{{i}}.{hf_name}"
    for name, hf_name in {
        "attn_norm": "input_layernorm",
        "attn_q": "self_attn.q_proj",
        "attn_k": "self_attn.k_proj",
        "attn_v": "self_attn.v_proj",
        "attn_output": "self_attn.o_proj",
        "attn_q_norm": "self_attn.q_norm",
        "attn_k_norm": "self_attn.k_norm",
        "ffn_norm": "post_attention_layernorm",
        "ffn_gate": "mlp.gate_proj",
        "ffn_up": "mlp.up_proj",
        "ffn_down": "mlp.down_proj",
    }.items()
}
_GEMMA_NAMES = _LLAMA_NAMES | {
    "{i}.post_attention_norm": "model.layers.{i}.post_attention_layernorm",
    "{i}.ffn_norm": "model.layers.{i}.pre_feedforward_layernorm",
    "{i}.post_ffw_norm": "model.layers.{i}.post_feedforward_layernorm",
}
_GPT2_NAMES = {
    "token_embd": "transformer.wte",
    "position_embd": "transformer.wpe",
    "{i}.attn_norm": "transformer.h.{i}.ln_1",
    "{i}.attn_qkv": "transformer.h.{i}.attn.c_attn",
    "{i}.attn_output": "transformer.h.{i}.attn.c_proj",
    "{i}.ffn_norm": "transformer.h.{i}.ln_2",
    "{i}.ffn_up": "transformer.h.{i}.mlp.c_fc",
    "{i}.ffn_down": "transformer.h.{i}.mlp.c_proj",
    "output_norm": "transformer.ln_f",
    "output": "lm_head",
}
_SAME = (_unchanged, _unchanged)
_PAIRS = (functools.partial(_pairs, (-1, 2)), functools.partial(_pairs, (2, -1)))
_PLUS_1 = (functools.partial(_plus, -1), functools.partial(_plus, 1))
ARCHITECTURES = {
    "llama": Architecture(_llama, _LLAMA_NAMES, *_PAIRS),
    "qwen2": Architecture(_qwen, _LLAMA_NAMES, *_SAME),
    "qwen3": Architecture(_qwen, _LLAMA_NAMES, *_SAME),
    "gemma2": Architecture(_gemma2, _GEMMA_NAMES, *_PLUS_1),
    "gemma3": Architecture(_gemma3, _GEMMA_NAMES, *_PLUS_1),
    "gpt2": Architecture(_gpt2, _GPT2_NAMES, *_SAME, transposed=True),
}
