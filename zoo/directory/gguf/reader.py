"""GGUF files, llama.cpp's format, as Hugging Face's config and names.

llama.cpp's converters change some tensors, which is undone here: for Llama they put the
rows of queries and keys in the order of their own rotary positions (pairs side by
side), for Gemma they add the 1 of the norms, for GPT-2 they transpose. What was rounded
when the file was quantised stays so. `gguf_writer` does all of it again.
"""

import functools
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from zoo.directory.gguf import file as gguf_file
from zoo.directory.gguf import rope
from zoo.directory.gguf import tokenizer as gguf_tokenizer
from zoo.directory.gguf.fields import Fields
from zoo.directory.pretrained import Pretrained, Tensors
from zoo.fields import suggest
from zoo.generation_config import GenerationConfig

# Fields that change what a model computes, in a way that we have no word for, and what
# they say where they change nothing.
_STRANGE = {
    "attention.causal": True,
    "attention.clamp_kqv": 0,
    "attention.max_alibi_bias": 0,
    "attention.output_scale": 0,
    "attention.scale": 0,
    "attention.shared_kv_layers": 0,
    "attention.temperature_scale": 0,
    "embedding_scale": 0,
    "expert_count": 0,
    "logit_scale": 0,
    "residual_scale": 0,
    "rope.dimension_sections": 0,
    "rope.scale_linear": 1,
    "rope.scaling.attn_factor": 1,
    "rope.scaling.yarn_attn_factor": 1,
    "rope.scaling.yarn_ext_factor": 1,
    "rope.scaling.yarn_log_multiplier": 0,
}


class Architecture(NamedTuple):
    """How one architecture is read and written.

    Attributes:
      config: `config(fields, file)`: the config.json.
      names: Hugging Face's names by ggml's; `{i}` is the number of a block.
      undo: `undo(name, array, config)`: a tensor of ggml's name without what the
        converter did to its numbers.
      redo: the reverse of `undo`.
      turned: whether the matrices of blocks are transposed.
    """

    config: Callable[[Fields, gguf_file.File], dict[str, Any]]
    names: dict[str, str]
    undo: Callable[[str, np.ndarray, dict[str, Any]], np.ndarray]
    redo: Callable[[str, np.ndarray, dict[str, Any]], np.ndarray]
    turned: bool = False

    def turns(self, name: str, shape) -> bool:
        """Whether a tensor of ggml's name is transposed."""
        return self.turned and name.startswith("blk.") and len(shape) == 2


def read(path) -> Pretrained:
    """Reads a file; of its tensors the names and shapes only.

    Raises:
      ValueError: it is no GGUF file or broken, it is one of several, its architecture,
        tokenizer or a type of its numbers is unknown, or a field is missing.
    """
    file = gguf_file.read(path)
    fields = Fields(file)
    known = ARCHITECTURES.get(fields.architecture)
    if known is None:
        name = fields.architecture[:64]
        raise ValueError(
            f"{file.where}: general.architecture {name!r}."
            f"{suggest(name, ARCHITECTURES)}"
        )
    if file.fields.get("split.count", 1) != 1:
        raise ValueError(
            f"{file.where}: is one of {file.fields['split.count']} files; join them "
            "with llama-gguf-split --merge."
        )
    for name, allowed in _STRANGE.items():
        fields.refuse(name, allowed)
    config = known.config(fields, file)
    names = {_their_name(name, known, file.where): name for name in file.tensors}
    names.pop(None, None)
    if config["tie_word_embeddings"]:
        names.pop("lm_head.weight", None)

    def tensor(theirs):
        name = names[theirs]
        array = known.undo(name, file.array(name), config)
        return array.T if known.turns(name, array.shape) else array

    shapes = {theirs: file.tensors[name].shape for theirs, name in names.items()}
    for theirs, name in names.items():
        if known.turns(name, shapes[theirs]):
            shapes[theirs] = shapes[theirs][::-1]
    tokenizer = functools.partial(gguf_tokenizer.read, file.fields, file.where)
    every = Tensors(shapes, tensor, file.release)
    return Pretrained(file.where, config, every, tokenizer, GenerationConfig())


def _their_name(name, known, where) -> str | None:
    """Hugging Face's name; None for what is no weight."""
    if name == rope.FREQUENCIES:
        return None
    block = re.fullmatch(r"blk\.(\d{1,5})\.(.+)\.(weight|bias)", name)
    outer = re.fullmatch(r"(.+)\.(weight|bias)", name)
    if block and str(int(block[1])) == block[1] and f"{{i}}.{block[2]}" in known.names:
        theirs = known.names[f"{{i}}.{block[2]}"].replace("{i}", block[1])
        return f"{theirs}.{block[3]}"
    if outer and not block and outer[1] in known.names:
        return f"{known.names[outer[1]]}.{outer[2]}"
    raise ValueError(f"{where}: the tensor {name} is none of this architecture's.")


