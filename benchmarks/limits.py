"""What the machine can do: the rate of products, and of reading memory.

    python -m benchmarks.limits

Prints the GFLOP/s of TensorFlow's products at the shapes of a Transformer of width 384
(2,048 rows, forward), in float32 and bfloat16, and the GB/s of `tf.reduce_sum`. The
best of the repetitions counts.
"""

import time

import tensorflow as tf
from absl import app, flags

_THREADS = flags.DEFINE_integer("threads", 2, "Of one operation.")
_REPEAT = flags.DEFINE_integer("repeat", 20, "Of each product.")
_ROWS, _WIDTH, _V = 2048, 384, 8192
_OUTPUTS = (3 * _WIDTH, 4 * _WIDTH, _V)


def main(argv):
    """Prints the limits."""
    del argv
    tf.config.threading.set_intra_op_parallelism_threads(_THREADS.value)
    for dtype in (tf.float32, tf.bfloat16):
        rates = [_product(dtype, outputs) / 1e9 for outputs in _OUTPUTS]
        shown = ", ".join(f"{rate:.0f}" for rate in rates)
        print(f"products of {_WIDTH} x {_OUTPUTS}, {dtype.name}: {shown} GFLOP/s")
    memory = tf.Variable(tf.ones([2**26]))
    seconds = _best(tf.function(lambda: tf.reduce_sum(memory)))
    print(f"reading memory: {2**28 / seconds / 1e9:.1f} GB/s")


def _product(dtype, outputs):
    """The floating-point operations a second of one product."""
    x = tf.cast(tf.random.normal((_ROWS, _WIDTH)), dtype)
    weight = tf.cast(tf.random.normal((outputs, _WIDTH)), dtype)
    function = tf.function(lambda: tf.matmul(x, weight, transpose_b=True)[0, 0])
    return 2 * _ROWS * _WIDTH * outputs / _best(function)


def _best(function):
    """The seconds of the fastest call."""
    times = []
    for _ in range(_REPEAT.value + 1):
        began = time.perf_counter()
        function().numpy()
        times.append(time.perf_counter() - began)
    return min(times[1:])


if __name__ == "__main__":
    app.run(main)
