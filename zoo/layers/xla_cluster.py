"""Small XLA clusters for the training paths of layers, and the switch for them.

TensorFlow passes over memory once for each op of an element-wise chain. XLA passes over
memory once for the whole chain. An exported graph must not contain XLA. A compiled
function inside another compiled function has given wrong numbers (tensorflow#118314).
So inference paths never call a cluster, and code that compiles a whole training step
switches clusters off.
"""

import contextlib
import functools
from collections.abc import Callable, Iterator

import tensorflow as tf

_on = True


@contextlib.contextmanager
def enabled(on: bool) -> Iterator[None]:
    """Switches clusters on or off inside a `with` block.

    TensorFlow reads the switch while it traces a graph. A graph that was traced before
    the block does not change.
    """
    global _on
    before, _on = _on, on
    try:
        yield
    finally:
        _on = before


def xla_cluster(f: Callable) -> Callable:
    """Compiles `f` as one small XLA cluster.

    Args:
      f: a function of tensors, None, and tuples of these. It has no side effects and
        reads no variables and no Python numbers that change from call to call.

    Returns:
      A function that runs the compiled `f`, or `f` itself while clusters are off.
    """
    compiled = tf.function(f, jit_compile=True, autograph=False, reduce_retracing=True)

    def call(*args):
        return compiled(*args) if _on else f(*args)

    return functools.update_wrapper(call, f)
