"""The element-wise halves of three recurrent cells, with their derivatives.

A cell multiplies no matrices: it gets the two products x.W and h.U of one time step
(Z = gates * units wide) and works in float32. The layouts are those of
`keras.layers.LSTM`, `GRU(reset_after=True)` and `SimpleRNN`, so that weights and
numbers can be compared with theirs.

Backward passes need only *slopes*, the local derivatives, and not the gates that they
were made from. They are made in the forward pass, in float32, so that storing them in
bfloat16 rounds each once (1 - f of a stored f near 1 would lose all its digits), and
the loop backwards through time becomes a few multiplications.

  LSTM       Hochreiter & Schmidhuber 1997; Gers et al. 2000 (forget gate)
  GRU        Cho et al. 2014 (arXiv:1406.1078), in cuDNN's form: reset after the product
  simple RNN Elman 1990
"""

import dataclasses
from collections.abc import Callable

import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class Cell:
    """What the time loops must know of a cell.

    Attributes:
      gates: blocks of `units` in a product x.W.
      states: tensors [B, units] that are carried; the first is the output h.
      slopes: blocks of `units` that `forward` leaves for `backward`.
      bias_rows: 1, or 2 where h.U has a bias of its own.
      forward: (x_BZ, h_BZ, state) -> (state, gates), all tuples of [B, units].
      local: (gates, state before, state after) -> the slopes, a tuple.
      backward: (gradients of the state after, slopes) -> (gradients of x_BZ and
        h_BZ, one tensor where they are the same; gradients of the state before,
        without what passes through h.U).
    """

    gates: int
    states: int
    slopes: int
    bias_rows: int
    forward: Callable
    local: Callable
    backward: Callable


def _sigmoid(x):
    # tf.sigmoid rounds the last few elements of a tensor, those that fill no vector
    # register, in another way: a row's bits would depend on its place in the batch.
    # tf.tanh does not.
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


def advance(cell: Cell, x_BZ, h_BZ, state, keep_B1):
    """One step forward, float32.

    Args:
      x_BZ, h_BZ: the products x.W and h.U with their biases.
      state: float32 [B, U] each.
      keep_B1: bool, False where the state stays; None is all True.

    Returns:
      The state, and an empty tuple: nothing for a backward pass.
    """
    after, _ = _advance(cell, x_BZ, h_BZ, state)
    return _chosen(keep_B1, after, state), ()


def advance_with_slopes(cell: Cell, x_BZ, h_BZ, state, keep_B1):
    """As `advance`, and the slopes [B, L] for `retreat`, in the dtype of x."""
    after, gates = _advance(cell, x_BZ, h_BZ, state)
    slopes_BL = tf.concat(cell.local(gates, state, after), axis=1)
    return _chosen(keep_B1, after, state), (tf.cast(slopes_BL, x_BZ.dtype),)


def retreat(cell: Cell, dy_BU, through_BU, dstate, slopes_BL, keep_B1):
    """One step backward.

    Args:
      dy_BU: gradient of this step's output.
      through_BU: what reached this output through h.U of the next step.
      dstate: gradients of this step's state, float32.
      slopes_BL: what `advance_with_slopes` left.
      keep_B1: as there.

    Returns:
      The gradients of the products in the dtype of the slopes, and float32 gradients
      of the state before.
    """
    dh = dstate[0] + tf.cast(dy_BU, tf.float32) + tf.cast(through_BU, tf.float32)
    dstate = (dh, *dstate[1:])
    slopes = tf.split(tf.cast(slopes_BL, tf.float32), cell.slopes, axis=1)
    products, before = cell.backward(dstate, slopes)
    products = _chosen(keep_B1, products, [tf.zeros_like(p) for p in products])
    products = tuple(tf.cast(p, slopes_BL.dtype) for p in products)
    return products, _chosen(keep_B1, before, dstate)


def _advance(cell, x_BZ, h_BZ, state):
    return cell.forward(tf.cast(x_BZ, tf.float32), h_BZ, state)


def _chosen(keep_B1, new, old):
    if keep_B1 is None:
        return tuple(new)
    return tuple(tf.where(keep_B1, a, b) for a, b in zip(new, old, strict=True))
