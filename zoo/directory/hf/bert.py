"""BERT and RoBERTa. Their encoders are read, without the pooler and the heads.

Sources: Devlin et al. 2018 (BERT, arXiv:1810.04805); Liu et al. 2019 (RoBERTa,
arXiv:1907.11692).
"""

from zoo.directory.hf import parts
from zoo.directory.hf.parts import Family, WeightMapping

# A key that a config.json has in memory only. sentence-transformers writes its value
# into other files; see `sentence_transformers`.
SENTENCE = "sentence_transformers"


def _read(value, where, padding_id, offset=0):
    """Reads BERT's config.json; `offset` rows stand before that of position 0."""
    parts.refuse(value, where, "position_embedding_type", "absolute")
    parts.refuse(value, where, "is_decoder", False)
    positions = parts.integer(value, where, "max_position_embeddings")
    return {
        **parts.read_common(value),
        "context": positions - offset,
        "types": value.get("type_vocab_size", 2),
        "padding_id": padding_id,
        "position_offset": offset,
        "activation": parts.activation(value.get("hidden_act", "gelu"), where),
        "norm_epsilon": value.get("layer_norm_eps", 1e-12),
        "dropout": value.get("hidden_dropout_prob", 0.1),
        **value.get(SENTENCE, {}),
    }


def _write(c, architecture):
    return {
        **parts.write_common(architecture, c),
        "max_position_embeddings": c.context + c.position_offset,
        "type_vocab_size": c.types,
        "pad_token_id": c.padding_id,
        "hidden_act": parts.hf_activation(c.activation),
        "layer_norm_eps": c.norm_epsilon,
        "position_embedding_type": "absolute",
        "hidden_dropout_prob": c.dropout,
        "attention_probs_dropout_prob": 0.0,
        SENTENCE: {"pooling": c.pooling, "normalization": c.normalization},
    }


def _read_bert(value, where):
    padding_id = value.get("pad_token_id")
    return _read(value, where, 0 if padding_id is None else padding_id)


def _write_bert(c):
    return _write(c, "BertModel")


def _read_roberta(value, where):
    padding_id = parts.integer(value, where, "pad_token_id", 1)
    return _read(value, where, padding_id, offset=padding_id + 1)


def _write_roberta(c):
    return _write(c, "RobertaModel")


def _mappings(c):
    """Yields the weight mappings of BERT; the shapes use D = width, F = mlp_width."""
    D, F = c.width, c.mlp_width
    positions = c.context + c.position_offset
    for path, hf_name, count in (
        ("embedding", "word_embeddings", c.vocab_size),
        ("position", "position_embeddings", positions),
        ("type_embedding", "token_type_embeddings", c.types),
    ):
        yield WeightMapping(
            f"{path}/weight", (f"embeddings.{hf_name}.weight",), (count,)
        )
    yield from _norm("norm", "embeddings.LayerNorm", D)
    for i in range(c.layers):
        block, layer = f"block_{i}", f"encoder.layer.{i}"
        names = [f"{layer}.attention.self.{x}" for x in ("query", "key", "value")]
        yield from parts.linear(f"{block}/attention/qkv", tuple(names), (D, D, D), True)
        yield from parts.linear(
            f"{block}/attention/out", f"{layer}.attention.output.dense", (D,), True
        )
        yield from _norm(
            f"{block}/attention_norm", f"{layer}.attention.output.LayerNorm", D
        )
        yield from parts.linear(
            f"{block}/mlp/up", f"{layer}.intermediate.dense", (F,), True
        )
        yield from parts.linear(
            f"{block}/mlp/down", f"{layer}.output.dense", (D,), True
        )
        yield from _norm(f"{block}/mlp_norm", f"{layer}.output.LayerNorm", D)


def _norm(path, hf_name, width):
    """Yields the mappings of a layer norm."""
    yield WeightMapping(f"{path}/scale", (f"{hf_name}.weight",), (width,))
    yield WeightMapping(f"{path}/bias", (f"{hf_name}.bias",), (width,))


_NAMES = (
    (r"^(pooler|cls|lm_head)\.", None),
    (r"^embeddings\.(position_ids|token_type_ids)$", None),
    (r"\.LayerNorm\.gamma$", ".LayerNorm.weight"),  # names in the first published files
    (r"\.LayerNorm\.beta$", ".LayerNorm.bias"),
)

BERT = Family(_read_bert, _write_bert, _mappings, ((r"^bert\.", ""), *_NAMES))
ROBERTA = Family(
    _read_roberta, _write_roberta, _mappings, ((r"^roberta\.", ""), *_NAMES)
)
