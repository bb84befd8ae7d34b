"""Sums over rows of a head, and their gradients, a chunk of rows at a time."""

from typing import Any

import tensorflow as tf


def sums(of, x_ND, weight_VD, chunk: int, losses: Any = 0.0):
    """The losses of all rows, and a function that returns their gradients.

    Args:
      of: `of(part)`, of a slice of rows: the losses, and the gradients of x, weight and
        bias for that part.
      x_ND: features.
      weight_VD: float32.
      chunk: the most rows of a part.
      losses: zeros in the shape of the losses that `of` returns.

    Returns:
      The losses, and a function without arguments: it returns the gradients of x, of
      the weight, and of the bias.
    """
    rows = x_ND.shape[0]
    if rows is None:
        return _loop(of, x_ND, weight_VD, chunk, losses)
    return _unrolled(of, rows, chunk, losses)


def _unrolled(of, rows, chunk, losses):
    """The losses, and a function that returns the gradients, of a static row count."""
    chunks = max(1, -(-rows // chunk))
    size = -(-rows // chunks)
    total, dx, dweight, dbias = losses, [], 0.0, 0.0
    for i in range(chunks):
        loss, dx_i, dweight_i, dbias_i = of(slice(i * size, (i + 1) * size))
        total += loss
        dx.append(dx_i)
        dweight += dweight_i
        dbias += dbias_i
    return total, lambda: (tf.concat(dx, 0), dweight, dbias)


def _loop(of, x_ND, weight_VD, chunk, losses):
    """As `_unrolled`, for an unknown number of rows: a loop for each pass.

    A loop cannot drop results that nobody reads. So the forward loop computes the loss
    alone, and the backward loop computes each chunk again.
    """
    # without rows one empty chunk remains, which has the shapes
    chunks = tf.maximum(-(-tf.shape(x_ND)[0] // chunk), 1)

    def part(i):
        return slice(i * chunk, (i + 1) * chunk)

    def looped(body, start):
        return tf.while_loop(
            lambda i, *_: i < chunks,
            lambda i, *sums: (i + 1, *body(i, *sums)),
            (0, *start),
            parallel_iterations=1,
        )[1:]

    def grads_of():
        def body(i, dx, dweight, dbias):
            _, dx_i, dweight_i, dbias_i = of(part(i))
            return dx.write(i, dx_i), dweight + dweight_i, dbias + dbias_i

        dx = tf.TensorArray(
            x_ND.dtype,
            chunks,
            infer_shape=False,
            element_shape=(None, x_ND.shape[1]),
        )
        start = dx, tf.zeros_like(weight_VD), tf.zeros(weight_VD.shape[0])
        dx, dweight, dbias = looped(body, start)
        return dx.concat(), dweight, dbias

    (total,) = looped(lambda i, total: (total + of(part(i))[0],), (losses,))
    return total, grads_of
