"""KerasHub's GPT-2, Gemma and Llama-like models, as Hugging Face's config and names.

A preset with rotary positions has no context length. This module takes the context of
the first release of the same model.
"""

from typing import Any, NamedTuple


class Source(NamedTuple):
    """The variables of a backbone that hold a tensor of Hugging Face.

    Attributes:
      shape: the shape of the tensor.
      variables: joined along the last axis, they are the tensor.
      transposed: whether the tensor is the transpose of a single variable, which is
        reshaped to a matrix first.
      axes: the order in which the variable's axes are permuted before that; empty
        leaves them.
    """

    shape: tuple[int, ...]
    variables: tuple[Any, ...]
    transposed: bool
    axes: tuple[int, ...] = ()


_CONTEXTS = {"Llama": 4096, "Mistral": 32768, "Qwen": 32768, "Qwen3": 40960}
_FAMILIES = {"Llama3": "llama", "Qwen": "qwen2"}
_LLAMA_NAMES = {
    "self_attention/query": "self_attn.q_proj",
    "self_attention/query_dense_layernorm": "self_attn.q_norm",
    "self_attention/key": "self_attn.k_proj",
    "self_attention/key_dense_layernorm": "self_attn.k_norm",
    "self_attention/value": "self_attn.v_proj",
    "self_attention/attention_output": "self_attn.o_proj",
    "self_attention_layernorm": "input_layernorm",
    "feedforward_gate_dense": "mlp.gate_proj",
    "feedforward_intermediate_dense": "mlp.up_proj",
    "feedforward_output_dense": "mlp.down_proj",
    "feedforward_layernorm": "post_attention_layernorm",
}
_GEMMA_NAMES = {
    "pre_attention_norm": "input_layernorm",
    "post_attention_norm": "post_attention_layernorm",
    "attention/query": "self_attn.q_proj",
    "attention/query_norm": "self_attn.q_norm",
    "attention/key": "self_attn.k_proj",
    "attention/key_norm": "self_attn.k_norm",
    "attention/value": "self_attn.v_proj",
    "attention/attention_output": "self_attn.o_proj",
    "pre_ffw_norm": "pre_feedforward_layernorm",
    "post_ffw_norm": "post_feedforward_layernorm",
    "ffw_gating": "mlp.gate_proj",
    "ffw_gating_2": "mlp.up_proj",
    "ffw_linear": "mlp.down_proj",
}
_GPT2_NAMES = {
    "self_attention/attention_output/kernel": "attn.c_proj.weight",
    "self_attention/attention_output/bias": "attn.c_proj.bias",
    "self_attention_layer_norm/gamma": "ln_1.weight",
    "self_attention_layer_norm/beta": "ln_1.bias",
    "feedforward_intermediate_dense/kernel": "mlp.c_fc.weight",
    "feedforward_intermediate_dense/bias": "mlp.c_fc.bias",
    "feedforward_output_dense/kernel": "mlp.c_proj.weight",
    "feedforward_output_dense/bias": "mlp.c_proj.bias",
    "feedforward_layer_norm/gamma": "ln_2.weight",
    "feedforward_layer_norm/beta": "ln_2.bias",
}


def gpt2(backbone) -> tuple[dict[str, Any], dict[str, Source]]:
    """Returns the config and the tensors of a GPT-2 backbone."""
    config = {
        "model_type": "gpt2",
        "vocab_size": backbone.vocabulary_size,
        "n_positions": backbone.max_sequence_length,
        "n_embd": backbone.hidden_dim,
        "n_layer": backbone.num_layers,
        "n_head": backbone.num_heads,
        "n_inner": backbone.intermediate_dim,
        "activation_function": "gelu_new",
        "layer_norm_epsilon": 1e-5,
        "resid_pdrop": backbone.dropout,
    }
    found = {v.path: v for v in backbone.weights}
    width = backbone.hidden_dim
    outer = {
        "token_embedding/embeddings": "wte.weight",
        "position_embedding/embeddings": "wpe.weight",
        "layer_norm/gamma": "ln_f.weight",
        "layer_norm/beta": "ln_f.bias",
    }
    sources = {}
    for path, hf_name in outer.items():
        sources[hf_name] = Source(tuple(found[path].shape), (found[path],), False)
    for i in range(backbone.num_layers):
        layer = f"transformer_layer_{i}"
        for path, hf_name in _GPT2_NAMES.items():
            variable = found[f"{layer}/{path}"]
            shape = tuple(variable.shape)
            shape = (width, width) if len(shape) == 3 else shape
            sources[f"h.{i}.{hf_name}"] = Source(shape, (variable,), False)
        for end, hf_name in (("kernel", "weight"), ("bias", "bias")):
            paths = [
                f"{layer}/self_attention/{x}/{end}" for x in ("query", "key", "value")
            ]
            shape = (width, 3 * width) if end == "kernel" else (3 * width,)
            variables = tuple(found[path] for path in paths)
            sources[f"h.{i}.attn.c_attn.{hf_name}"] = Source(shape, variables, False)
    return config, {f"transformer.{name}": place for name, place in sources.items()}


