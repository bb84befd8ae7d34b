"""The product of a few rows by a weight, as decoding and short prompts need it.

    python -m benchmarks.products --width=768

A chain of layers maps [N, width] to [N, 4 width] and back, so that no weight stays in a
cache. `matmul` is x W^T, `transposed` is (W x^T)^T, `batch` the same product as a batch
of one matrix, `dots` a batch of dot products, and `product` the choice of
`zoo.layers.linear` where the rows are not known. `one_row`, which needs one row, is the
choice in the trace of one row: dot products in parts, of a thread each. Three kinds
have smaller weights: `bfloat16`; `int8`, which is cast before the product; and
`int8 x int8` with sums in int32. int8 has a scale for each output. The gigabytes of
weights, counted as float32, that a second reads stand beside those that
`tf.reduce_sum` reads from memory.
The kinds run in turn; the first number is the best round, the second the median.

    python -m benchmarks.products --training --width=384

Times the layers with biases and 2,048 rows, forward and backward: `plain` is matmul and
bias_add with TensorFlow's gradients, `trained` is that of `zoo.layers.linear`. It
prints the seconds and GFLOP/s.
"""

import statistics
import time

import tensorflow as tf
from absl import app, flags

from zoo.layers import linear, one_row

_WIDTH = flags.DEFINE_integer("width", 768, "Of the rows.")
_LAYERS = flags.DEFINE_integer("layers", 8, "Of the chain.")
_ROUNDS = flags.DEFINE_integer("rounds", 15, "Of each kind.")
_THREADS = flags.DEFINE_integer("threads", 2, "Of one operation.")
_TRAINING = flags.DEFINE_bool("training", False, "Times training.")
_ROWS = (1, 2, 3, 4, 8, 12, 16, 32, 64, 128, 512)


def _bfloat16(x_NI, w):
    y_NO = tf.matmul(tf.cast(x_NI, tf.bfloat16), w, transpose_b=True)
    return tf.cast(y_NO, tf.float32)


def _int8(x_NI, w):
    values_OI, scale_O = w
    values_OI = tf.cast(values_OI, tf.float32)
    return tf.matmul(x_NI, values_OI, transpose_b=True) * scale_O


def _int8_sums(x_NI, w):
    values_OI, scale_O = w
    step_N1 = tf.reduce_max(tf.abs(x_NI), -1, keepdims=True) / 127
    x_NI = tf.cast(tf.round(x_NI / step_N1), tf.int8)
    y_NO = tf.matmul(x_NI, values_OI, transpose_b=True, output_type=tf.int32)
    return tf.cast(y_NO, tf.float32) * scale_O * step_N1


def _one_row(x_NI, w):
    with one_row.trace():
        return linear.product(x_NI, w)


def _dots(x_NI, w):
    y = tf.raw_ops.BatchMatMulV3(
        x=x_NI[None], y=w[:, None], Tout=tf.float32, adj_y=True
    )
    return tf.transpose(y[:, :, 0])


KINDS = {
    "matmul": lambda x, w: tf.matmul(x, w, transpose_b=True),
    "transposed": lambda x, w: tf.transpose(tf.matmul(w, x, transpose_b=True)),
    "batch": lambda x, w: tf.matmul(x[None], w[None], transpose_b=True)[0],
    "dots": _dots,
    "product": linear.product,
    "one_row": _one_row,
}
SMALLER = {"bfloat16": _bfloat16, "int8": _int8, "int8 x int8": _int8_sums}


def main(argv):
    """Prints a line for each number of rows, or each kind of training."""
    del argv
    tf.config.threading.set_intra_op_parallelism_threads(_THREADS.value)
    if _TRAINING.value:
        training()
        return
    width, layers = _WIDTH.value, _LAYERS.value
    shapes = [(4 * width, width), (width, 4 * width)] * layers
    weights = [tf.Variable(tf.random.normal(shape, stddev=0.02)) for shape in shapes]
    size = sum(4 * w.shape.num_elements() for w in weights) / 1e9
    memory = tf.Variable(tf.ones([2**26]))
    chains = {name: _chain(kind, weights) for name, kind in KINDS.items()}
    scales = [tf.reduce_max(tf.abs(w), 1) / 127 for w in weights]
    whole = [tf.round(w / s[:, None]) for w, s in zip(weights, scales, strict=True)]
    int8 = [
        (tf.Variable(tf.cast(w, tf.int8)), tf.Variable(s))
        for w, s in zip(whole, scales, strict=True)
    ]
    bfloat16 = [tf.Variable(tf.cast(w, tf.bfloat16)) for w in weights]
    for name, kind in SMALLER.items():
        chains[name] = _chain(kind, bfloat16 if name == "bfloat16" else int8)
    reads = tf.function(lambda x: tf.reduce_sum(memory) + x)
    for rows in _ROWS:
        x_NI = tf.random.normal((rows, width))
        if rows > 1:
            chains.pop("one_row", None)
        amounts = dict.fromkeys(chains, size) | {"reduce_sum": 2**28 / 1e9}
        shown = (
            f"{name} {amounts[name] / min(s):.1f}, "
            f"{amounts[name] / statistics.median(s):.1f}"
            for name, s in _in_turn(chains | {"reduce_sum": reads}, x_NI).items()
        )
        print(f"{rows:4} rows, GB/s: {'; '.join(shown)}", flush=True)


def training(rows=2048):
    """Prints the seconds and GFLOP/s of a chain, forward and backward."""
    width, layers = _WIDTH.value, _LAYERS.value
    shapes = [(4 * width, width), (width, 4 * width)] * layers
    weights = [tf.random.normal(shape, stddev=0.02) for shape in shapes]
    biases = [tf.zeros(shape[0]) for shape in shapes]

    def plain(x_NI, weight_OI, bias_O):
        y_NO = tf.matmul(x_NI, weight_OI, transpose_b=True)
        return tf.nn.bias_add(y_NO, bias_O)

    def step(kind):
        @tf.function(autograph=False)
        def step(x_NI):
            with tf.GradientTape() as tape:
                tape.watch([x_NI, weights, biases])
                y_NO = x_NI
                for weight_OI, bias_O in zip(weights, biases, strict=True):
                    y_NO = kind(y_NO, weight_OI, bias_O)
            gradients = tape.gradient(y_NO, [x_NI, *weights, *biases])
            return tf.add_n([tf.reduce_sum(g[..., :1]) for g in gradients])

        return step

    x_NI = tf.random.normal((rows, width))
    calls = {"plain": step(plain), "trained": step(linear.trained)}
    work = 6 * rows * sum(w.shape.num_elements() for w in weights) / 1e9
    for name, s in _in_turn(calls, x_NI).items():
        best, middle = min(s), statistics.median(s)
        print(f"{name}: {best:.3f}, {middle:.3f} s; {work / middle:.0f} GFLOP/s")


def _in_turn(calls, x_NI):
    """The seconds of each round of each function, but for the first round."""
    seconds = {name: [] for name in calls}
    for _ in range(_ROUNDS.value + 1):
        for name, function in calls.items():
            start = time.perf_counter()
            function(x_NI).numpy()
            seconds[name].append(time.perf_counter() - start)
    return {name: s[1:] for name, s in seconds.items()}


def _chain(kind, weights):
    @tf.function(input_signature=[tf.TensorSpec([None, _WIDTH.value])])
    def chain(x_NI):
        for weight in weights:
            x_NI = kind(x_NI, tf.nest.map_structure(tf.convert_to_tensor, weight))
        return x_NI

    return chain


if __name__ == "__main__":
    app.run(main)
