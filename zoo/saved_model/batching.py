"""In-graph batching: calls that arrive together run as one batch.

For servers without batching flags. What is wrong with a request must be found before
it gets here, or strangers would share its error. Requests of different cost wait in
different queues, so that a long one does not hold back the short ones.

Source: Olston et al. 2017 (TensorFlow-Serving, arXiv:1712.06139), section 2.2.1.
"""

import tensorflow as tf

# Microseconds that the first of a batch waits for others: much less than it runs.
_WAIT, _WAIT_TO_GENERATE = 1000, 30_000
_WAITING = 100  # batches in a queue; more is an error, UNAVAILABLE
_COSTS = (64, 256)  # new tokens: the upper bounds of the queues but the last


class Batching:
    """Merges calls, or with a size of 0 only calls.

    Args:
      size: the most rows of a batch; a larger request runs alone.
    """

    def __init__(self, size: int):
        self._size = size
        self._queues = 0

    def __call__(self, function, inputs, cost_B=None) -> dict[str, tf.Tensor]:
        """`function(*inputs)`, a dict of tensors [B, ...].

        Args:
          function: each of its rows depends on that row of the inputs alone.
          inputs: tensors [B, ...], equal from request to request in all other
            dimensions, and ragged int32 [B, None].
          cost_B: int32, what a row takes; None where they are alike.
        """
        if not self._size:
            return function(*inputs)
        flat = [_flat(x) for x in inputs]
        ragged = [isinstance(x, tf.RaggedTensor) for x in inputs]
        names = []

        @tf.function(autograph=False)
        def merged(*flat):
            outputs = function(
                *(_ragged(x) if r else x for x, r in zip(flat, ragged, strict=True))
            )
            names[:] = outputs
            return list(outputs.values())

        specs = [tf.TensorSpec(x.shape, x.dtype) for x in flat]
        merged = merged.get_concrete_function(*specs)

        def queue(name, wait=_WAIT):
            return tf.raw_ops.BatchFunction(
                in_tensors=flat,
                captured_tensors=merged.captured_inputs,
                f=merged,
                Tout=[x.dtype for x in merged.outputs],
                num_batch_threads=1,
                max_batch_size=self._size,
                batch_timeout_micros=wait,
                max_enqueued_batches=_WAITING,
                shared_name=name,
            )

        self._queues += 1  # equal names are one queue, whatever the signature
        base = f"batch_{self._queues}"
        branches = [lambda: list(merged(*flat)), lambda: queue(base)]
        number = 1
        if cost_B is not None:
            number += tf.searchsorted(_COSTS, [tf.reduce_max(cost_B)])[0]
            branches[1:] = [
                lambda i=i: queue(f"{base}_{i}", _WAIT_TO_GENERATE)
                for i in range(len(_COSTS) + 1)
            ]
        fits = tf.shape(flat[0])[0] <= self._size
        values = tf.switch_case(tf.where(fits, number, 0), branches)
        for value, like in zip(values, merged.outputs, strict=True):
            value.set_shape(like.shape)
        return dict(zip(names, values, strict=True))


def _flat(x):
    """Rows of numbers as text: a batch takes rows of equal shape only."""
    if isinstance(x, tf.RaggedTensor):
        return tf.strings.reduce_join(tf.strings.as_string(x), axis=-1, separator=" ")
    return x


def _ragged(text_B):
    words = tf.strings.split(text_B)
    return words.with_values(tf.strings.to_number(words.values, tf.int32))
