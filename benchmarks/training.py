"""Training speed beside Keras, KerasHub and torch, on the same weights and batches.

    python -m benchmarks.training --model=transformer --precision=float32
    python -m benchmarks.training --model=lstm --peer_python=PYTHON

The Transformer is GPT-2-shaped: 6 layers, width 384, vocabulary 8192, context 256,
batch 8; --model=gpt2 is GPT-2 small itself, one row of 1,024 tokens. Their peers are
`KerasHub GPT2CausalLM.fit` and, with --peer_python, plain torch with its fused
attention and AdamW. The LSTM LM has 2 layers of 512, vocabulary 8192,
length 128, batch 32; its peers are a Keras Sequential with `fit`, and `torch.nn.LSTM`.
--model=demo is the model of `make demo` with AdamW, beside its products only.
All sides start from our initial weights, so the losses must agree. The sides run in
turn, each in its own processes. The ratio is that of the medians, with the interval of
95 % of 2,000 bootstrap resamples of the rounds. The memory is the most that a process
had resident, with its imports. PYTHON has torch. The side `products` is the limit of
the machine: the products of a step, with weights and of attention, and nothing else.

    python -m benchmarks.training --lengths=512,1024,2048,4096

Runs our side alone with one row of each length, and prints the seconds of a step and
the memory above that of the imports, with the slope of log memory over log length.

    python -m benchmarks.training --determinism

Runs our side with and without `tf.config.experimental.enable_op_determinism`. On a CPU
a resumed run ends with the same bits without it.

The unit of time is one step: from the end of one step, with its loss on the host, to
the end of the next. A pass over a finite data set would not do. With autotuning on,
TensorFlow 2.21 reports the end of such a data set late, at 10 ms x (2^k - 1) after its
start. So the data sets here repeat for ever, with autotuning off.
"""

import itertools
import json
import math
import pathlib
import resource
import statistics
import tempfile
import time
from typing import NamedTuple

from absl import app, flags

from benchmarks import processes

_MODEL = flags.DEFINE_enum(
    "model", "transformer", ["transformer", "gpt2", "lstm", "demo"], ""
)
_PRECISION = flags.DEFINE_enum("precision", "float32", ["float32", "bfloat16"], "")
_ROUNDS = flags.DEFINE_integer("rounds", 5, "Processes of each side.")
_THREADS = flags.DEFINE_integer("threads", 2, "Of each side.")
_PEER = flags.DEFINE_string("peer_python", "", "It has torch; none leaves it out.")
_SIDE = flags.DEFINE_enum(
    "side", None, ["write", "ours", "keras", "products"], "Runs one side."
)
_FOLDER = flags.DEFINE_string("folder", "", "Where the side `write` leaves files.")
_DETERMINISM = flags.DEFINE_bool("determinism", False, "Compares our side with itself.")
_DETERMINISTIC = flags.DEFINE_bool("deterministic", False, "For one side.")
_LENGTHS = flags.DEFINE_list("lengths", [], "Of one row, for our side alone.")
_LENGTH = flags.DEFINE_integer("length", 0, "Of one row; 0 is the model's own.")


class _Work(NamedTuple):
    """What the sides do.

    Attributes:
      batch, length: rows of a batch, and tokens of a row.
      steps: that the losses are compared over.
      timed: steps after those.
      model: the name of our model, and its options; "" takes the config of the demo.
    """

    batch: int
    length: int
    steps: int
    timed: int
    model: tuple[str, dict[str, int]]


_WORKS = {
    "transformer": _Work(
        8, 256, 10, 10, ("transformer_lm", {"vocab_size": 8192, "context": 256})
    ),
    "gpt2": _Work(
        1,
        1024,
        3,
        4,
        (
            "transformer_lm",
            {"vocab_size": 50257, "context": 1024, "width": 768, "layers": 12}
            | {"heads": 12},
        ),
    ),
    "lstm": _Work(
        32,
        128,
        10,
        10,
        ("lstm_lm", {"vocab_size": 8192, "width": 512, "units": 512, "layers": 2}),
    ),
    "demo": _Work(6, 256, 10, 30, ("", {})),
}
# so small an epsilon has one meaning before and after the bias correction of Adam
_ADAMW = {"beta_2": 0.999, "epsilon": 1e-12, "weight_decay": 0.004}


