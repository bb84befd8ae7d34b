"""Small models of many families, and their directories."""

import json

import tensorflow as tf

from zoo import models

SMALL = {"vocab_size": 300, "context": 16, "width": 32, "layers": 2}
LLAMA = {
    "heads": 4,
    "kv_heads": 2,
    "norm": "rmsnorm",
    "positions": "rotary",
    "activation": "silu",
    "gated": True,
    "qkv_bias": False,
    "out_bias": False,
    "mlp_bias": False,
    "tied_head": False,
}
FAMILIES = {
    "gpt2": ("transformer_lm", {**SMALL, "heads": 4}),
    "gpt2-free-head": ("transformer_lm", {**SMALL, "heads": 4, "tied_head": False}),
    "llama": ("transformer_lm", {**SMALL, **LLAMA}),
    "llama-biased": (
        "transformer_lm",
        {**SMALL, **LLAMA, "qkv_bias": True, "out_bias": True, "mlp_bias": True},
    ),
    "zoo-transformer_lm": (
        "transformer_lm",
        {**SMALL, "heads": 2, "norm_place": "post", "logit_softcap": 5.0},
    ),
    "zoo-lstm_lm": ("lstm_lm", {**SMALL, "units": 24}),
    "zoo-gru_lm": ("gru_lm", {**SMALL, "units": 32, "tied_head": True}),
    "zoo-rnn_lm": ("rnn_lm", {**SMALL, "units": 24}),
    "zoo-dense_net": ("dense_net", {"features": 5, "classes": 3, "widths": (8, 4)}),
}
INPUTS = {
    "lm": tf.random.stateless_uniform([2, 9], [1, 2], 0, 300, tf.int32),
    "dense": tf.random.stateless_normal([2, 5], [1, 2]),
}


def built(family):
    name, fields = FAMILIES[family]
    model = models.build(name, **fields)
    for i, v in enumerate(model.weights):
        if v.dtype == "float32":
            v.assign(v + tf.random.stateless_normal(v.shape, [i, 3], stddev=0.3))
    return model


def output(model, family):
    return model(INPUTS["dense" if "dense" in family else "lm"]).numpy()


def read(folder, name="config.json"):
    return json.loads((folder / name).read_text(encoding="utf-8"))


def write(folder, value, name="config.json"):
    """Writes a JSON file, as another program does: without digests."""
    (folder / "SHA256SUMS").unlink(missing_ok=True)
    (folder / name).write_text(json.dumps(value), encoding="utf-8")
