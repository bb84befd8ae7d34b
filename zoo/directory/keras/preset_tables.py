"""KerasHub's GPT-2, Gemmas and kinds like Llama, as Hugging Face's config and names.

A preset does not say how long a text its rotary model takes: it is taken from the
generation that the model belongs to.
"""

from typing import Any, NamedTuple


class Place(NamedTuple):
    """Where a tensor of Hugging Face is in a backbone.

    Attributes:
      shape: of the tensor.
      variables: side by side they are the tensor.
      turned: whether the tensor is the one variable, as a matrix, transposed.
      axes: the order of the variable's axes before that; its own where empty.
    """

    shape: tuple[int, ...]
    variables: tuple[Any, ...]
    turned: bool
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


def gpt2(backbone) -> tuple[dict[str, Any], dict[str, Place]]:
    """The config and the tensors of a GPT-2 backbone."""
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
    places = {}
    for path, theirs in outer.items():
        places[theirs] = Place(tuple(found[path].shape), (found[path],), False)
    for i in range(backbone.num_layers):
        us = f"transformer_layer_{i}"
        for path, theirs in _GPT2_NAMES.items():
            variable = found[f"{us}/{path}"]
            shape = tuple(variable.shape)
            shape = (width, width) if len(shape) == 3 else shape
            places[f"h.{i}.{theirs}"] = Place(shape, (variable,), False)
        for end, theirs in (("kernel", "weight"), ("bias", "bias")):
            paths = [
                f"{us}/self_attention/{x}/{end}" for x in ("query", "key", "value")
            ]
            shape = (width, 3 * width) if end == "kernel" else (3 * width,)
            variables = tuple(found[path] for path in paths)
            places[f"h.{i}.attn.c_attn.{theirs}"] = Place(shape, variables, False)
    return config, {f"transformer.{name}": place for name, place in places.items()}


def llama(backbone, kind: str, where: str) -> tuple[dict[str, Any], dict[str, Place]]:
    """The config and the tensors of a backbone that is built like Llama.

    Args:
      backbone: of KerasHub.
      kind: "Llama", "Llama3", "Mistral", "Qwen" or "Qwen3".
      where: what messages call it.

    Raises:
      ValueError: it stretches positions in a way that these families do not.
    """
    for name in ("rope_position_scaling_factor", "rope_scaling_factor"):
        if getattr(backbone, name, 1) != 1:
            raise ValueError(f"{where}: {name} {getattr(backbone, name)}, 1 allowed.")
    config = {
        "model_type": {"Qwen": "qwen2"}.get(
            kind, kind.lower().replace("llama3", "llama")
        ),
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
    places = {}
    for variable in backbone.weights:
        layer, _, path = variable.path.partition("/")
        inner, _, last = path.rpartition("/")
        number = layer.removeprefix("transformer_layer_")
        theirs = names.get(variable.path) or (
            f"model.layers.{number}.{_LLAMA_NAMES[inner]}"
        )
        shape = tuple(variable.shape)
        if inner.endswith("attention_output"):
            shape = (shape[0] * shape[1], shape[2])
        elif len(shape) == 3:
            shape = (shape[0], shape[1] * shape[2])
        elif last == "bias":
            shape = (shape[0] * shape[1],)
        turned = len(shape) == 2 and last != "embeddings"
        shape = shape[::-1] if turned else shape
        end = "bias" if last == "bias" else "weight"
        places[f"{theirs}.{end}"] = Place(shape, (variable,), turned)
    return config, places


def is_gemma(backbone) -> bool:
    """Whether a Gemma backbone is a Gemma 2, or a Gemma 3 of text, as published."""
    b = backbone
    usual = b.use_post_ffw_norm and b.use_post_attention_norm
    usual = usual and b.use_sliding_window_attention
    if not hasattr(b, "use_query_key_norm"):
        return usual
    return (
        usual
        and b.use_query_key_norm
        and b.attention_logit_soft_cap is None
        and b.local_rope_scaling_factor == 1
        and b.vision_encoder is None
        and not b.use_bidirectional_attention
        and not b.is_embedding_model
    )


def gemma(backbone) -> tuple[dict[str, Any], dict[str, Place]]:
    """The config and the tensors of a backbone that `is_gemma`."""
    third = hasattr(backbone, "use_query_key_norm")
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
    places = {}
    for variable in backbone.weights:
        layer, _, path = variable.path.partition("/")
        inner = path.rpartition("/")[0]
        number = layer.removeprefix("decoder_block_")
        shape, axes = tuple(variable.shape), ()
        if layer == "token_embedding":
            theirs = "model.embed_tokens"
        elif layer == "final_normalization":
            theirs = "model.norm"
        else:
            theirs = f"model.layers.{number}.{_GEMMA_NAMES[inner]}"
        if inner == "attention/attention_output":
            shape = (shape[0] * shape[1], shape[2])
        elif len(shape) == 3:
            shape, axes = (shape[1], shape[0] * shape[2]), (1, 0, 2)
        turned = len(shape) == 2 and layer != "token_embedding"
        shape = shape[::-1] if turned else shape
        places[f"{theirs}.weight"] = Place(shape, (variable,), turned, axes)
    return config, places
