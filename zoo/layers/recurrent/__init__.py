"""Recurrent layers (LSTM, GRU, simple RNN) over time-major sequences.

Two paths compute the same numbers. *Inference* is a plain `tf.while_loop` of core ops.
It can be exported, and TensorFlow can differentiate it. *Training* has its own backward
pass, and can be differentiated once. The method is that of Appleyard et al. 2016
(arXiv:1604.01946). Before the forward loop, one matrix product computes x.W of all time
steps. After the backward loop, one product for each kernel computes its gradient. So
the backward loop contains a single product, dz.U^T.

In float32, XLA compiles each loop as a whole. On a CPU, XLA is slow at bfloat16 matrix
products. So in other dtypes XLA compiles only the element-wise part of a time step.

Shapes: Z is gates * units, U is units, L is slopes * units.
"""

import functools

import keras
import tensorflow as tf

from zoo import shapes
from zoo.fields import one_of
from zoo.layers.linear import column_sums, read, transposed
from zoo.layers.recurrent import cells
from zoo.layers.recurrent.cells import CELLS, Cell
from zoo.layers.xla_cluster import xla_cluster


class Recurrent(keras.layers.Layer):
    """One recurrent layer, with the weight layout of the Keras layers.

    Args:
      cell: "lstm", "gru" or "rnn".
      inputs: E, the width of the input.
      units: U, the width of the output.

    Raises:
      ValueError: an unknown cell.
    """

    def __init__(self, cell: str, inputs: int, units: int, **kwargs):
        super().__init__(**kwargs)
        self.supports_jit = False  # the training path holds compiled loops
        one_of("Recurrent.cell", cell, CELLS)
        self.cell, self.units = CELLS[cell], units
        self.adapter = self.recurrent_adapter = None  # a `low_rank.LowRank` each
        wide = self.cell.gates * units
        self.kernel = self._weight("kernel", (inputs, wide), "glorot_uniform")
        self.recurrent_kernel = self._weight(
            "recurrent_kernel", (units, wide), "orthogonal"
        )
        rows = self.cell.bias_rows
        shape = (rows, wide) if rows > 1 else (wide,)
        initial = cells.lstm_bias if cell == "lstm" else "zeros"
        self.bias = self._weight("bias", shape, initial)
        self.built = True

    def _weight(self, name, shape, initializer):
        return self.add_weight(
            shape=shape, initializer=initializer, name=name, autocast=False
        )

    def _kernels(self, dtype):
        """The two kernels, with what their adapters add."""
        found = []
        for kernel, adapter in (
            (self.kernel, self.adapter),
            (self.recurrent_kernel, self.recurrent_adapter),
        ):
            value = read(kernel, tf.float32)
            value = value if adapter is None else adapter.added(value)
            found.append(tf.cast(value, dtype))
        return found

    def zero_state(self, batch):
        """The state before the first token: float32 [B, U], once or (LSTM) twice."""
        return tuple(tf.zeros((batch, self.units)) for _ in range(self.cell.states))

    def call(self, x_TBE, state=None, mask_TB=None, training=False, reset_TB=None):
        """Runs over a whole sequence.

        Args:
          x_TBE: time first; cast to the compute dtype.
          state: the state that an earlier call returned; None is zeros.
          mask_TB: bool, False where the state does not change; None is all True.
          training: whether the caller will compute gradients, by the training path.
          reset_TB: bool, True where the state becomes zeros before the step, at the
            start of a segment; None is all False.

        Returns:
          The outputs [T, B, U] in the compute dtype, and the final state.

        Raises:
          ValueError: x has another rank or width.
        """
        shapes.check("x", x_TBE, "TBE", E=self.kernel.shape[0])
        x_TBE = tf.cast(x_TBE, self.compute_dtype)
        if state is None:
            state = self.zero_state(tf.shape(x_TBE)[1])
        masks = tuple(
            None if mask is None else tf.cast(mask, tf.bool)[:, :, None]
            for mask in (mask_TB, reset_TB)
        )
        weights = [*self._kernels(tf.float32), read(self.bias, tf.float32)]
        path = _train if training else _infer
        y_TBU, state = path(self.cell, x_TBE, weights, tuple(state), masks)
        y_TBU = tf.ensure_shape(y_TBU, (*x_TBE.shape[:2], self.units))
        return y_TBU, state

    def step(self, x_BE, state):
        """Runs one time step.

        Args:
          x_BE: the input of the step.
          state: the state before the step.

        Returns:
          The state after the step; its first tensor is the output [B, U].
        """
        dtype = self.compute_dtype
        bias_Z, recurrent_bias_Z = cells.biases(self.cell, read(self.bias, tf.float32))
        kernel_EZ, kernel_UZ = self._kernels(dtype)
        x_BZ = cells.affine(tf.cast(x_BE, dtype), kernel_EZ, bias_Z)
        h_BZ = cells.product(state[0], kernel_UZ, recurrent_bias_Z)
        return cells.advance(self.cell, x_BZ, h_BZ, tuple(state), None)[0]


