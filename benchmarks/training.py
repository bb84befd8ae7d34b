"""Training speed compared with Keras and KerasHub, on the same weights and batches.

    python -m benchmarks.training --model=transformer --precision=float32
    python -m benchmarks.training --model=lstm

The Transformer is GPT-2-shaped: 6 layers, width 384, vocabulary 8192, context 256,
batch 8, against `KerasHub GPT2CausalLM.fit`. The LSTM LM has 2 layers of 512,
vocabulary 8192, length 128, batch 32, against a Keras Sequential and `fit`. Both sides
start from our initial weights, so the losses must agree. The sides run in turn, each in
its own processes. The ratio is that of the medians.

The unit of time is one step: from the end of one step, with its loss on the host, to
the end of the next. A pass over a finite data set would not do. With autotuning on,
TensorFlow 2.21 reports the end of such a data set late, at 10 ms x (2^k - 1) after its
start. So the data sets here repeat for ever, with autotuning off.
"""

import itertools
import json
import statistics
import time

from absl import app, flags

from benchmarks import processes

_MODEL = flags.DEFINE_enum("model", "transformer", ["transformer", "lstm"], "Which.")
_PRECISION = flags.DEFINE_enum("precision", "float32", ["float32", "bfloat16"], "")
_ROUNDS = flags.DEFINE_integer("rounds", 3, "Processes of each side.")
_SIDE = flags.DEFINE_enum("side", None, ["ours", "theirs"], "Runs one side once.")

_STEPS = 10  # that the losses are compared over
_TIMED = 20  # steps after those
_SHAPES = {"transformer": (8, 256), "lstm": (32, 128)}
_V = 8192
_ADAMW = {"beta_2": 0.999, "epsilon": 1e-7, "weight_decay": 0.004}


def main(argv):
    del argv
    if _SIDE.value:
        print(json.dumps({"ours": ours, "theirs": theirs}[_SIDE.value]()))
        return
    rates = {"ours": [], "theirs": []}
    for _ in range(_ROUNDS.value):
        losses = {}
        for side in rates:
            given = f"--model={_MODEL.value}", f"--precision={_PRECISION.value}"
            result = processes.result(processes.own("training", side, *given))
            rates[side].append(result["tokens_per_second"])
            losses[side] = result["first"], result["mean"]
            print(f"{side:7} {rates[side][-1]:7.0f} tokens/s  {losses[side]}")
        first = abs(losses["ours"][0] - losses["theirs"][0])
        mean = abs(losses["ours"][1] - losses["theirs"][1])
        limit = 1e-3 if _PRECISION.value == "float32" else 3e-2
        if max(first, mean) > limit:
            raise SystemExit(f"the losses differ by {max(first, mean)}: no comparison")
    middle = {side: statistics.median(values) for side, values in rates.items()}
    ratio = middle["ours"] / middle["theirs"]
    print(
        f"{_MODEL.value} {_PRECISION.value}: ours {middle['ours']:.0f}, theirs "
        f"{middle['theirs']:.0f} tokens/s, ratio {ratio:.2f}"
    )


def _setup():
    import keras
    import numpy as np

    policy = {"bfloat16": "mixed_bfloat16", "float32": "float32"}[_PRECISION.value]
    keras.config.set_dtype_policy(policy)
    keras.utils.set_random_seed(1)
    from zoo import models

    if _MODEL.value == "transformer":
        model = models.build("transformer_lm", vocab_size=_V, context=256)
    else:
        model = models.build("lstm_lm", vocab_size=_V, width=512, units=512, layers=2)
    B, T = _SHAPES[_MODEL.value]
    ids = np.random.default_rng(0).integers(0, _V, (B * _STEPS, T + 1), np.int32)
    return model, ids


def ours():
    import tensorflow as tf

    from trainers import optimizers
    from trainers.objectives import LanguageModel
    from trainers.run import Optimizer
    from trainers.step import make_step

    model, ids = _setup()
    options = Optimizer(lr=1e-3, decay="constant", **_ADAMW)
    optimizer = optimizers.build(options, 1, model.trainable_variables)
    # Keras' default decays biases and norms too
    optimizer._exclude_from_weight_decay = set()
    strategy = tf.distribute.get_strategy()
    variables = model.trainable_variables
    step = make_step(strategy, {"policy": model}, LanguageModel(), optimizer, variables)
    data = {
        "tokens": ids[:, :-1],
        "targets": ids[:, 1:],
        "weights": (ids[:, 1:] >= 0).astype("float32"),
    }
    batches = iter(_endless(data, _SHAPES[_MODEL.value][0]))
    losses, ends = [], []
    for _ in range(_STEPS + _TIMED):
        losses.append(float(step(next(batches))["loss"]))
        ends.append(time.perf_counter())
    return _result(ends, losses[0], statistics.mean(losses[:_STEPS]))


