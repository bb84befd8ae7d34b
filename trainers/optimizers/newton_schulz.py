"""The orthogonal factor of a matrix, approximated by products alone.

Let X = U S V^T be a matrix with s rows and l >= s columns, divided by its norm. A step
of the iteration is X <- P X with P = a I + b A + c A^2 and A = X X^T. It moves all
singular values towards 1, so that a few steps give about U V^T.

P has the size of A and commutes with it. So all steps can be computed on the small
matrix: A <- A P^2, and Q <- Q P, and the result is Q X. Five steps of 192 x 768 take as
many operations as 25 products of 192 x 192 matrices, in place of 45.

Sources: Bernstein and Newhouse 2024 (arXiv:2409.20325); Jordan et al. 2024 (the
coefficients, kellerjordan.github.io/posts/muon).
"""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

_WIDE = 2  # times as long as it is wide: there the small matrix pays
_EPSILON = 1e-7


def orthogonalized(x_MN: Any, coefficients: Sequence[float], steps: int) -> Any:
    """About U V^T of a matrix, in its dtype.

    Args:
      x_MN: of known sizes.
      coefficients: a, b and c.
      steps: of the iteration, at least 1.
    """
    x_MN /= tf.norm(x_MN) + _EPSILON
    rows, columns = x_MN.shape
    if max(rows, columns) < _WIDE * min(rows, columns):
        return _plain(x_MN, coefficients, steps)
    high = rows > columns
    a_SS = tf.matmul(x_MN, x_MN, transpose_a=high, transpose_b=not high)
    q_SS = _factor(a_SS, coefficients, steps)
    return tf.matmul(x_MN, q_SS) if high else tf.matmul(q_SS, x_MN)


def _plain(x_MN, coefficients, steps):
    """The steps on the matrix itself."""
    high = x_MN.shape[0] > x_MN.shape[1]
    for _ in range(steps):
        a_SS = tf.matmul(x_MN, x_MN, transpose_a=high, transpose_b=not high)
        p_SS = _polynomial(a_SS, coefficients)
        x_MN = tf.matmul(x_MN, p_SS) if high else tf.matmul(p_SS, x_MN)
    return x_MN


def _factor(a_SS, coefficients, steps):
    """The product Q of the P of all steps."""
    q_SS = p_SS = _polynomial(a_SS, coefficients)
    for _ in range(steps - 1):
        a_SS = tf.matmul(tf.matmul(a_SS, p_SS), p_SS)
        p_SS = _polynomial(a_SS, coefficients)
        q_SS = tf.matmul(q_SS, p_SS)
    return q_SS


def _polynomial(a_SS, coefficients):
    """P = a I + b A + c A^2."""
    a, b, c = coefficients
    p_SS = b * a_SS + c * tf.matmul(a_SS, a_SS)
    return tf.linalg.set_diag(p_SS, tf.linalg.diag_part(p_SS) + a)