# ------------------------------------------------------------------ products


def _inputs(x_TBE, kernel_EZ, bias_Z):
    """x.W + b of all time steps, [T, B, Z], by one matrix product."""
    outer, wide = x_TBE.shape[:2], kernel_EZ.shape[1]
    y_NZ = cells.affine(_rows(x_TBE), kernel_EZ, bias_Z)
    y_TBZ = tf.reshape(y_NZ, tf.concat([tf.shape(x_TBE)[:2], [wide]], 0))
    return tf.ensure_shape(y_TBZ, (*outer, wide))


def _rows(x_TBN):
    """[T * B, N]."""
    return tf.reshape(x_TBN, (-1, x_TBN.shape[2]))


# ------------------------------------------------------------------ loops over time


def _unstack(x_TBN) -> tf.TensorArray:
    """A TensorArray with one entry for each time step."""
    steps, shape = tf.shape(x_TBN)[0], x_TBN.shape[1:]
    return tf.TensorArray(x_TBN.dtype, steps, element_shape=shape).unstack(x_TBN)


def _readers(masks):
    """A function for each mask, from a time step to its [B, 1] or to None."""
    return [(lambda t: None) if m is None else _unstack(m).read for m in masks]


def _outputs(widths, like_TBN, dtype):
    """Empty TensorArrays of [B, width], one for each width."""
    steps, batch = tf.shape(like_TBN)[0], like_TBN.shape[1]
    return tuple(
        tf.TensorArray(dtype, steps, element_shape=(batch, width)) for width in widths
    )


def _forward(advance, widths, x_TBZ, kernel_UZ, bias_Z, state, masks):
    """The loop over time; `masks` says where the state is kept, and where reset.

    Returns:
      A list of the outputs [T, B, U] and the other results of `advance` of all steps,
      and the last state.
    """
    steps, dtype = tf.shape(x_TBZ)[0], x_TBZ.dtype
    xs, (keep_of, reset_of) = _unstack(x_TBZ), _readers(masks)

    def body(t, state, outs):
        state = cells.zeroed(reset_of(t), *state)
        h_BZ = cells.product(state[0], kernel_UZ, bias_Z)
        state, extra = advance(xs.read(t), h_BZ, state, keep_of(t))
        values = tf.cast(state[0], dtype), *extra
        written = [o.write(t, v) for o, v in zip(outs, values, strict=True)]
        return t + 1, state, tuple(written)

    _, state, outs = tf.while_loop(
        lambda t, *_: t < steps,
        body,
        (0, state, _outputs(widths, x_TBZ, dtype)),
        parallel_iterations=1,
        maximum_iterations=steps,
    )
    return [out.stack() for out in outs], state


def _backward(retreat, widths, dy_TBU, slopes_TBL, kernel_ZU, dstate, masks):
    """The loop backwards through time; `cells` has an example.

    Returns:
      A list of the gradients [T, B, Z] of x.W and of h.U, or one tensor if they are
      equal; and the gradient of the first state.
    """
    steps, dtype = tf.shape(dy_TBU)[0], slopes_TBL.dtype
    dys, slopes = _unstack(dy_TBU), _unstack(slopes_TBL)
    keep_of, reset_of = _readers(masks)

    def body(t, through_BU, dstate, outs):
        products, dstate = retreat(
            dys.read(t), through_BU, dstate, slopes.read(t), keep_of(t)
        )
        outs = tuple(o.write(t, p) for o, p in zip(outs, products, strict=True))
        through_BU = tf.matmul(products[-1], kernel_ZU)
        # the state before a reset has no influence on the step
        through_BU, *dstate = cells.zeroed(reset_of(t), through_BU, *dstate)
        return t - 1, through_BU, tuple(dstate), outs

    through_BU = tf.zeros_like(dstate[0], dtype)
    _, through_BU, dstate, outs = tf.while_loop(
        lambda t, *_: t >= 0,
        body,
        (steps - 1, through_BU, dstate, _outputs(widths, dy_TBU, dtype)),
        parallel_iterations=1,
        maximum_iterations=steps,
    )
    dstate = (dstate[0] + tf.cast(through_BU, tf.float32), *dstate[1:])
    return [out.stack() for out in outs], dstate


