"""GPT-2 and OPT: learned positions, layer norms, sequential residuals.

Sources: Radford et al. 2019; Zhang et al. 2022 (OPT, arXiv:2205.01068).
"""

from zoo.directory.hf import parts
from zoo.directory.hf.parts import Family, WeightMapping

_OPT_OFFSET = 2  # rows of the position embedding before that of position 0


def _read_gpt2(value, where):
    parts.refuse(value, where, "scale_attn_by_inverse_layer_idx", False)
    parts.refuse(value, where, "scale_attn_weights", True)
    activation = value.get("activation_function", "gelu_new")
    return dict(
        vocab_size=value["vocab_size"],
        context=value["n_positions"],
        width=value["n_embd"],
        layers=value["n_layer"],
        heads=value["n_head"],
        mlp_width=value.get("n_inner") or 0,
        activation=parts.activation(activation, where),
        norm_epsilon=value.get("layer_norm_epsilon", 1e-5),
        tied_head=value.get("tie_word_embeddings", True),
        dropout=value.get("resid_pdrop", 0.1),
    )


def _write_gpt2(c):
    return {
        "architectures": ["GPT2LMHeadModel"],
        "vocab_size": c.vocab_size,
        "n_positions": c.context,
        "n_embd": c.width,
        "n_layer": c.layers,
        "n_head": c.heads,
        "n_inner": c.mlp_width,
        "activation_function": parts.hf_activation(c.activation),
        "layer_norm_epsilon": c.norm_epsilon,
        "tie_word_embeddings": c.tied_head,
        "resid_pdrop": c.dropout,
        "embd_pdrop": c.dropout,
        "attn_pdrop": 0.0,
    }


def _mappings_gpt2(c):
    D, F, V = c.width, c.mlp_width, c.vocab_size
    yield WeightMapping("embedding/weight", ("transformer.wte.weight",), (V,))
    yield WeightMapping("position/weight", ("transformer.wpe.weight",), (c.context,))
    for i in range(c.layers):
        block, layer = f"block_{i}", f"transformer.h.{i}"
        for path, hf_name, size in (
            ("attention/qkv", "attn.c_attn", 3 * D),
            ("attention/out", "attn.c_proj", D),
            ("mlp/up", "mlp.c_fc", F),
            ("mlp/down", "mlp.c_proj", D),
        ):
            yield from parts.linear(
                f"{block}/{path}", f"{layer}.{hf_name}", (size,), True, transposed=True
            )
        yield from parts.norm(f"{block}/attention_norm", f"{layer}.ln_1", D, c)
        yield from parts.norm(f"{block}/mlp_norm", f"{layer}.ln_2", D, c)
    yield from parts.norm("norm", "transformer.ln_f", D, c)
    if not c.tied_head:
        yield from parts.linear("head", "lm_head", (V,), False)


def _read_opt(value, where):
    parts.refuse(value, where, "do_layer_norm_before", True)
    parts.refuse(value, where, "_remove_final_layer_norm", False)
    parts.refuse(value, where, "layer_norm_elementwise_affine", True)
    parts.refuse(value, where, "word_embed_proj_dim", value["hidden_size"], None)
    bias = value.get("enable_bias", True)
    return dict(
        vocab_size=value["vocab_size"],
        context=value["max_position_embeddings"],
        position_offset=_OPT_OFFSET,
        width=value["hidden_size"],
        layers=value["num_hidden_layers"],
        heads=value["num_attention_heads"],
        mlp_width=value["ffn_dim"],
        norm_epsilon=1e-5,
        activation=parts.activation(value.get("activation_function", "relu"), where),
        qkv_bias=bias,
        out_bias=bias,
        mlp_bias=bias,
        tied_head=value.get("tie_word_embeddings", True),
        dropout=value.get("dropout", 0.1),
    )


def _write_opt(c):
    return {
        "architectures": ["OPTForCausalLM"],
        "vocab_size": c.vocab_size,
        "max_position_embeddings": c.context,
        "hidden_size": c.width,
        "word_embed_proj_dim": c.width,
        "num_hidden_layers": c.layers,
        "num_attention_heads": c.heads,
        "ffn_dim": c.mlp_width,
        "activation_function": parts.hf_activation(c.activation),
        "do_layer_norm_before": True,
        "enable_bias": c.mlp_bias,
        "tie_word_embeddings": c.tied_head,
        "dropout": c.dropout,
        "attention_dropout": 0.0,
    }


def _mappings_opt(c):
    D, F, V = c.width, c.mlp_width, c.vocab_size
    body = "model.decoder"
    positions = c.context + c.position_offset
    yield WeightMapping("embedding/weight", (f"{body}.embed_tokens.weight",), (V,))
    yield WeightMapping(
        "position/weight", (f"{body}.embed_positions.weight",), (positions,)
    )
    for i in range(c.layers):
        block, layer = f"block_{i}", f"{body}.layers.{i}"
        yield from parts.norm(
            f"{block}/attention_norm", f"{layer}.self_attn_layer_norm", D, c
        )
        yield from parts.attention(
            f"{block}/attention", f"{layer}.self_attn", c, "out_proj"
        )
        yield from parts.norm(f"{block}/mlp_norm", f"{layer}.final_layer_norm", D, c)
        yield from parts.linear(f"{block}/mlp/up", f"{layer}.fc1", (F,), c.mlp_bias)
        yield from parts.linear(f"{block}/mlp/down", f"{layer}.fc2", (D,), c.mlp_bias)
    yield from parts.norm("norm", f"{body}.final_layer_norm", D, c)
    if not c.tied_head:
        yield from parts.linear("head", "lm_head", (V,), False)


GPT2 = Family(
    _read_gpt2,
    _write_gpt2,
    _mappings_gpt2,
    (
        (r"\.attn\.(masked_)?bias$", None),  # the causal mask of old files
        (r"^(?=wte\.|wpe\.|h\.|ln_f\.)", "transformer."),
    ),
)
OPT = Family(_read_opt, _write_opt, _mappings_opt, ((r"^decoder\.", "model.decoder."),))