def llama(backbone, kind: str, where: str) -> tuple[dict[str, Any], dict[str, Source]]:
    """Returns the config and the tensors of a backbone with Llama's layers.

    Args:
      backbone: a backbone of KerasHub.
      kind: "Llama", "Llama3", "Mistral", "Qwen" or "Qwen3".
      where: the start of error messages.

    Raises:
      ValueError: the backbone scales rotary positions in an unsupported way.
    """
    for name in ("rope_position_scaling_factor", "rope_scaling_factor"):
        if getattr(backbone, name, 1) != 1:
            raise ValueError(f"{where}: {name} {getattr(backbone, name)}, 1 allowed.")
    config = {
        "model_type": _FAMILIES.get(kind, kind.lower()),
        "vocab_size": backbone.vocabulary_size,
        "hidden_size": backbone.hidden_dim,
        "num_hidden_layers": backbone.num_layers,
        "num_attention_heads": backbone.num_query_heads,
        "num_key_value_heads": backbone.num_key_value_heads,
        "intermediate_size": backbone.intermediate_dim,
        "rms_norm_eps": backbone.layer_norm_epsilon,
        "rope_theta": float(backbone.rope_max_wavelength),
        "tie_word_embeddings": backbone.token_embedding.tie_weights,
    }
    factor = getattr(backbone, "rope_frequency_adjustment_factor", None)
    context = _CONTEXTS.get(kind) or (131072 if factor else 8192)
    config["max_position_embeddings"] = context
    if getattr(backbone, "head_dim", None):
        config["head_dim"] = backbone.head_dim
    if kind == "Mistral":
        config["sliding_window"] = backbone.sliding_window
    if kind == "Qwen" and backbone.use_sliding_window_attention:
        config |= {"use_sliding_window": True, "max_window_layers": 0}
        config["sliding_window"] = backbone.sliding_window_size
    if factor:
        config["rope_scaling"] = {
            "rope_type": "llama3",
            "factor": factor,
            "low_freq_factor": backbone.rope_low_freq_factor,
            "high_freq_factor": backbone.rope_high_freq_factor,
            "original_max_position_embeddings": (
                backbone.rope_pretraining_sequence_length
            ),
        }
    names = {
        "token_embedding/embeddings": "model.embed_tokens",
        "token_embedding/reverse_embeddings": "lm_head",
        "sequence_output_layernorm/scale": "model.norm",
    }
    sources = {}
    for variable in backbone.weights:
        layer, _, path = variable.path.partition("/")
        inner, _, last = path.rpartition("/")
        number = layer.removeprefix("transformer_layer_")
        hf_name = names.get(variable.path) or (
            f"model.layers.{number}.{_LLAMA_NAMES[inner]}"
        )
        shape = tuple(variable.shape)
        if inner.endswith("attention_output"):
            shape = (shape[0] * shape[1], shape[2])
        elif len(shape) == 3:
            shape = (shape[0], shape[1] * shape[2])
        elif last == "bias":
            shape = (shape[0] * shape[1],)
        transposed = len(shape) == 2 and last != "embeddings"
        shape = shape[::-1] if transposed else shape
        end = "bias" if last == "bias" else "weight"
        sources[f"{hf_name}.{end}"] = Source(shape, (variable,), transposed)
    return config, sources


def is_gemma(backbone, kind: str) -> bool:
    """Returns whether a backbone is a Gemma 2 or a text-only Gemma 3, as published.

    Args:
      backbone: a backbone of KerasHub.
      kind: "Gemma" or "Gemma3".
    """
    b = backbone
    second = b.use_post_ffw_norm and b.use_post_attention_norm
    second = second and b.use_sliding_window_attention
    if kind == "Gemma":
        return second
    return (
        second
        and b.use_query_key_norm
        and b.attention_logit_soft_cap is None
        and b.local_rope_scaling_factor == 1
        and b.vision_encoder is None
        and not b.use_bidirectional_attention
        and not b.is_embedding_model
    )


def gemma(backbone, kind: str) -> tuple[dict[str, Any], dict[str, Source]]:
    """Returns the config and the tensors of a backbone for which `is_gemma` is true."""
    third = kind == "Gemma3"
    scalar = backbone.head_dim
    if not backbone.query_head_dim_normalize:
        scalar = backbone.hidden_dim // backbone.num_query_heads
    config = {
        "model_type": "gemma3_text" if third else "gemma2",
        "vocab_size": backbone.vocabulary_size,
        "max_position_embeddings": 8192,
        "hidden_size": backbone.hidden_dim,
        "num_hidden_layers": backbone.num_layers,
        "num_attention_heads": backbone.num_query_heads,
        "num_key_value_heads": backbone.num_key_value_heads,
        "head_dim": backbone.head_dim,
        "intermediate_size": backbone.intermediate_dim // (1 if third else 2),
        "rms_norm_eps": backbone.layer_norm_epsilon,
        "query_pre_attn_scalar": scalar,
        "sliding_window": backbone.sliding_window_size,
        "final_logit_softcapping": backbone.final_logit_soft_cap,
    }
    if third:
        factor = backbone.global_rope_scaling_factor
        config["max_position_embeddings"] = 32768 if factor == 1 else 131072
        config |= {"rope_theta": 1e6, "rope_local_base_freq": 1e4}
        if factor != 1:
            config["rope_scaling"] = {"rope_type": "linear", "factor": factor}
    else:
        config["attn_logit_softcapping"] = backbone.attention_logit_soft_cap
    sources = {}
    for variable in backbone.weights:
        layer, _, path = variable.path.partition("/")
        inner = path.rpartition("/")[0]
        number = layer.removeprefix("decoder_block_")
        shape, axes = tuple(variable.shape), ()
        if layer == "token_embedding":
            hf_name = "model.embed_tokens"
        elif layer == "final_normalization":
            hf_name = "model.norm"
        else:
            hf_name = f"model.layers.{number}.{_GEMMA_NAMES[inner]}"
        if inner == "attention/attention_output":
            shape = (shape[0] * shape[1], shape[2])
        elif len(shape) == 3:
            shape, axes = (shape[1], shape[0] * shape[2]), (1, 0, 2)
        transposed = len(shape) == 2 and layer != "token_embedding"
        shape = shape[::-1] if transposed else shape
        sources[f"{hf_name}.weight"] = Source(shape, (variable,), transposed, axes)
    return config, sources
