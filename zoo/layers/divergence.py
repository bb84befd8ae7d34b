"""The divergence of a student's next-token distribution from a teacher's, in chunks.

Two heads of a large vocabulary would make two [N, V] tensors of logits. This function
keeps the logits of one chunk of rows at a time, and has its own gradient.

Sources: Hinton et al. 2015 (soft targets, temperature, arXiv:1503.02531); Agarwal et
al. 2023 (reverse KL and JSD for language models, arXiv:2306.13649).
"""

from typing import Any, NamedTuple

import tensorflow as tf

from zoo.layers import head_chunks

KINDS = ("forward_kl", "reverse_kl", "jsd")

_CHUNK = 512  # rows; student and teacher together have the 1,024 of `cross_entropy`


class Head(NamedTuple):
    """A linear head and its input.

    Attributes:
      x_ND: features; the matrix product has their dtype.
      weight_VD: float32.
      bias_V: float32, or None.
      softcap: above 0, logits become softcap * tanh(logits / softcap); 0 is off.
    """

    x_ND: Any
    weight_VD: Any
    bias_V: Any = None
    softcap: float = 0.0


def linear_distillation(
    student: Head,
    teacher: Head,
    targets_N,
    weights_N,
    kind: str = "forward_kl",
    temperature: float = 1.0,
    alpha: float = 0.5,
):
    """Sums over rows of weight * loss, where q is the student and p the teacher.

        loss         alpha * T^2 * divergence + (1 - alpha) * cross-entropy
        divergence   of p and q, both softmax(logits / T)
            forward_kl   sum p log(p / q)
            reverse_kl   sum q log(q / p)
            jsd          the mean of KL(p, m) and KL(q, m), where m = (p + q) / 2

    The factor T^2 keeps the size of the gradient at any temperature T (Hinton et al.).

    Args:
      student: has the gradients.
      teacher: of the same V; has no gradient.
      targets_N: int32 in [0, V).
      weights_N: float32, the weight of each row in the sums.
      kind: one of `KINDS`.
      temperature: T, above 0.
      alpha: from 0 to 1.

    Returns:
      Three float32 scalars: the loss, with gradients for the student's x, weight and
      bias; the divergence at temperature T, and the cross-entropy, without gradients.
    """
    has_bias = student.bias_V is not None
    dtype = student.x_ND.dtype
    teacher_VE = tf.cast(teacher.weight_VD, teacher.x_ND.dtype)

    @tf.custom_gradient
    def sums_of(x_ND, weight_VD, bias_V):
        weight = tf.cast(weight_VD, dtype)
        biased = bias_V if has_bias else None

        def of(part):
            x = x_ND[part]
            logits = _logits(x, weight, biased, student.softcap)
            goal = _logits(
                teacher.x_ND[part], teacher_VE, teacher.bias_V, teacher.softcap
            )
            sums, dlogits = _losses(
                logits,
                goal,
                targets_N[part],
                weights_N[part],
                (kind, temperature, alpha),
            )
            if student.softcap:
                dlogits *= 1 - tf.square(logits / student.softcap)
            dbias = tf.reduce_sum(dlogits, 0) if has_bias else 0.0
            dlogits = tf.cast(dlogits, dtype)
            dweight = tf.cast(tf.matmul(dlogits, x, transpose_a=True), tf.float32)
            return sums, tf.matmul(dlogits, weight), dweight, dbias

        chunk = head_chunks.limited(_CHUNK, 2 * weight_VD.shape[0])
        sums, grads_of = head_chunks.sums(of, x_ND, weight_VD, chunk, tf.zeros(3))

        def backward(dy):
            dx, dweight, dbias = grads_of()
            dy = dy[0]
            scaled = dx * tf.cast(dy, dtype), dweight * dy
            return (*scaled, dbias * dy) if has_bias else (*scaled, tf.zeros(()))

        return sums, backward

    bias_V = student.bias_V if has_bias else tf.zeros(())
    loss, divergence, hard = tf.unstack(
        sums_of(student.x_ND, student.weight_VD, bias_V)
    )
    return loss, tf.stop_gradient(divergence), tf.stop_gradient(hard)


def _logits(x, weight, bias_V, softcap):
    """The float32 logits of a chunk of rows."""
    logits = tf.cast(tf.matmul(x, weight, transpose_b=True), tf.float32)
    if bias_V is not None:
        logits = logits + bias_V
    return softcap * tf.tanh(logits / softcap) if softcap else logits


def _losses(logits, goal, targets, weights, options):
    """The three sums [3] of a chunk, and the gradient of the first for the logits."""
    kind, temperature, alpha = options
    log_q = tf.nn.log_softmax(logits / temperature)
    log_p = tf.nn.log_softmax(goal / temperature)
    p, q = tf.exp(log_p), tf.exp(log_q)
    if kind == "forward_kl":
        divergence = tf.reduce_sum(p * (log_p - log_q), -1)
        dlogits = q - p
    else:
        # the gradient of sum q g(q) for logits is q * (g - sum q g), up to constants
        log_r = log_p
        if kind == "jsd":
            log_r = tf.reduce_max(tf.stack([log_p, log_q]), 0)
            log_r += tf.math.log1p(tf.exp(-tf.abs(log_p - log_q))) - tf.math.log(2.0)
        ratio = log_q - log_r
        mean = tf.reduce_sum(q * ratio, -1)
        dlogits = q * (ratio - mean[:, None])
        divergence = mean
        if kind == "jsd":
            divergence = (mean + tf.reduce_sum(p * (log_p - log_r), -1)) / 2
            dlogits /= 2
    log_1 = tf.nn.log_softmax(logits)
    at = tf.stack([tf.range(tf.shape(logits)[0]), targets], 1)
    hard = -tf.gather_nd(log_1, at)
    dhard = tf.tensor_scatter_nd_sub(tf.exp(log_1), at, tf.ones_like(hard))
    dlogits = alpha * temperature * dlogits + (1 - alpha) * dhard
    loss = alpha * temperature**2 * divergence + (1 - alpha) * hard
    sums = tf.stack([loss, divergence, hard]) * weights
    return tf.reduce_sum(sums, 1), dlogits * weights[:, None]
