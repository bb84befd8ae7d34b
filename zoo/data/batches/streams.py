"""The batches of `zoo/data/batches/lm.py` from streams that are read by windows."""

from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from zoo.data.batches.lm import batch_of, eval_batches, eval_stride, window_rows
from zoo.data.batches.pipeline import Batch, endless_mixture
from zoo.data.token_stream import TokenStream


def stream_batches(
    streams: Sequence[TokenStream],
    length: int,
    batch: int,
    seed: int,
    start: int = 0,
    shares: Sequence[int] = (1,),
    schedule: Sequence[tuple[int, Sequence[int]]] = (),
    worker: tuple[int, int] = (0, 1),
) -> tf.data.Dataset:
    """The shuffled batches of `lm_batches`, read window by window.

    Args:
      streams: of at least `length` + 1 tokens each, in memory or on disk.
      length: T, inputs a row.
      batch: B, rows of the global batch.
      seed: decides shifts and orders.
      start: the number of the first batch.
      shares: rows of each stream in a pattern, as in `pipeline.endless_mixture`.
      schedule: of other shares later, as there.
      worker: the number of this worker and how many there are, as there. Under
        `distribute_datasets_from_function`, these are `input_pipeline_id` and
        `num_input_pipelines` of the InputContext.

    Returns:
      Batches as those of `lm_batches`, of this worker's rows. A damaged record ends
      the iteration, with the error in the stream's `damage`.

    Raises:
      ValueError: a stream is too short, or an argument out of its range.
    """

    weighted = any(stream.has_weights for stream in streams)

    def windows(source_B, first_B):
        if len(streams) == 1:
            return streams[0].windows(first_B, length + 1)
        tokens_BT = np.empty((len(first_B), length + 1), np.int32)
        weights_BT = np.empty(tokens_BT.shape, np.float32)
        for source in np.unique(source_B):
            own_B = source_B == source
            found = streams[source].windows(first_B[own_B], length + 1)
            tokens_BT[own_B] = found[0]
            weights_BT[own_B] = 1 if found[1] is None else found[1]
        return tokens_BT, weights_BT

    def place(source_B, first_B):
        return {"source": source_B, "first": first_B}

    def read(places) -> Batch:
        given = [places["source"], places["first"]]
        window_BT, weights_BT = _read(windows, given, length + 1, weighted)
        return batch_of(window_BT[:, :-1], window_BT[:, 1:], weights_BT)

    sizes = [stream.tokens for stream in streams]
    rows, counts = window_rows(place, sizes, length, seed, shuffle=True)
    return endless_mixture(
        rows, counts, shares, batch, seed, start, True, schedule, worker, read
    )


def eval_stream(
    stream: TokenStream, length: int, batch: int, stride: int = 0
) -> tuple[tf.data.Dataset, int]:
    """The batches of `eval_windows`, read window by window.

    Args:
      stream: at least two tokens, in memory or on disk.
      length: T, inputs a row.
      batch: B, rows.
      stride: 1 to `length`; 0 is half the length.

    Raises:
      ValueError: too few tokens, or an argument out of its range.
    """

    stride = eval_stride(stride, length, stream.tokens)

    def window(first_B):
        def read(first_B):
            return stream.windows(first_B, length + 1)

        weighted = stream.has_weights
        window_BT, weights_BT = _read(read, [first_B], length + 1, weighted)
        return window_BT[:, :-1], window_BT[:, 1:], weights_BT

    return eval_batches(window, stream.tokens, length, batch, stride)


def _read(windows: Callable, arguments: list[tf.Tensor], length: int, weighted: bool):
    """Windows [B,T+1], and the weights [B,T] of their targets, from a Python function.

    Args:
      windows: makes both of the arguments, as numpy arrays.
      arguments: tensors [B].
      length: T + 1.
      weighted: False gives weights of 1, which need no copy.
    """
    shape = [arguments[0].shape[0], length]
    if weighted:
        kinds = [tf.int32, tf.float32]
        window_BT, weights_BT = tf.numpy_function(windows, arguments, kinds)
        weights_BT = tf.ensure_shape(weights_BT, shape)[:, 1:]
    else:
        weights_BT = tf.constant(np.ones((shape[0], length - 1), np.float32))

        def tokens(*given):
            return windows(*given)[0]

        window_BT = tf.numpy_function(tokens, arguments, tf.int32)
    return tf.ensure_shape(window_BT, shape), weights_BT
