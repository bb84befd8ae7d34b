"""What `benchmarks.compare_checkouts` asks the Python API of a checkout.

`compare_checkouts` feeds this source to a Python process in the checkout's folder. The
source uses only names that every checkout has: zoo.build, zoo.load and zoo.save.
"""

import json
import pathlib
import sys

import keras
import numpy as np
import tensorflow as tf

import zoo

_LM = {"vocab_size": 300, "context": 16, "width": 32, "layers": 2}
_MODELS = {
    "transformer_lm": {**_LM, "heads": 4},
    "transformer_lm, Llama's choices": {
        **_LM,
        "heads": 4,
        "kv_heads": 2,
        "norm": "rmsnorm",
        "positions": "rotary",
        "activation": "silu",
        "gated": True,
        "qkv_bias": False,
        "tied_head": False,
        "logit_softcap": 5.0,
        "window": 5,
    },
    "lstm_lm": {**_LM, "units": 24},
    "gru_lm": {**_LM, "units": 32, "tied_head": True},
    "rnn_lm": {**_LM, "units": 24},
    "text_encoder": {**_LM, "heads": 4},
    "dense_net": {"features": 5, "classes": 3, "widths": (8, 4)},
    "keras_hub": {
        "kind": "Falcon",
        "context": 16,
        "settings": {
            "vocabulary_size": 300,
            "num_layers": 2,
            "num_attention_heads": 4,
            "hidden_dim": 32,
            "intermediate_dim": 64,
        },
    },
}


def main(families, output):
    """Writes arrays.npz and directories into `output`.

    Args:
      families: the folder of golden model directories.
      output: an empty folder.
    """
    arrays, written = {}, []
    tokens_BT = tf.random.stateless_uniform([2, 9], [1, 2], 0, 300, tf.int32)
    for title, fields in _MODELS.items():
        keras.utils.set_random_seed(7)
        model = zoo.build(title.split(",")[0], **fields)
        for i, weight in enumerate(model.weights):
            name = f"built {title}: first weight {i:03d} {list(weight.shape)}"
            arrays[name] = np.asarray(weight)
            noise = tf.random.stateless_normal(weight.shape, [i, 3], stddev=0.3)
            weight.assign(weight + noise)
        dense = title == "dense_net"
        inputs = tf.random.stateless_normal([2, 5], [1, 2]) if dense else tokens_BT
        arrays[f"built {title}: output"] = model(inputs).numpy()
    for config in sorted(families.glob("**/config.json")):
        golden = config.parent / "golden.npz"
        if not golden.exists():
            continue
        name = config.parent.relative_to(families).as_posix()
        loaded = zoo.load(config.parent)
        arrays[f"loaded {name}: output"] = loaded.model(
            tf.constant(np.load(golden)["tokens"])
        ).numpy()
        zoo.save(output / name, loaded.model, loaded.tokenizer)
        written.append(name)
    np.savez(output / "arrays.npz", **arrays)
    (output / "written.json").write_text(json.dumps(written), encoding="utf-8")


main(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))
