"""Llama, and families with the same layers: Mistral, Qwen 2 and 3, Gemma 2 and 3.

The layers are RMS norms, rotary positions, gated MLPs and grouped queries. Sources:
Touvron et al. 2023 (Llama 2, arXiv:2307.09288); Jiang et al. 2023 (Mistral,
arXiv:2310.06825); Qwen Team 2024 and 2025 (arXiv:2407.10671, arXiv:2505.09388); Gemma
Team 2024 and 2025 (arXiv:2408.00118, arXiv:2503.19786).
"""

from zoo.directory.hf import parts
from zoo.directory.hf import rope as hf_rope
from zoo.directory.hf.parts import Family, WeightMapping

_GEMMA_WINDOW = 4096  # transformers' default, and needed even without local layers


def _read(value, where, kv_heads=None, head_width=None):
    """Reads what all these families have.

    Args:
      value, where: as in `Family.read`.
      kv_heads, head_width: the defaults of `num_key_value_heads` and `head_dim`.
    """
    return {
        **parts.read_common(value),
        "kv_heads": value.get("num_key_value_heads", kv_heads) or 0,
        "head_width": value.get("head_dim", head_width) or 0,
        "norm": "rmsnorm",
        "norm_epsilon": value.get("rms_norm_eps", 1e-6),
        "positions": "rotary",
        "activation": parts.activation(value.get("hidden_act", "silu"), where),
        "gated": True,
        "qkv_bias": False,
        "out_bias": False,
        "mlp_bias": False,
        "tied_head": value.get("tie_word_embeddings", False),
    }


def _rope(value, where):
    """Reads the rotary positions of a family that rotates whole heads."""
    parts.refuse(value, where, "partial_rotary_factor", 1.0, None)
    rope = hf_rope.find(value, where)
    parts.refuse(rope, where, "partial_rotary_factor", 1.0)
    return hf_rope.read(value, where, rope, value.get("rope_theta", 10000.0))


def _bias(value):
    """Reads `attention_bias`, which is about all four projections."""
    bias = value.get("attention_bias", False)
    return {"qkv_bias": bias, "out_bias": bias}


def _write(architecture, c):
    """Writes what all these families have."""
    return {
        **parts.write_common(architecture, c),
        "num_key_value_heads": c.kv_heads,
        "head_dim": c.head_width,
        "hidden_act": parts.hf_activation(c.activation),
        "rms_norm_eps": c.norm_epsilon,
        "tie_word_embeddings": c.tied_head,
        "rope_theta": c.rope_theta,
        **hf_rope.write(c),
    }


def _mappings(c):
    D, F, V = c.width, c.mlp_width, c.vocab_size
    after, before = "post_attention_layernorm", "pre_feedforward_layernorm"
    norms = {"attention_norm": "input_layernorm", "mlp_norm": after}
    if c.norm_place == "both":
        norms |= {"post_attention_norm": after, "mlp_norm": before}
        norms["post_mlp_norm"] = "post_feedforward_layernorm"
    yield WeightMapping("embedding/weight", ("model.embed_tokens.weight",), (V,))
    for i in range(c.layers):
        block, layer = f"block_{i}", f"model.layers.{i}"
        for path, hf_name in norms.items():
            yield from parts.norm(f"{block}/{path}", f"{layer}.{hf_name}", D, c)
        yield from parts.attention(
            f"{block}/attention", f"{layer}.self_attn", c, "o_proj", "norm"
        )
        names = (f"{layer}.mlp.gate_proj", f"{layer}.mlp.up_proj")
        yield from parts.linear(f"{block}/mlp/up", names, (F, F), c.mlp_bias)
        down = f"{layer}.mlp.down_proj"
        yield from parts.linear(f"{block}/mlp/down", down, (D,), c.mlp_bias)
    yield from parts.norm("norm", "model.norm", D, c)
    if not c.tied_head:
        yield from parts.linear("head", "lm_head", (V,), False)


def _family(read, write):
    """Returns a Family whose tensors have the names of Llama's."""
    names = (
        (r"\.rotary_emb\.inv_freq$", None),
        (r"^(?=embed_tokens\.|layers\.|norm\.)", "model."),
    )
    return Family(read, write, _mappings, names)


# ------------------------------------------------------------------ Llama, Mistral


def _read_llama(value, where):
    return {
        **_read(value, where),
        **_rope(value, where),
        **_bias(value),
        "mlp_bias": value.get("mlp_bias", False),
    }


def _write_llama(c):
    if c.width % c.heads:  # transformers refuses such a Llama
        return None
    biases = {"attention_bias": c.qkv_bias, "mlp_bias": c.mlp_bias}
    return {**_write("LlamaForCausalLM", c), **biases}


def _read_mistral(value, where):
    parts.refuse(value, where, "layer_types", None)
    window = value.get("sliding_window", 4096)
    local = parts.windows(value, where, window, lambda _: window is not None)
    return {**_read(value, where, kv_heads=8), **_rope(value, where), **local}


def _write_mistral(c):
    window = {"sliding_window": c.window or None}
    return {**_write("MistralForCausalLM", c), **window}


# ------------------------------------------------------------------ Qwen


