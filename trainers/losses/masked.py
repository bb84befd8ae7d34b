"""Sums over the tokens of answers, as (sum, weight) of which the Step makes means."""

import tensorflow as tf


def token_sum(values_BT, mask_BT):
    """The sum over all tokens, and their number; off the mask no value matters."""
    answer = mask_BT > 0
    return tf.reduce_sum(tf.where(answer, values_BT, 0.0)), tf.reduce_sum(mask_BT)


def answer_means(values_BT, mask_BT):
    """The sum of the means of answers, and their number; an empty answer gives 0."""
    lengths_B = tf.maximum(tf.reduce_sum(mask_BT, -1), 1.0)
    sums_B = tf.reduce_sum(tf.where(mask_BT > 0, values_BT, 0.0), -1)
    return tf.reduce_sum(sums_B / lengths_B), tf.cast(tf.shape(mask_BT)[0], tf.float32)