# ------------------------------------------------------------------ fields


def _sizes(fields, file):
    """What GPT-2 and Llama have in common."""
    if "token_embd.weight" not in file.tensors:
        raise ValueError(f"{file.where}: the tensor token_embd.weight is missing.")
    same = "output.weight" not in file.tensors
    if not same:
        # quantised apart from each other they are two tensors
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
        "n_positions": fields.whole("context_length"),
        "n_embd": fields.whole("embedding_length"),
        "n_layer": fields.whole("block_count"),
        "n_head": fields.whole("attention.head_count"),
        "n_inner": fields.whole("feed_forward_length"),
        "layer_norm_epsilon": fields.number("attention.layer_norm_epsilon"),
    }


def _llama_like(family, fields, file):
    width = fields.whole("embedding_length")
    heads = fields.whole("attention.head_count")
    head = fields.whole("attention.key_length", width // heads or 1)
    for name in ("attention.value_length", "rope.dimension_count"):
        if fields.whole(name, head) != head:
            raise ValueError(
                f"{file.where}: {fields.architecture}.{name} {fields.whole(name)}; "
                f"allowed: {head}, the width of a head."
            )
    theta = fields.number("rope.freq_base", 10000.0)
    return {
        "model_type": family,
        **_sizes(fields, file),
        "max_position_embeddings": fields.whole("context_length"),
        "hidden_size": width,
        "num_hidden_layers": fields.whole("block_count"),
        "num_attention_heads": heads,
        "num_key_value_heads": fields.whole("attention.head_count_kv", heads),
        "head_dim": head,
        "intermediate_size": fields.whole("feed_forward_length"),
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
        window = fields.whole("attention.sliding_window")
        value |= {"model_type": "mistral", "sliding_window": window}
    return value


def _qwen(fields, file):
    fields.refuse("attention.sliding_window", 0)
    return _llama_like(fields.architecture, fields, file)


def _gemma(family, largest, fields, file):
    """`largest` is how many layers the model has that scales queries otherwise."""
    value = _llama_like(family, fields, file)
    value["hidden_activation"] = "gelu_pytorch_tanh"
    value["sliding_window"] = fields.whole("attention.sliding_window")
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
        "sliding_window_pattern": fields.whole("attention.sliding_window_pattern", 6),
        "final_logit_softcapping": fields.number("final_logit_softcapping", None),
    }


# ------------------------------------------------------------------ tensors


def _as_it_is(name, array, config):
    del name, config
    return array


def _pairs(sizes, name, array, config):
    """Turns the rows of each head, cut into two sizes, the other way round.

    Of (2, -1), two halves, become pairs side by side; (-1, 2) is the way back.
    """
    heads = {
        "attn_q": config["num_attention_heads"],
        "attn_k": config["num_key_value_heads"],
    }.get(name.split(".")[-2])
    if heads is None or len(array) % (2 * heads):  # its shape is refused later
        return array
    apart = array.reshape(heads, *sizes, *array.shape[1:])
    return apart.swapaxes(1, 2).reshape(array.shape)


def _plus(number, name, array, config):
    del config
    return array + np.float32(number) if name.endswith("norm.weight") else array


_OUTER = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "output": "lm_head",
}
_LLAMA_NAMES = _OUTER | {
    f"{{i}}.{ours}": f"model.layers.{{i}}.{theirs}"
    for ours, theirs in {
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
_SAME = (_as_it_is, _as_it_is)
_PAIRS = (functools.partial(_pairs, (-1, 2)), functools.partial(_pairs, (2, -1)))
_PLUS_1 = (functools.partial(_plus, -1), functools.partial(_plus, 1))
ARCHITECTURES = {
    "llama": Architecture(_llama, _LLAMA_NAMES, *_PAIRS),
    "qwen2": Architecture(_qwen, _LLAMA_NAMES, *_SAME),
    "qwen3": Architecture(_qwen, _LLAMA_NAMES, *_SAME),
    "gemma2": Architecture(_gemma2, _GEMMA_NAMES, *_PLUS_1),
    "gemma3": Architecture(_gemma3, _GEMMA_NAMES, *_PLUS_1),
    "gpt2": Architecture(_gpt2, _GPT2_NAMES, *_SAME, turned=True),
}