def _qwen_windows(value, where):
    """Reads which layers of a Qwen have a window."""
    parts.refuse(value, where, "use_sliding_window", False, True)
    on = value.get("use_sliding_window", False)
    first = parts.integer(value, where, "max_window_layers", 28)
    window = value.get("sliding_window", 4096) if on else None
    return parts.windows(
        value, where, window, lambda i: window is not None and i >= first
    )


def _write_qwen_windows(c):
    types = {"use_sliding_window": c.window > 0, "layer_types": parts.layer_types(c)}
    if c.window:
        # Older readers take the layers below `max_window_layers` as global.
        last = len(c.global_layers)
        types |= {"sliding_window": c.window, "max_window_layers": last}
    return types


def _read_qwen2(value, where):
    return {
        **_read(value, where, kv_heads=32),
        **_rope(value, where),
        **_qwen_windows(value, where),
        "qkv_bias": True,
    }


def _write_qwen2(c):
    value = {**_write("Qwen2ForCausalLM", c), **_write_qwen_windows(c)}
    if c.head_width * c.heads == c.width:
        del value["head_dim"]  # not a field of Qwen 2 itself
    return value


def _read_qwen3(value, where):
    return {
        **_read(value, where, kv_heads=32, head_width=128),
        **_rope(value, where),
        **_qwen_windows(value, where),
        **_bias(value),
        "qk_norm": True,
    }


def _write_qwen3(c):
    bias = {"attention_bias": c.qkv_bias}
    return {**_write("Qwen3ForCausalLM", c), **_write_qwen_windows(c), **bias}


# ------------------------------------------------------------------ Gemma


def _read_gemma(value, where, every):
    """Reads what Gemma 2 and 3 have; the last of `every` layers is global."""
    parts.refuse(value, where, "use_bidirectional_attention", None, False)
    name = value.get("hidden_activation") or "gelu_pytorch_tanh"
    window = value.get("sliding_window", _GEMMA_WINDOW)
    return {
        **_read(value, where, kv_heads=4, head_width=256),
        **_bias(value),
        **parts.windows(value, where, window, lambda i: (i + 1) % every),
        "activation": parts.activation(name, where),
        "scaled_embedding": True,
        "norm": "rmsnorm_1p",
        "norm_place": "both",
        "query_scalar": value.get("query_pre_attn_scalar", 256),
        "tied_head": value.get("tie_word_embeddings", True),
    }


def _write_gemma(architecture, c):
    """Writes what Gemma 2 and 3 have."""
    value = _write(architecture, c)
    name = value.pop("hidden_act")
    value["hidden_activation"] = {"gelu_new": "gelu_pytorch_tanh"}.get(name, name)
    return {
        **value,
        "attention_bias": c.qkv_bias,
        "query_pre_attn_scalar": c.query_scalar,
        "sliding_window": c.window or _GEMMA_WINDOW,
        "layer_types": parts.layer_types(c),
        "final_logit_softcapping": c.logit_softcap or None,
        "attn_logit_softcapping": c.attention_softcap or None,
    }


def _read_gemma2(value, where):
    return {
        **_read_gemma(value, where, every=2),
        **_rope(value, where),
        "attention_softcap": value.get("attn_logit_softcapping", 50.0) or 0.0,
        "logit_softcap": value.get("final_logit_softcapping", 30.0) or 0.0,
    }


def _write_gemma2(c):
    if c.width % c.heads:
        return None
    return _write_gemma("Gemma2ForCausalLM", c)


def _read_gemma3(value, where):
    # transformers' attention ignores this field
    parts.refuse(value, where, "attn_logit_softcapping", None)
    every = parts.integer(value, where, "sliding_window_pattern", 6)
    if every < 1:
        raise ValueError(f"{where}: sliding_window_pattern {every}, 1 or more allowed.")
    fields = _read_gemma(value, where, every)
    rope = hf_rope.find(value, where)
    wide, local = rope, {}
    if "full_attention" in rope or "sliding_attention" in rope:
        wide = rope.get("full_attention") or {}
        local = rope.get("sliding_attention") or {}
    if not isinstance(wide, dict) or not isinstance(local, dict):
        raise ValueError(f"{where}: rope_parameters {rope!r}; objects allowed in it.")
    parts.refuse(local, f"{where}: sliding_attention", "rope_type", "default")
    parts.refuse(wide, where, "partial_rotary_factor", 1.0)
    parts.refuse(local, where, "partial_rotary_factor", 1.0)
    theta = value.get("rope_theta", 1e6)
    fields |= hf_rope.read(value, where, wide, theta)
    if "window" in fields:
        theta = value.get("rope_local_base_freq", 1e4)
        fields["rope_local_theta"] = local.get("rope_theta", theta)
    softcap = value.get("final_logit_softcapping") or 0.0
    return {**fields, "qk_norm": True, "logit_softcap": softcap}


def _write_gemma3(c):
    if c.width % c.heads:
        return None
    value = _write_gemma("Gemma3ForCausalLM", c)
    return {**value, "rope_local_base_freq": c.rope_local_theta or 1e4}


LLAMA = _family(_read_llama, _write_llama)
MISTRAL = _family(_read_mistral, _write_mistral)
QWEN2 = _family(_read_qwen2, _write_qwen2)
QWEN3 = _family(_read_qwen3, _write_qwen3)
GEMMA2 = _family(_read_gemma2, _write_gemma2)
GEMMA3 = _family(_read_gemma3, _write_gemma3)
