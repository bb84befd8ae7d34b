"""The element-wise part of three recurrent cells, and its derivatives.

A cell multiplies no matrices. Its inputs are the two products x.W and h.U of one time
step, of width Z = gates * units. It computes in float32. The weight layouts are those
of `keras.layers.LSTM`, `GRU(reset_after=True)` and `SimpleRNN`.

A backward pass needs the *slopes*: the local derivatives of a step. The forward pass
computes the slopes in float32, so that storing them in bfloat16 rounds each slope once.
Storing the gates instead would lose digits: of a rounded f near 1, 1 - f is wrong. With
slopes, a step of the backward loop is a few multiplications.

An example of the backward pass is the simple cell h_t = tanh(x_t.W + h_t-1.U) with one
unit and U = 0.5. It starts at h_0 = 0, and has the sums z_1 = 0.5 and z_2 = 0.2 at its
two steps.

    forward   h_1 = tanh(0.5) = 0.462     slope_1 = 1 - h_1^2 = 0.786
              h_2 = tanh(0.2) = 0.197     slope_2 = 1 - h_2^2 = 0.961
    given     dy_1 = 0, dy_2 = 1          the gradients of the outputs h_1, h_2
    step 2    dz_2 = dy_2 * slope_2 = 0.961
              through = dz_2 * U = 0.481  the gradient of h_1 from step 2
    step 1    dz_1 = (dy_1 + through) * slope_1 = 0.378
              through = dz_1 * U = 0.189  the gradient of h_0
    after     dU = h_0 * dz_1 + h_1 * dz_2 = 0.444
              dW = x_1 * dz_1 + x_2 * dz_2, dbias = dz_1 + dz_2, dx_t = dz_t * W

  LSTM       Hochreiter & Schmidhuber 1997; Gers et al. 2000 (forget gate)
  GRU        Cho et al. 2014 (arXiv:1406.1078), in cuDNN's form: reset after the product
  simple RNN Elman 1990
"""

import dataclasses
from collections.abc import Callable

import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class Cell:
    """The description of a cell for the loops over time.

    Attributes:
      gates: the number of blocks of `units` in a product x.W.
      states: the number of state tensors [B, units]; the first is the output h.
      slopes: the number of blocks of `units` that `local` gives to `backward`.
      bias_rows: 1, or 2 if h.U has its own bias.
      forward: (x_BZ, h_BZ, state) -> (state, gates), all tuples of [B, units].
      local: (gates, state before, state after) -> the slopes, a tuple.
      backward: (gradients of the state after, slopes) -> (gradients of x_BZ and
        h_BZ, one tensor if they are equal; gradients of the state before, without the
        part that passes through h.U).
    """

    gates: int
    states: int
    slopes: int
    bias_rows: int
    forward: Callable
    local: Callable
    backward: Callable


def _sigmoid(x):
    """A sigmoid whose bits do not depend on a row's place in the batch.

    tf.sigmoid rounds the last elements of a tensor differently (see
    `zoo.layers.batch_invariant`); tf.tanh does not.
    """
    return 0.5 * tf.tanh(0.5 * x) + 0.5


def _lstm_forward(x_BZ, h_BZ, state):
    i, f, g, o = tf.split(x_BZ + h_BZ, 4, axis=1)
    i, f, g, o = _sigmoid(i), _sigmoid(f), tf.tanh(g), _sigmoid(o)
    c = f * state[1] + i * g
    squashed = tf.tanh(c)
    return (o * squashed, c), (i, f, g, o, squashed)


def _lstm_local(gates, before, after):
    i, f, g, o, squashed = gates
    return (
        g * i * (1 - i),
        before[1] * f * (1 - f),
        i * (1 - g * g),
        squashed * o * (1 - o),
        o * (1 - squashed * squashed),
        f,
    )


def _lstm_backward(dstate, slopes):
    dh, dc = dstate
    i, f, g, o, c, keep = slopes
    dc += dh * c
    dz_BZ = tf.concat([dc * i, dc * f, dc * g, dh * o], axis=1)
    return (dz_BZ,), (tf.zeros_like(dh), dc * keep)


def _gru_forward(x_BZ, h_BZ, state):
    xz, xr, xn = tf.split(x_BZ, 3, axis=1)
    hz, hr, hn = tf.split(h_BZ, 3, axis=1)
    z, r = _sigmoid(xz + hz), _sigmoid(xr + hr)
    n = tf.tanh(xn + r * hn)
    return (z * state[0] + (1 - z) * n,), (z, r, n, hn)


def _gru_local(gates, before, after):
    z, r, n, hn = gates
    return (
        (before[0] - n) * z * (1 - z),
        hn * r * (1 - r),
        (1 - z) * (1 - n * n),
        r,
        z,
    )


