"""What a head gives for rows, and its gradients, a chunk of rows at a time."""

from typing import Any

import tensorflow as tf

_NUMBERS = 2**24  # logits of a chunk: 64 MB in float32


def limited(rows: int, vocab_size: int) -> int:
    """The most rows of a chunk: `rows`, or fewer where a vocabulary is large."""
    return max(1, min(rows, _NUMBERS // vocab_size))


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
    total, dx, dweight, dbias = losses, [], 0.0, 0.0
    done = []
    for part in _parts(rows, chunk):
        with tf.control_dependencies(done):  # so that one chunk has logits at a time
            loss, dx_i, dweight_i, dbias_i = of(part)
        done = [dx_i, dweight_i]
        total += loss
        dx.append(dx_i)
        dweight += dweight_i
        dbias += dbias_i
    return total, lambda: (tf.concat(dx, 0), dweight, dbias)


def _loop(of, x_ND, weight_VD, chunk, losses):
    """As `_unrolled`, for an unknown number of rows.

    TensorFlow drops the gradients from the loop of a graph that does not read them.
    """

    def body(i, part, total, *grads):
        loss, *of_part = of(part)
        return total + loss, *_added(i, grads, of_part)

    start = losses, *_no_gradients(x_ND, weight_VD, chunk)
    total, dx, dweight, dbias = _looped(body, x_ND, chunk, start)
    return total, lambda: (dx.concat(), dweight, dbias)


def rows(of, x_ND, chunk: int, outputs: int) -> tuple[tf.Tensor, ...]:
    """The results of all rows.

    Args:
      of: `of(part)`, of a slice of rows: as many float32 tensors as `outputs`, each of
        one number a row.
      x_ND: features.
      chunk: the most rows of a part.
      outputs: how many.
    """
    if x_ND.shape[0] is not None:
        parts = [of(part) for part in _parts(x_ND.shape[0], chunk)]
        return tuple(tf.concat(x, 0) for x in zip(*parts, strict=True))

    def body(i, part, *arrays):
        return tuple(a.write(i, x) for a, x in zip(arrays, of(part), strict=True))

    chunks = _chunks(x_ND, chunk)
    arrays = tuple(_array(tf.float32, chunks, (None,)) for _ in range(outputs))
    return tuple(a.concat() for a in _looped(body, x_ND, chunk, arrays))


def gradients(of, x_ND, weight_VD, chunk: int):
    """The gradients of x, of the weight, and of the bias.

    Args:
      of: `of(part)`, of a slice of rows: the three gradients for that part.
      x_ND: features.
      weight_VD: float32.
      chunk: the most rows of a part.
    """
    if x_ND.shape[0] is not None:
        return _unrolled(lambda p: (0.0, *of(p)), x_ND.shape[0], chunk, 0.0)[1]()

    def body(i, part, *grads):
        return _added(i, grads, of(part))

    start = _no_gradients(x_ND, weight_VD, chunk)
    dx, dweight, dbias = _looped(body, x_ND, chunk, start)
    return dx.concat(), dweight, dbias


def _no_gradients(x_ND, weight_VD, chunk):
    """The gradients of x, weight and bias before the first part."""
    dx = _array(x_ND.dtype, _chunks(x_ND, chunk), (None, x_ND.shape[1]))
    return dx, tf.zeros_like(weight_VD), tf.zeros(weight_VD.shape[0])


def _added(i, grads, of_part):
    """The gradients with those of part i."""
    (dx, dweight, dbias), (dx_i, dweight_i, dbias_i) = grads, of_part
    return dx.write(i, dx_i), dweight + dweight_i, dbias + dbias_i


def _parts(rows, chunk):
    """The slices of a static row count."""
    chunks = max(1, -(-rows // chunk))
    size = -(-rows // chunks)
    return [slice(i * size, (i + 1) * size) for i in range(chunks)]


def _chunks(x_ND, chunk):
    """The number of chunks; without rows one empty chunk, which has the shapes."""
    return tf.maximum(-(-tf.shape(x_ND)[0] // chunk), 1)


def _array(dtype, size, shape):
    """A TensorArray for parts of unequal lengths."""
    return tf.TensorArray(dtype, size, infer_shape=False, element_shape=shape)


def _looped(body, x_ND, chunk, start):
    """`body(number, part, *state) -> state` over all parts, one at a time."""
    chunks = _chunks(x_ND, chunk)
    return tf.while_loop(
        lambda i, *_: i < chunks,
        lambda i, *s: (i + 1, *body(i, slice(i * chunk, (i + 1) * chunk), *s)),
        (0, *start),
        parallel_iterations=1,
    )[1:]