def main(argv):
    """Runs the sides in turn and prints the ratios."""
    del argv
    if _SIDE.value:
        sides = {"write": write, "ours": ours, "keras": theirs, "products": products}
        found = sides[_SIDE.value]() or {}
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # in KiB
        print(json.dumps(found | {"mib": most / 1024}))
        return
    if _LENGTHS.value:
        grow([int(length) for length in _LENGTHS.value])
        return
    with tempfile.TemporaryDirectory() as folder:
        compare(folder)


def grow(lengths):
    """Prints our seconds and memory for one row of each length."""
    found = []
    for length in lengths:
        given = f"--model={_MODEL.value}", f"--precision={_PRECISION.value}"
        one = processes.result(
            processes.own("training", "ours", *given, f"--length={length}")
        )
        found.append(one["mib"] - one["imports"])
        print(
            f"{length} tokens: {one['seconds']:.2f} s a step, {found[-1]:,.0f} MiB",
            flush=True,
        )
    ends = found[-1] / found[0], lengths[-1] / lengths[0]
    print(f"slope {math.log(ends[0]) / math.log(ends[1]):.2f}")


def compare(folder):
    """Prints the tokens a second of each side, and our ratio to each peer."""
    kind, precision = _MODEL.value, _PRECISION.value
    given = f"--model={kind}", f"--precision={precision}", f"--folder={folder}"
    given += (f"--threads={_THREADS.value}",)
    ours_ = processes.own("training", "ours", *given)
    sides = {"ours": ours_}
    if _DETERMINISM.value:
        sides["deterministic"] = [*ours_, "--deterministic"]
    elif kind != "demo":
        sides["keras"] = processes.own("training", "keras", *given)
    if _PEER.value and len(sides) > 1 and not _DETERMINISM.value:
        processes.result(processes.own("training", "write", *given))
        script = str(pathlib.Path(__file__).with_name("training_torch.py"))
        sides["torch"] = [_PEER.value, script, folder, kind, precision]
    if not _DETERMINISM.value:
        sides["products"] = processes.own("training", "products", *given)

    def check(results):
        limit = 1e-3 if precision == "float32" else 3e-2
        results = {side: one for side, one in results.items() if side != "products"}
        for name in ("first", "mean"):
            losses = {side: result[name] for side, result in results.items()}
            if max(losses.values()) - min(losses.values()) > limit:
                raise SystemExit(f"the {name} losses differ: {losses}")

    found = processes.in_turn(sides, _ROUNDS.value, check)
    seconds = {side: [r["seconds"] for r in own] for side, own in found.items()}
    work = _WORKS[kind]
    processes.report(f"train {kind} {precision}", seconds, work.batch * work.length)
    memory = {s: statistics.median(r["mib"] for r in own) for s, own in found.items()}
    print("  memory:", ", ".join(f"{s} {mib:,.0f} MiB" for s, mib in memory.items()))


def _work() -> _Work:
    """What the flags ask for."""
    work = _WORKS[_MODEL.value]
    if not _LENGTH.value:
        return work
    name, options = work.model
    if "context" in options:
        options = options | {"context": _LENGTH.value}
    return _Work(1, _LENGTH.value, 1, 2, (name, options))


def write():
    """Leaves our initial weights and the batches for torch."""
    import numpy as np
    from safetensors.numpy import load_file

    from zoo import directory

    model, ids = _setup()
    folder = pathlib.Path(_FOLDER.value)
    work = _WORKS[_MODEL.value]
    if _MODEL.value != "lstm":
        directory.save(folder / "model", model)
        tensors = load_file(folder / "model" / "model.safetensors")
        weights = {name.removeprefix("transformer."): x for name, x in tensors.items()}
    else:
        weights = {str(i): np.asarray(v) for i, v in enumerate(model.weights)}
    np.savez(folder / "weights.npz", ids=ids, **weights)
    settings = _ADAMW | {"batch": work.batch, "threads": _THREADS.value}
    settings |= {"steps": work.steps, "timed": work.timed}
    settings["heads"] = getattr(model.config, "heads", 0)
    (folder / "settings.json").write_text(json.dumps(settings))


def _setup():
    """Our model and the batches of all sides."""
    import keras
    import numpy as np
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(_THREADS.value)
    if _DETERMINISTIC.value:
        tf.config.experimental.enable_op_determinism()

    policy = {"bfloat16": "mixed_bfloat16", "float32": "float32"}[_PRECISION.value]
    keras.config.set_dtype_policy(policy)
    keras.utils.set_random_seed(1)
    from configs import lm_transformer
    from zoo import models, registry

    work = _work()
    name, options = work.model
    if name:
        model = models.build(name, **options)
    else:
        model = registry.build_config(lm_transformer.get_config().model)
    size = work.batch * work.steps, work.length + 1
    vocabulary = model.config.vocab_size
    ids = np.random.default_rng(0).integers(0, vocabulary, size, np.int32)
    return model, ids