def _gru_backward(dstate, slopes):
    (dh,) = dstate
    z, r, n, reset, keep = slopes
    dz, dn = dh * z, dh * n
    dr = dn * r
    dx_BZ = tf.concat([dz, dr, dn], axis=1)
    dh_BZ = tf.concat([dz, dr, dn * reset], axis=1)
    return (dx_BZ, dh_BZ), (dh * keep,)


def _rnn_forward(x_BZ, h_BZ, state):
    return (tf.tanh(x_BZ + h_BZ),), ()


def _rnn_local(gates, before, after):
    return (1 - after[0] * after[0],)


def _rnn_backward(dstate, slopes):
    return (dstate[0] * slopes[0],), (tf.zeros_like(dstate[0]),)


CELLS = {
    "lstm": Cell(4, 2, 6, 1, _lstm_forward, _lstm_local, _lstm_backward),
    "gru": Cell(3, 1, 5, 2, _gru_forward, _gru_local, _gru_backward),
    "rnn": Cell(1, 1, 1, 1, _rnn_forward, _rnn_local, _rnn_backward),
}


def lstm_bias(shape, dtype=None):
    """An LSTM's initial bias: 1 for the forget gate (Jozefowicz et al. 2015)."""
    return tf.repeat(tf.constant([0.0, 1.0, 0.0, 0.0], dtype), shape[0] // 4)


def advance(cell: Cell, x_BZ, h_BZ, state, keep_B1):
    """One step forward, float32, without a backward pass.

    Args:
      x_BZ, h_BZ: the products x.W and h.U with their biases.
      state: float32 [B, U] each.
      keep_B1: bool, False in rows that keep the old state; None is all True.

    Returns:
      The state after the step, and an empty tuple in the place of slopes.
    """
    after, _ = _advance(cell, x_BZ, h_BZ, state)
    return _chosen(keep_B1, after, state), ()


def advance_with_slopes(cell: Cell, x_BZ, h_BZ, state, keep_B1):
    """One step forward, as `advance`, for a later `retreat`.

    Returns:
      The state after the step, and a tuple of the slopes [B, L] in the dtype of x.
    """
    after, gates = _advance(cell, x_BZ, h_BZ, state)
    slopes_BL = tf.concat(cell.local(gates, state, after), axis=1)
    return _chosen(keep_B1, after, state), (tf.cast(slopes_BL, x_BZ.dtype),)


def retreat(cell: Cell, dy_BU, through_BU, dstate, slopes_BL, keep_B1):
    """One step backward.

    Args:
      dy_BU: the gradient of the step's output.
      through_BU: the gradient of the same output through h.U of the next step.
      dstate: the gradients of the state after the step, float32.
      slopes_BL: the slopes from `advance_with_slopes`.
      keep_B1: as for `advance`.

    Returns:
      The gradients of the products in the dtype of the slopes, and float32 gradients
      of the state before the step.
    """
    dh = dstate[0] + tf.cast(dy_BU, tf.float32) + tf.cast(through_BU, tf.float32)
    dstate = (dh, *dstate[1:])
    slopes = tf.split(tf.cast(slopes_BL, tf.float32), cell.slopes, axis=1)
    products, before = cell.backward(dstate, slopes)
    products = _chosen(keep_B1, products, [tf.zeros_like(p) for p in products])
    products = tuple(tf.cast(p, slopes_BL.dtype) for p in products)
    return products, _chosen(keep_B1, before, dstate)


def zeroed(reset_B1, *tensors):
    """The tensors with zeros in rows where reset is True; None is all False."""
    if reset_B1 is None:
        return tensors
    return tuple(tf.where(reset_B1, tf.zeros_like(x), x) for x in tensors)


def _advance(cell, x_BZ, h_BZ, state):
    """The state after one step and the gates, float32."""
    return cell.forward(tf.cast(x_BZ, tf.float32), h_BZ, state)


def _chosen(keep_B1, new, old):
    """A tuple of new tensors, with the old values in rows where keep is False."""
    if keep_B1 is None:
        return tuple(new)
    return tuple(tf.where(keep_B1, a, b) for a, b in zip(new, old, strict=True))


def biases(cell: Cell, bias):
    """The bias of x.W, and the bias of h.U (None for a cell without one)."""
    return (bias, None) if cell.bias_rows == 1 else (bias[0], bias[1])


def affine(x_NE, kernel_EZ, bias_Z):
    """x.W + b in the dtype of x."""
    return tf.nn.bias_add(tf.matmul(x_NE, kernel_EZ), tf.cast(bias_Z, x_NE.dtype))


def product(h_BU, kernel_UZ, bias_Z):
    """h.U, and its bias if there is one, float32."""
    y = tf.cast(tf.matmul(tf.cast(h_BU, kernel_UZ.dtype), kernel_UZ), tf.float32)
    return y if bias_Z is None else y + bias_Z
