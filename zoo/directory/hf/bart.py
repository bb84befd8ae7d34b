"""BART and Marian: post-norm, biases, one table or two.

Sources: Lewis et al. 2019 (BART, arXiv:1910.13461); Junczys-Dowmunt et al. 2018
(Marian, arXiv:1804.00344).
"""

from zoo.directory.hf import parts
from zoo.directory.hf.parts import Family, WeightMapping

_OFFSET = 2  # rows of BART's position embeddings before that of position 0
BIAS = "final_logits_bias"
TABLES = ("model.encoder.embed_tokens.weight", "model.decoder.embed_tokens.weight")


def _read(value, where, marian, start_id=None, padding_id=None):
    """Reads what BART and Marian have."""
    for field, allowed in (
        ("is_decoder", False),
        ("normalize_before", False),
        ("add_final_layer_norm", False),
        ("normalize_embedding", not marian),
        ("static_position_embeddings", marian),
    ):
        parts.refuse(value, where, field, allowed)
    heads = _same(value, where, "encoder_attention_heads", "decoder_attention_heads")
    mlp_width = _same(value, where, "encoder_ffn_dim", "decoder_ffn_dim")
    own = value.get("zoo")
    own = own if isinstance(own, dict) else {}
    return {
        "vocab_size": value["vocab_size"],
        "context": value["max_position_embeddings"],
        "width": value["d_model"],
        "encoder_layers": value["encoder_layers"],
        "layers": value["decoder_layers"],
        "heads": heads,
        "mlp_width": mlp_width,
        "scaled_embedding": bool(value.get("scale_embedding", False)),
        "embedding_norm": not marian,
        "norm_place": "post",
        "norm_epsilon": 1e-5,
        "activation": parts.activation(value.get("activation_function", "gelu"), where),
        "tied_head": value.get("tie_word_embeddings", True),
        "head_bias": own.get("head_bias", True),
        "start_id": parts.integer(value, where, "decoder_start_token_id", start_id),
        "padding_id": parts.integer(value, where, "pad_token_id", padding_id),
        "dropout": value.get("dropout", 0.1),
    }


def _same(value, where, field, other):
    """Returns a field that must be equal for the encoder and the decoder."""
    parts.refuse(value, where, other, value[field])
    return value[field]


def _read_bart(value, where):
    learned = {"positions": "learned", "position_offset": _OFFSET}
    return {**_read(value, where, False, 2, 1), **learned}


def _read_marian(value, where):
    fields = {**_read(value, where, True), "positions": "sinusoidal"}
    parts.refuse(value, where, "share_encoder_decoder_embeddings", True, False)
    if not value.get("share_encoder_decoder_embeddings", True):
        fields["source_vocab_size"] = value["vocab_size"]
        fields["vocab_size"] = value.get("decoder_vocab_size") or value["vocab_size"]
    else:
        count = value["vocab_size"]
        parts.refuse(value, where, "decoder_vocab_size", count, None)
    return fields


def _write(architecture, c):
    """Writes what BART and Marian have."""
    value = {
        "architectures": [architecture],
        "is_encoder_decoder": True,
        "vocab_size": c.vocab_size,
        "max_position_embeddings": c.context,
        "d_model": c.width,
        "encoder_layers": c.encoder_layers,
        "decoder_layers": c.layers,
        "encoder_attention_heads": c.heads,
        "decoder_attention_heads": c.heads,
        "encoder_ffn_dim": c.mlp_width,
        "decoder_ffn_dim": c.mlp_width,
        "scale_embedding": c.scaled_embedding,
        "activation_function": parts.hf_activation(c.activation),
        "tie_word_embeddings": c.tied_head,
        "pad_token_id": c.padding_id,
        "decoder_start_token_id": c.start_id,
        "dropout": c.dropout,
        "attention_dropout": 0.0,
        "activation_dropout": 0.0,
    }
    return value if c.head_bias else {**value, "zoo": {"head_bias": False}}


def _write_bart(c):
    return _write("BartForConditionalGeneration", c)


def _write_marian(c):
    value = _write("MarianMTModel", c)
    if c.source_vocab_size:
        value["vocab_size"] = c.source_vocab_size
    two = {"share_encoder_decoder_embeddings": not c.source_vocab_size}
    return {**value, "decoder_vocab_size": c.vocab_size, **two}


def _mappings(c):
    D, F, V = c.width, c.mlp_width, c.vocab_size
    tables = {"embedding": ("model.shared.weight", V)}
    if c.source_vocab_size:
        tables = {
            "source_embedding": (TABLES[0], c.source_vocab_size),
            "embedding": (TABLES[1], V),
        }
    for path, (name, count) in tables.items():
        yield WeightMapping(f"{path}/weight", (name,), (count,))
    for stack, layers in (("encoder", c.encoder_layers), ("decoder", c.layers)):
        if c.positions == "learned":
            name, rows = f"model.{stack}.embed_positions.weight", c.context + _OFFSET
            yield WeightMapping(f"{stack}/position/weight", (name,), (rows,))
        if c.embedding_norm:
            yield from parts.norm(
                f"{stack}/embedding_norm", f"model.{stack}.layernorm_embedding", D, c
            )
        for i in range(layers):
            block, layer = f"{stack}/block_{i}", f"model.{stack}.layers.{i}"
            own = f"{layer}.self_attn"
            names = tuple(f"{own}.{x}_proj" for x in "qkv")
            yield from parts.linear(f"{block}/attention/qkv", names, (D,) * 3, True)
            yield from parts.linear(
                f"{block}/attention/out", f"{own}.out_proj", (D,), True
            )
            yield from parts.norm(f"{block}/attention_norm", f"{own}_layer_norm", D, c)
            if stack == "decoder":
                path, cross = f"{block}/cross_attention", f"{layer}.encoder_attn"
                names = (f"{cross}.k_proj", f"{cross}.v_proj")
                yield from parts.linear(f"{path}/q", f"{cross}.q_proj", (D,), True)
                yield from parts.linear(f"{path}/kv", names, (D,) * 2, True)
                yield from parts.linear(f"{path}/out", f"{cross}.out_proj", (D,), True)
                yield from parts.norm(
                    f"{block}/cross_norm", f"{cross}_layer_norm", D, c
                )
            yield from parts.linear(f"{block}/mlp/up", f"{layer}.fc1", (F,), True)
            yield from parts.linear(f"{block}/mlp/down", f"{layer}.fc2", (D,), True)
            yield from parts.norm(
                f"{block}/mlp_norm", f"{layer}.final_layer_norm", D, c
            )
    if not c.tied_head:
        yield WeightMapping("head/weight", ("lm_head.weight",), (V,))
    if c.head_bias:
        path = "head_bias" if c.tied_head else "head/bias"
        yield WeightMapping(path, (BIAS,), (V,), row=True)


def with_tensors(value, tensors, shapes):
    """Returns a config.json that says whether the file has a bias of the head."""
    del tensors
    own = value.get("zoo")
    own = own if isinstance(own, dict) else {}
    return {**value, "zoo": {**own, "head_bias": BIAS in shapes}}


_NAMES = (
    (r"^(?=shared\.|encoder\.|decoder\.)", "model."),
    (r"^model\.(encoder|decoder)\.version$", None),
)
_SINES = (r"^model\.(encoder|decoder)\.embed_positions\.weight$", None)
BART = Family(_read_bart, _write_bart, _mappings, _NAMES, TABLES)
MARIAN = Family(_read_marian, _write_marian, _mappings, (*_NAMES, _SINES), TABLES)