def ours():
    import tensorflow as tf

    from trainers import optimizers
    from trainers.objectives import LanguageModel
    from trainers.run import Optimizer
    from trainers.step import make_step

    imports = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
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
    work = _work()
    batches = iter(_endless(data, work.batch))
    losses, ends = [], []
    for _ in range(work.steps + work.timed):
        losses.append(float(step(next(batches))["loss"]))
        ends.append(time.perf_counter())
    found = _result(ends, losses[0], statistics.mean(losses[: work.steps]))
    return found | {"imports": imports}


def theirs():
    import keras

    model, ids = _setup()
    work = _work()
    from benchmarks import training_keras

    if _MODEL.value == "lstm":
        peer, inputs = training_keras.keras_lstm(model), lambda x: x
    else:
        peer, inputs = training_keras.keras_hub(model), _padded
    data = inputs(ids[:, :-1]), ids[:, 1:]
    dataset = _endless(data, work.batch)
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
    steps = work.steps + work.timed
    peer.fit(dataset, steps_per_epoch=steps, callbacks=[Clock()], verbose=0)
    return _result(ends, first, losses[work.steps - 1])


def products():
    """The seconds of the products of a step, in the layouts that are fastest.

    Of each weight there are three: forward, and those for the gradients of input and
    weight. Causal attention has two and four a layer, of half of the scores, as no more
    are needed. Those of the LSTM's recurrence are made for all positions at once.
    """
    import tensorflow as tf

    model, _ = _setup()
    work = _work()
    layers = model.embedding, getattr(model, "position", None)
    tables = {id(layer.weight) for layer in layers if layer is not None}
    shapes = [
        tuple(v.shape)
        for v in model.trainable_variables
        if len(v.shape) == 2 and id(v) not in tables
    ]
    if model.untied_head is None:
        shapes.append(tuple(model.head()[0].shape))
    rows, dtype = work.batch * work.length, tf.as_dtype(_PRECISION.value)

    def random(*shape):
        return tf.cast(tf.random.normal(shape), dtype)

    inputs = {size: random(rows, size) for shape in shapes for size in shape}
    needed = []
    for m, n in shapes:
        needed.append((inputs[m], random(m, n), {}))
        needed.append((inputs[n], random(n, m), {}))
        needed.append((inputs[m], inputs[n], {"transpose_a": True}))
    if _MODEL.value != "lstm":
        heads, T, d = model.config.heads, work.length, model.config.head_size
        queries = random(work.batch, heads, T, d)
        keys, scores = queries[:, :, : T // 2], random(work.batch, heads, T, T // 2)
        of_layer = [(queries, keys, {"transpose_b": True}), (scores, keys, {})]
        of_layer.append((scores, queries, {"transpose_a": True}))
        needed += model.config.layers * 2 * of_layer

    @tf.function
    def step():
        total, last = tf.zeros((), dtype), []
        for x, y, transposed in needed:
            with tf.control_dependencies(last):  # in a row, as in a model
                product = tf.matmul(x, y, **transposed)
            last = [product]
            total += tf.reshape(product, [-1])[0]  # or it drops the product
        return total

    ends = []
    for _ in range(work.steps + work.timed):
        step().numpy()
        ends.append(time.perf_counter())
    return _result(ends, 0.0, 0.0)


def _endless(data, batch):
    """Batches without end, for either side."""
    import tensorflow as tf

    options = tf.data.Options()
    options.autotune.enabled = False
    dataset = tf.data.Dataset.from_tensor_slices(data).batch(batch, True).repeat()
    return dataset.prefetch(2).with_options(options)


def _result(ends, first, mean):
    """The seconds of the median timed step, and the two losses."""
    timed = ends[_work().steps - 1 :]
    seconds = [b - a for a, b in itertools.pairwise(timed)]
    return {"seconds": statistics.median(seconds), "first": first, "mean": mean}


def _padded(ids):
    return {"token_ids": ids, "padding_mask": (ids >= 0).astype("int32")}


if __name__ == "__main__":
    app.run(main)
