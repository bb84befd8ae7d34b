"""The product of a few rows by a weight, as decoding and short prompts need it.

    python -m benchmarks.products --width=768

A chain of layers maps [N, width] to [N, 4 width] and back, so that no weight stays in a
cache. `matmul` is x W^T, `transposed` is (W x^T)^T, `batch` the same product as a batch
of one matrix, and `product` the choice of `zoo.layers.linear`. The gigabytes of weights
that a second reads stand beside those that `tf.reduce_sum` reads from memory. The kinds
run in turn; the first number is the best round, the second the median.
"""

import statistics
import time

import tensorflow as tf
from absl import app, flags

from zoo.layers import linear

_WIDTH = flags.DEFINE_integer("width", 768, "Of the rows.")
_LAYERS = flags.DEFINE_integer("layers", 8, "Of the chain.")
_ROUNDS = flags.DEFINE_integer("rounds", 15, "Of each kind.")
_THREADS = flags.DEFINE_integer("threads", 2, "Of one operation.")
_ROWS = (1, 2, 4, 8, 12, 16, 32, 64, 128, 512)

KINDS = {
    "matmul": lambda x, w: tf.matmul(x, w, transpose_b=True),
    "transposed": lambda x, w: tf.transpose(tf.matmul(w, x, transpose_b=True)),
    "batch": lambda x, w: tf.matmul(x[None], w[None], transpose_b=True)[0],
    "product": linear.product,
}


def main(argv):
    """Prints a line for each number of rows."""
    del argv
    tf.config.threading.set_intra_op_parallelism_threads(_THREADS.value)
    width, layers = _WIDTH.value, _LAYERS.value
    shapes = [(4 * width, width), (width, 4 * width)] * layers
    weights = [tf.Variable(tf.random.normal(shape, stddev=0.02)) for shape in shapes]
    size = sum(4 * w.shape.num_elements() for w in weights) / 1e9
    memory = tf.Variable(tf.ones([2**26]))
    chains = {name: _chain(kind, weights) for name, kind in KINDS.items()}
    reads = tf.function(lambda x: tf.reduce_sum(memory) + x)
    for rows in _ROWS:
        x_NI = tf.random.normal((rows, width))
        calls = {name: (chain, size) for name, chain in chains.items()}
        calls["reduce_sum"] = (reads, 2**28 / 1e9)
        seconds = {name: [] for name in calls}
        for _ in range(_ROUNDS.value + 1):
            for name, (function, _) in calls.items():
                start = time.perf_counter()
                function(x_NI).numpy()
                seconds[name].append(time.perf_counter() - start)
        shown = (
            f"{name} {calls[name][1] / min(s[1:]):.1f}, "
            f"{calls[name][1] / statistics.median(s[1:]):.1f}"
            for name, s in seconds.items()
        )
        print(f"{rows:4} rows, GB/s: {'; '.join(shown)}", flush=True)


def _chain(kind, weights):
    @tf.function(input_signature=[tf.TensorSpec([None, _WIDTH.value])])
    def chain(x_NI):
        for weight in weights:
            x_NI = kind(x_NI, tf.convert_to_tensor(weight))
        return x_NI

    return chain


if __name__ == "__main__":
    app.run(main)
