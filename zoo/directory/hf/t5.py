"""T5, Flan-T5 and mT5: relative positions, RMS norms, no biases.

Sources: Raffel et al. 2019 (T5, arXiv:1910.10683); Xue et al. 2020 (mT5,
arXiv:2010.11934); Chung et al. 2022 (Flan-T5, arXiv:2210.11416).
"""

from zoo.directory.hf import parts
from zoo.directory.hf.parts import Family, WeightMapping

_HEAD = "lm_head.weight"
TABLES = ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight")


def _read(value, where):
    """Reads what T5 and mT5 have; the head's input is not scaled."""
    parts.refuse(value, where, "is_decoder", False)
    padding_id = parts.integer(value, where, "pad_token_id", 0)
    name = value.get("feed_forward_proj", "relu")
    words = name.split("-") if isinstance(name, str) else []
    if len(words) not in (1, 2) or (len(words) == 2 and words[0] != "gated"):
        raise ValueError(
            f"{where}: feed_forward_proj {name!r}; an activation, or 'gated-' and an "
            "activation allowed."
        )
    # "gated-gelu" stands for the approximation, and "gelu" for itself.
    act = "gelu_new" if name == "gated-gelu" else words[-1]
    layers = parts.integer(value, where, "num_layers")
    start_id = value.get("decoder_start_token_id")
    return {
        "vocab_size": value["vocab_size"],
        "context": 0,
        "width": value["d_model"],
        "encoder_layers": layers,
        "layers": value.get("num_decoder_layers") or layers,
        "heads": value["num_heads"],
        "head_width": value["d_kv"],
        "mlp_width": value["d_ff"],
        "norm": "rmsnorm",
        "norm_epsilon": value.get("layer_norm_epsilon", 1e-6),
        "positions": "relative",
        "relative_buckets": value.get("relative_attention_num_buckets", 32),
        "relative_distance": value.get("relative_attention_max_distance", 128),
        "query_scalar": 1,
        "activation": parts.activation(act, where),
        "gated": len(words) == 2,
        "attention_bias": False,
        "mlp_bias": False,
        "tied_head": value.get("tie_word_embeddings") is not False,
        "padding_id": padding_id,
        "start_id": padding_id if start_id is None else start_id,
        "dropout": value.get("dropout_rate", 0.1),
    }


def _read_t5(value, where):
    fields = _read(value, where)
    # The first T5 scaled, 1.1 did not. transformers 5 has a field for it, 4 had none.
    scaled = value.get("scale_decoder_outputs", fields["tied_head"])
    if scaled:
        fields["logit_scale"] = fields["width"] ** -0.5
    return fields


def _write(c):
    activation = parts.hf_activation(c.activation)
    if c.gated:
        activation = f"gated-{activation}".replace("gelu_new", "gelu")
    return {
        "architectures": ["T5ForConditionalGeneration"],
        "is_encoder_decoder": True,
        "vocab_size": c.vocab_size,
        "d_model": c.width,
        "d_kv": c.head_width,
        "d_ff": c.mlp_width,
        "num_layers": c.encoder_layers,
        "num_decoder_layers": c.layers,
        "num_heads": c.heads,
        "relative_attention_num_buckets": c.relative_buckets,
        "relative_attention_max_distance": c.relative_distance,
        "layer_norm_epsilon": c.norm_epsilon,
        "feed_forward_proj": activation,
        "tie_word_embeddings": c.tied_head,
        "scale_decoder_outputs": c.logit_scale != 1.0,
        "pad_token_id": c.padding_id,
        "decoder_start_token_id": c.start_id,
        "dropout_rate": c.dropout,
    }


def _mappings(c):
    D, F, V = c.width, c.mlp_width, c.vocab_size
    inner = c.heads * c.head_width
    yield WeightMapping("embedding/weight", ("shared.weight",), (V,))
    for stack, layers in (("encoder", c.encoder_layers), ("decoder", c.layers)):
        bias = f"{stack}.block.0.layer.0.SelfAttention.relative_attention_bias.weight"
        yield WeightMapping(f"{stack}/relative/weight", (bias,), (c.relative_buckets,))
        for i in range(layers):
            block, layer = f"{stack}/block_{i}", f"{stack}.block.{i}.layer"
            own = f"{layer}.0.SelfAttention"
            names = tuple(f"{own}.{x}" for x in "qkv")
            yield from parts.norm(
                f"{block}/attention_norm", f"{layer}.0.layer_norm", D, c
            )
            yield from parts.linear(
                f"{block}/attention/qkv", names, (inner,) * 3, False
            )
            yield from parts.linear(f"{block}/attention/out", f"{own}.o", (D,), False)
            last = f"{layer}.1"
            if stack == "decoder":
                last, cross = f"{layer}.2", f"{layer}.1.EncDecAttention"
                path = f"{block}/cross_attention"
                yield from parts.norm(
                    f"{block}/cross_norm", f"{layer}.1.layer_norm", D, c
                )
                yield from parts.linear(f"{path}/q", f"{cross}.q", (inner,), False)
                names = (f"{cross}.k", f"{cross}.v")
                yield from parts.linear(f"{path}/kv", names, (inner,) * 2, False)
                yield from parts.linear(f"{path}/out", f"{cross}.o", (D,), False)
            yield from parts.norm(f"{block}/mlp_norm", f"{last}.layer_norm", D, c)
            mlp = f"{last}.DenseReluDense"
            names = (f"{mlp}.wi_0", f"{mlp}.wi_1") if c.gated else (f"{mlp}.wi",)
            yield from parts.linear(f"{block}/mlp/up", names, (F,) * len(names), False)
            yield from parts.linear(f"{block}/mlp/down", f"{mlp}.wo", (D,), False)
        yield from parts.norm(f"{stack}/norm", f"{stack}.final_layer_norm", D, c)
    if not c.tied_head:
        yield from parts.linear("head", "lm_head", (V,), False)


def with_tensors(value, tensors, shapes):
    """Returns a config.json whose `tie_word_embeddings` is what the file has.

    transformers 5 writes true for every model, and reads a head that the file has. It
    ties a head that the file has not.
    """
    tied = value.get("tie_word_embeddings") is not False
    scaled = value.get("scale_decoder_outputs", tied)
    table = next((name for name in ("shared.weight", *TABLES) if name in shapes), None)
    if _HEAD in shapes and tied and table is not None:
        same = shapes[_HEAD] == shapes[table]
        tied = same and bool((tensors[_HEAD] == tensors[table]).all())
    elif _HEAD not in shapes:
        tied = True
    value = {**value, "tie_word_embeddings": tied}
    if value["model_type"] == "t5":
        value["scale_decoder_outputs"] = scaled
    return value


_NAMES = (
    (r"^transformer\.", ""),
    # Old files have this table, which no layer reads.
    (r"^decoder\.block\.0\.layer\.1\.EncDecAttention\.relative_attention_bias\.", None),
)
T5 = Family(_read_t5, _write, _mappings, _NAMES, TABLES)
MT5 = Family(_read, _write, _mappings, _NAMES, TABLES)
