"""BERT and RoBERTa: encoders, whose pooler and heads are left out.

Sources: Devlin et al. 2018 (BERT, arXiv:1810.04805); Liu et al. 2019 (RoBERTa,
arXiv:1907.11692).
"""

from zoo.directory.hf import parts
from zoo.directory.hf.parts import Family, Row

# A key that config.json has in memory only: what sentence-transformers writes into
# files of its own; see `sentence_files`.
SENTENCE = "sentence_transformers"


def _read(value, where, padding_id, offset=0):
    parts.refuse(value, where, "position_embedding_type", "absolute")
    parts.refuse(value, where, "is_decoder", False)
    parts.refuse(value, where, "add_cross_attention", False)
    return dict(
        vocab_size=value["vocab_size"],
        context=parts.whole(value, where, "max_position_embeddings") - offset,
        width=value["hidden_size"],
        layers=value["num_hidden_layers"],
        heads=value["num_attention_heads"],
        mlp_width=value["intermediate_size"],
        types=value.get("type_vocab_size", 2),
        padding_id=padding_id,
        position_offset=offset,
        activation=parts.activation(value.get("hidden_act", "gelu"), where),
        norm_epsilon=value.get("layer_norm_eps", 1e-12),
        dropout=value.get("hidden_dropout_prob", 0.1),
        **value.get(SENTENCE, {}),
    )


def _write(c, architecture):
    return {
        "architectures": [architecture],
        "vocab_size": c.vocab_size,
        "max_position_embeddings": c.context + c.position_offset,
        "hidden_size": c.width,
        "num_hidden_layers": c.layers,
        "num_attention_heads": c.heads,
        "intermediate_size": c.mlp_width,
        "type_vocab_size": c.types,
        "pad_token_id": c.padding_id,
        "hidden_act": parts.their_activation(c.activation),
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
    padding_id = parts.whole({"pad_token_id": 1, **value}, where, "pad_token_id")
    return _read(value, where, padding_id, offset=padding_id + 1)


def _write_roberta(c):
    return _write(c, "RobertaModel")


def _rows(c):
    D, F = c.width, c.mlp_width
    rows = c.context + c.position_offset
    for ours, theirs, count in (
        ("embedding", "word_embeddings", c.vocab_size),
        ("position", "position_embeddings", rows),
        ("type_embedding", "token_type_embeddings", c.types),
    ):
        yield Row(f"{ours}/weight", (f"embeddings.{theirs}.weight",), (count,))
    yield from _norm("norm", "embeddings.LayerNorm", D)
    for i in range(c.layers):
        us, them = f"block_{i}", f"encoder.layer.{i}"
        names = [f"{them}.attention.self.{x}" for x in ("query", "key", "value")]
        yield from parts.linear(f"{us}/attention/qkv", tuple(names), (D, D, D), True)
        yield from parts.linear(
            f"{us}/attention/out", f"{them}.attention.output.dense", (D,), True
        )
        yield from _norm(
            f"{us}/attention_norm", f"{them}.attention.output.LayerNorm", D
        )
        yield from parts.linear(
            f"{us}/mlp/up", f"{them}.intermediate.dense", (F,), True
        )
        yield from parts.linear(f"{us}/mlp/down", f"{them}.output.dense", (D,), True)
        yield from _norm(f"{us}/mlp_norm", f"{them}.output.LayerNorm", D)


def _norm(ours, theirs, width):
    yield Row(f"{ours}/scale", (f"{theirs}.weight",), (width,))
    yield Row(f"{ours}/bias", (f"{theirs}.bias",), (width,))


_NAMES = (
    (r"^(pooler|cls|lm_head)\.", None),
    (r"^embeddings\.(position_ids|token_type_ids)$", None),
    (r"\.LayerNorm\.gamma$", ".LayerNorm.weight"),  # of the first files
    (r"\.LayerNorm\.beta$", ".LayerNorm.bias"),
)

BERT = Family(_read_bert, _write_bert, _rows, ((r"^bert\.", ""), *_NAMES))
ROBERTA = Family(_read_roberta, _write_roberta, _rows, ((r"^roberta\.", ""), *_NAMES))