def theirs():
    import keras

    model, ids = _setup()
    if _MODEL.value == "transformer":
        peer, inputs = _keras_hub(model), _padded
    else:
        peer, inputs = _keras_lstm(model), lambda x: x
    data = inputs(ids[:, :-1]), ids[:, 1:]
    dataset = _endless(data, _SHAPES[_MODEL.value][0])
    losses, ends = [], []

    class Clock(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            losses.append(logs["loss"])  # the mean since the epoch's start
            ends.append(time.perf_counter())

    peer.compile(
        keras.optimizers.AdamW(1e-3, **_ADAMW),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=False,
        weighted_metrics=None,
    )
    first = peer.test_on_batch(*next(iter(dataset)))
    first = float(first[0] if isinstance(first, list) else first)
    steps = _STEPS + _TIMED
    peer.fit(dataset, steps_per_epoch=steps, callbacks=[Clock()], verbose=0)
    return _result(ends, first, losses[_STEPS - 1])


def _endless(data, batch):
    """Batches without end, for either side."""
    import tensorflow as tf

    options = tf.data.Options()
    options.autotune.enabled = False
    dataset = tf.data.Dataset.from_tensor_slices(data).batch(batch, True).repeat()
    return dataset.prefetch(2).with_options(options)


def _result(ends, first, mean):
    """The rate of the median step after the first `_STEPS`, and the two losses."""
    B, T = _SHAPES[_MODEL.value]
    seconds = [b - a for a, b in itertools.pairwise(ends[_STEPS - 1 :])]
    rate = B * T / statistics.median(seconds)
    return {"tokens_per_second": rate, "first": first, "mean": mean}


def _padded(ids):
    return {"token_ids": ids, "padding_mask": (ids >= 0).astype("int32")}


def _keras_hub(model):
    """KerasHub's GPT-2 with our weights."""
    import keras_hub
    import numpy as np

    c = model.config
    backbone = keras_hub.models.GPT2Backbone(
        vocabulary_size=c.vocab_size,
        num_layers=c.layers,
        num_heads=c.heads,
        hidden_dim=c.width,
        intermediate_dim=4 * c.width,
        max_sequence_length=c.context,
        dropout=0.0,
    )
    embeddings = [model.embedding.weight, model.position.weight]
    tables = [v for v in backbone.variables if v.path.endswith("embeddings")]
    for theirs, ours_ in zip(tables, embeddings, strict=True):
        theirs.assign(ours_)
    d = c.head_size
    for i, block in enumerate(model.blocks):
        attention, mlp = block.attention, block.mlp
        qkv = np.split(np.asarray(attention.qkv.weight).T, 3, 1)
        values = [[block.attention_norm.scale, block.attention_norm.bias]]
        values += [
            [w.reshape(c.width, c.heads, d), np.zeros((c.heads, d))] for w in qkv
        ]
        out = np.asarray(attention.out.weight).T.reshape(c.heads, d, c.width)
        values += [
            [out, attention.out.bias],
            [block.mlp_norm.scale, block.mlp_norm.bias],
        ]
        values += [[np.asarray(x.weight).T, x.bias] for x in (mlp.up, mlp.down)]
        layer = backbone.get_layer(f"transformer_layer_{i}")
        kernels = {tuple(v.path.split("/")[-2:]): v for v in layer.variables}
        names = [
            ("self_attention_layer_norm", "gamma", "beta"),
            ("query", "kernel", "bias"),
            ("key", "kernel", "bias"),
            ("value", "kernel", "bias"),
            ("attention_output", "kernel", "bias"),
            ("feedforward_layer_norm", "gamma", "beta"),
            ("feedforward_intermediate_dense", "kernel", "bias"),
            ("feedforward_output_dense", "kernel", "bias"),
        ]
        for (part, *roles), pair in zip(names, values, strict=True):
            for role, value in zip(roles, pair, strict=True):
                kernels[part, role].assign(value)
    return keras_hub.models.GPT2CausalLM(backbone=backbone, preprocessor=None)


def _keras_lstm(model):
    """A Keras Sequential with our weights."""
    import keras
    import numpy as np

    peer = keras.Sequential(
        [
            keras.Input((None,), dtype="int32"),
            keras.layers.Embedding(_V, 512),
            keras.layers.LSTM(512, return_sequences=True),
            keras.layers.LSTM(512, return_sequences=True),
            keras.layers.Dense(_V),
        ]
    )
    weights = [np.asarray(v) for v in model.weights]
    weights[-2] = weights[-2].T
    peer.set_weights(weights)
    return peer


if __name__ == "__main__":
    app.run(main)