# ------------------------------------------------------------------ the two paths


def _infer(cell: Cell, x_TBE, weights, state, masks):
    """The inference path: outputs [T, B, U] and the last state."""
    kernel_EZ, kernel_UZ, bias = weights
    dtype, units = x_TBE.dtype, kernel_UZ.shape[0]
    bias_Z, recurrent_bias_Z = cells.biases(cell, bias)
    x_TBZ = _inputs(x_TBE, tf.cast(kernel_EZ, dtype), bias_Z)
    step = functools.partial(cells.advance, cell)
    kernel_UZ = tf.cast(kernel_UZ, dtype)
    (y_TBU,), state = _forward(
        step, (units,), x_TBZ, kernel_UZ, recurrent_bias_Z, state, masks
    )
    return y_TBU, state


@functools.cache
def _loops(cell: Cell, units: int, whole: bool):
    """The forward and the backward loop of training.

    XLA compiles whole loops, or the element-wise part of each step. On a GPU the loops
    are plain ops.
    """

    def plain(f):
        return f

    gpu = tf.config.list_physical_devices("GPU")
    of_loop = xla_cluster if whole and not gpu else plain
    of_step = xla_cluster if not whole and not gpu else plain
    advance = of_step(functools.partial(cells.advance_with_slopes, cell))
    retreat = of_step(functools.partial(cells.retreat, cell))
    outputs = (units, cell.slopes * units)
    products = (cell.gates * units,) * cell.bias_rows
    return (
        of_loop(functools.partial(_forward, advance, outputs)),
        of_loop(functools.partial(_backward, retreat, products)),
    )


def _train(cell: Cell, x_TBE, weights, state, masks):
    """The training path: outputs [T, B, U] and the last state, with gradients."""
    dtype, units = x_TBE.dtype, weights[1].shape[0]
    forward, backward = _loops(cell, units, whole=dtype == tf.float32)

    @tf.custom_gradient
    def run(x_TBE, kernel_EZ, kernel_UZ, bias, *state):
        # A tape still watches these tensors. Without stop_gradient the compiled loops
        # would also return all tensors that their own derivatives need.
        x_TBE, kernel_EZ, kernel_UZ, bias, state = tf.nest.map_structure(
            tf.stop_gradient, (x_TBE, kernel_EZ, kernel_UZ, bias, state)
        )
        input_kernel = tf.cast(kernel_EZ, dtype)
        recurrent_kernel = tf.cast(kernel_UZ, dtype)
        bias_Z, recurrent_bias_Z = cells.biases(cell, bias)
        x_TBZ = _inputs(x_TBE, input_kernel, bias_Z)
        (y_TBU, slopes_TBL), last = forward(
            x_TBZ, recurrent_kernel, recurrent_bias_Z, state, masks
        )
        y_TBU = tf.ensure_shape(y_TBU, (*x_TBE.shape[:2], units))  # stack() loses T

        def gradient(dy_TBU, *dlast):
            products, dfirst = backward(
                dy_TBU, slopes_TBL, tf.transpose(recurrent_kernel), dlast, masks
            )
            of_x, of_h = _rows(products[0]), _rows(products[-1])
            before = tf.concat([tf.cast(state[0], dtype)[None], y_TBU[:-1]], 0)
            (before,) = cells.zeroed(masks[1], before)
            dx = tf.matmul(of_x, transposed(input_kernel))
            sums = [tf.cast(column_sums(_rows(p)), tf.float32) for p in products]
            return (
                tf.reshape(dx, tf.shape(x_TBE)),
                tf.cast(tf.matmul(_rows(x_TBE), of_x, transpose_a=True), tf.float32),
                tf.cast(tf.matmul(_rows(before), of_h, transpose_a=True), tf.float32),
                sums[0] if len(sums) == 1 else tf.stack(sums),
                *dfirst,
            )

        return (y_TBU, *last), gradient

    y_TBU, *last = run(x_TBE, *weights, *state)
    return y_TBU, tuple(last)
