"""A recurrent layer that reads another sequence at each step."""

import tensorflow as tf

from zoo import shapes
from zoo.layers.linear import read
from zoo.layers.recurrent import Recurrent, cells


class AttentiveRecurrent(Recurrent):
    """A recurrent layer of [x, context]; attention gives the context of each step.

    Attention reads the output of the step before. So a step must wait for it, and only
    the product of x is computed for all steps at a time. TensorFlow derives the
    gradient of the loop.

    Args:
      cell: "lstm", "gru" or "rnn".
      inputs: E, the width of x.
      context: C, the width of a context.
      units: U, the width of the output.

    Raises:
      ValueError: an unknown cell.
    """

    def __init__(self, cell: str, inputs: int, context: int, units: int, **kwargs):
        super().__init__(cell, inputs + context, units, **kwargs)
        self.inputs, self.context = inputs, context

    def read_all(self, x_TBE, state, attend):
        """Runs over a whole sequence.

        Args:
          x_TBE: time first; cast to the compute dtype.
          state: the state before the first step, float32 [B, U], once or twice.
          attend: from an output [B, U] to a context [B, C] in the compute dtype.

        Returns:
          The outputs [T, B, U] and the contexts [T, B, C], in the compute dtype.

        Raises:
          ValueError: x has another rank or width.
        """
        shapes.check("x", x_TBE, "TBE", E=self.inputs)
        dtype, (steps, batch) = self.compute_dtype, tf.unstack(tf.shape(x_TBE)[:2])
        static = x_TBE.shape[1]
        kernel_NZ, kernel_UZ = self._kernels(dtype)
        kernel_EZ, kernel_CZ = tf.split(kernel_NZ, (self.inputs, self.context))
        bias_Z, recurrent_bias_Z = cells.biases(self.cell, read(self.bias, tf.float32))
        flat = tf.reshape(tf.cast(x_TBE, dtype), (-1, self.inputs))
        x_TBZ = cells.affine(flat, kernel_EZ, bias_Z)
        x_TBZ = tf.reshape(x_TBZ, (steps, batch, kernel_NZ.shape[1]))

        def entries(width):
            return tf.TensorArray(dtype, steps, element_shape=(static, width))

        xs = entries(kernel_NZ.shape[1]).unstack(x_TBZ)

        def body(t, state, outputs, contexts):
            context_BC = attend(state[0])
            x_BZ = xs.read(t) + tf.matmul(context_BC, kernel_CZ)
            h_BZ = cells.product(state[0], kernel_UZ, recurrent_bias_Z)
            state, _ = cells.advance(self.cell, x_BZ, h_BZ, state, None)
            outputs = outputs.write(t, tf.cast(state[0], dtype))
            return t + 1, state, outputs, contexts.write(t, context_BC)

        first = 0, tuple(state), entries(self.units), entries(self.context)
        _, _, *found = tf.while_loop(
            lambda t, *_: t < steps,
            body,
            first,
            parallel_iterations=1,
            maximum_iterations=steps,
        )
        y_TBU, context_TBC = (array.stack() for array in found)
        outer = x_TBE.shape[:2]
        y_TBU = tf.ensure_shape(y_TBU, (*outer, self.units))
        return y_TBU, tf.ensure_shape(context_TBC, (*outer, self.context))
