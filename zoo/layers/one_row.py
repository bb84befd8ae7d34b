"""A trace of its own for a step that reads one row on a CPU.

There a product of one row is the fastest as a batch of dot products (`linear.product`),
and a split of one row copies nothing. Each operation costs microseconds, since the
weights drive its code out of the caches. So norms, activations and attention take fewer
operations, whose last bits need not be those of other rows.

No shape says that there is one row. TensorFlow's graph optimizer infers the shapes of
what enters a branch from the branch, and then takes the condition for a constant.
"""

import contextlib
import contextvars

import tensorflow as tf

_TRACED = contextvars.ContextVar("one_row", default=False)


def traced() -> bool:
    """Whether the trace for one row is made: each layer then gets one row."""
    return _TRACED.get()


@contextlib.contextmanager
def trace():
    """Makes the trace for one row inside a `with` block."""
    token = _TRACED.set(True)
    try:
        yield
    finally:
        _TRACED.reset(token)


def apart(model, token_B, state, in_place=False):
    """Calls a Decoder's step, by another trace if the batch has one row.

    Args:
      model: a Decoder. Where its `own_products` is not true, there is one trace.
      token_B: int32.
      state: the Decoder's.
      in_place: whether the tensors of `state` may be overwritten.

    Returns:
      What `model.step` gives.
    """

    def step():
        return model.step(token_B, state, in_place)

    devices = {device.device_type for device in tf.config.list_logical_devices()}
    useful = getattr(model, "own_products", False) and devices == {"CPU"}
    if tf.executing_eagerly() or not useful:
        return step()
    # this operation knows the device when it runs: the graph may go to a GPU
    on_cpu = tf.raw_ops.DeviceIndex(device_names=["CPU"]) == 0
    # a client may send a state of other rows
    of_rows = next((x for x in state if len(x.shape)), token_B)
    one = on_cpu & (tf.size(token_B) == 1) & (tf.shape(of_rows)[0] == 1)

    def of_one():
        with trace():
            return step()

    return tf.cond(one, of_one, step)
