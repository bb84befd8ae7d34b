"""In-graph batching: calls that arrive together run as one batch.

For servers without batching flags. Every check of a request runs before its batch: an
error inside of a batch fails all its requests. Requests of different cost wait in
different queues: a long one does not delay the short ones.

Source: Olston et al. 2017 (TensorFlow-Serving, arXiv:1712.06139), section 2.2.1.
"""

import tensorflow as tf

# Microseconds that the first request of a batch waits: much less than a batch runs.
_WAIT, _WAIT_TO_GENERATE = 1000, 30_000
_WAITING = 100  # batches in a queue; one more is an error, UNAVAILABLE
_COSTS = (64, 256)  # new tokens times beams: upper bounds of all but the last queue


class Batching:
    """Merges calls into batches.

    Args:
      size: the most rows of a batch; 0 merges nothing. A larger request runs alone.
    """

    def __init__(self, size: int):
        self._size = size
        self._queues = 0

    def __call__(self, function, inputs, cost_B=None) -> dict[str, tf.Tensor]:
        """`function(*inputs)`, a dict of tensors [B, ...].

        Args:
          function: row i of its outputs depends on row i of its inputs only.
          inputs: tensors [B, ...], whose other dimensions are equal in all requests,
            and ragged int32 [B, None].
          cost_B: int32, the new tokens of each row times its beams; None where all
            rows cost the same.
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
                # a process gives a name the options of the first queue that has it
                shared_name=f"{name}_size_{self._size}_wait_{wait}",
            )

        self._queues += 1  # signatures with equal names would share a queue
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
    """Ragged rows of numbers as texts: a batch takes rows of equal shape only."""
    if isinstance(x, tf.RaggedTensor):
        return tf.strings.reduce_join(tf.strings.as_string(x), axis=-1, separator=" ")
    return x


def _ragged(text_B):
    """The inverse of `_flat`."""
    words = tf.strings.split(text_B)
    return words.with_values(tf.strings.to_number(words.values, tf.int32))
