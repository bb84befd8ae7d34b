"""GPT-NeoX (Pythia) and Phi: layer norms, partly rotated heads, parallel residuals.

Sources: Black et al. 2022 (arXiv:2204.06745); Biderman et al. 2023 (Pythia,
arXiv:2304.01373); Li et al. 2023 (Phi, arXiv:2309.05463).
"""

from zoo.directory.hf import parts
from zoo.directory.hf import rope as hf_rope
from zoo.directory.hf.parts import Family, WeightMapping


def _read(value, where, activation):
    """Reads what both families have; `activation` is the default of `hidden_act`."""
    return {
        **parts.read_common(value),
        "norm_epsilon": value.get("layer_norm_eps", 1e-5),
        "positions": "rotary",
        "activation": parts.activation(value.get("hidden_act", activation), where),
        "tied_head": value.get("tie_word_embeddings", False),
    }


def _write(architecture, c):
    """Writes what both families have."""
    return {
        **parts.write_common(architecture, c),
        "hidden_act": parts.hf_activation(c.activation),
        "layer_norm_eps": c.norm_epsilon,
        "tie_word_embeddings": c.tied_head,
        "attention_dropout": 0.0,
        **hf_rope.write(c),
    }


# ------------------------------------------------------------------ GPT-NeoX


def _read_neox(value, where):
    rope = hf_rope.find(value, where)
    theta = value.get("rotary_emb_base", 10000.0)
    share = value.get("rotary_pct", 0.25)
    bias = value.get("attention_bias", True)
    parts.refuse(value, where, "use_parallel_residual", True, False)
    parallel = value.get("use_parallel_residual", True)
    return {
        **_read(value, where, "gelu"),
        **hf_rope.read(value, where, rope, theta, share),
        "residual": "parallel" if parallel else "sequential",
        "qkv_bias": bias,
        "out_bias": bias,
        "dropout": value.get("hidden_dropout", 0.0),
    }


def _write_neox(c):
    if c.width % c.heads:
        return None
    return {
        **_write("GPTNeoXForCausalLM", c),
        "rotary_emb_base": c.rope_theta,
        "rotary_pct": c.rotary_fraction,
        "use_parallel_residual": c.residual == "parallel",
        "attention_bias": c.qkv_bias,
        "hidden_dropout": c.dropout,
    }


def _mappings_neox(c):
    D, F, V = c.width, c.mlp_width, c.vocab_size
    yield WeightMapping("embedding/weight", ("gpt_neox.embed_in.weight",), (V,))
    for i in range(c.layers):
        block, layer = f"block_{i}", f"gpt_neox.layers.{i}"
        yield from parts.norm(
            f"{block}/attention_norm", f"{layer}.input_layernorm", D, c
        )
        yield from parts.linear(
            f"{block}/attention/qkv",
            f"{layer}.attention.query_key_value",
            (3 * D,),
            c.qkv_bias,
            heads=c.heads,
        )
        out = f"{layer}.attention.dense"
        yield from parts.linear(f"{block}/attention/out", out, (D,), c.out_bias)
        yield from parts.norm(
            f"{block}/mlp_norm", f"{layer}.post_attention_layernorm", D, c
        )
        up, down = f"{layer}.mlp.dense_h_to_4h", f"{layer}.mlp.dense_4h_to_h"
        yield from parts.linear(f"{block}/mlp/up", up, (F,), True)
        yield from parts.linear(f"{block}/mlp/down", down, (D,), True)
    yield from parts.norm("norm", "gpt_neox.final_layer_norm", D, c)
    if not c.tied_head:
        yield from parts.linear("head", "embed_out", (V,), False)


# ------------------------------------------------------------------ Phi


def _read_phi(value, where):
    rope = hf_rope.find(value, where)
    theta = value.get("rope_theta", 10000.0)
    share = value.get("partial_rotary_factor", 0.5)
    return {
        **_read(value, where, "gelu_new"),
        **hf_rope.read(value, where, rope, theta, share),
        "kv_heads": value.get("num_key_value_heads") or 0,
        "residual": "parallel_shared",
        "qk_norm": value.get("qk_layernorm", False),
        "head_bias": True,
        "dropout": value.get("resid_pdrop", 0.0),
    }


def _write_phi(c):
    return {
        **_write("PhiForCausalLM", c),
        "num_key_value_heads": c.kv_heads,
        "rope_theta": c.rope_theta,
        "partial_rotary_factor": c.rotary_fraction,
        "qk_layernorm": c.qk_norm,
        "resid_pdrop": c.dropout,
        "embd_pdrop": c.dropout,
    }


def _mappings_phi(c):
    D, F, V = c.width, c.mlp_width, c.vocab_size
    yield WeightMapping("embedding/weight", ("model.embed_tokens.weight",), (V,))
    for i in range(c.layers):
        block, layer = f"block_{i}", f"model.layers.{i}"
        yield from parts.norm(
            f"{block}/attention_norm", f"{layer}.input_layernorm", D, c
        )
        yield from parts.attention(
            f"{block}/attention", f"{layer}.self_attn", c, "dense", "layernorm"
        )
        yield from parts.linear(f"{block}/mlp/up", f"{layer}.mlp.fc1", (F,), True)
        yield from parts.linear(f"{block}/mlp/down", f"{layer}.mlp.fc2", (D,), True)
    yield from parts.norm("norm", "model.final_layernorm", D, c)
    yield from parts.linear("head", "lm_head", (V,), True)


NEOX = Family(
    _read_neox,
    _write_neox,
    _mappings_neox,
    (
        (r"\.attention\.(masked_)?bias$", None),  # the causal mask of old files
        (r"\.rotary_emb\.inv_freq$", None),
        (r"^lm_head\.", "embed_out."),
        (r"^(?=embed_in\.|layers\.|final_layer_norm\.)", "gpt_neox."),
    ),
)
PHI = Family(
    _read_phi,
    _write_phi,
    _mappings_phi,
    ((r"\.rotary_emb\.inv_freq$", None),),
)
