"""Small XLA clusters for the training paths of layers, and the switch for them.

TensorFlow runs an element-wise chain as one pass over memory for each op; XLA runs it
as one pass in all. Exported graphs must hold no XLA, and a compiled function inside
another compiled function has given wrong numbers (tensorflow#118314): inference paths
never call a cluster, and whoever compiles a whole step turns clusters off around it.
"""

import functools
from collections.abc import Callable

import tensorflow as tf

_on = True


class enabled:  # noqa: N801 - reads as a statement: `with fused.enabled(False):`
    """Switches clusters on or off, for good when called, or until a `with` ends.

    The switch is read while a graph is traced: a graph that was traced before keeps
    what it has.
    """

    def __init__(self, on: bool):
        global _on
        self._before, _on = _on, on

    def __enter__(self):
        return self

    def __exit__(self, *_):
        global _on
        _on = self._before


def is_enabled() -> bool:
    """Whether clusters compile at present."""
    return _on


def cluster(f: Callable) -> Callable:
    """Compiles `f` as one small XLA cluster.

    Args:
      f: a function of tensors (and None, and tuples of them) without side effects,
        variables or Python numbers that change from call to call.

    Returns:
      A function that runs the compiled `f`, or `f` itself while clusters are off.
    """
    compiled = tf.function(f, jit_compile=True, autograph=False, reduce_retracing=True)

    def call(*args):
        return compiled(*args) if _on else f(*args)

    return functools.update_wrapper(call, f)
