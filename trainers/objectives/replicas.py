"""What the losses of a whole batch share: the rows of all replicas."""

import tensorflow as tf


def of_all(x) -> tuple[tf.Tensor, tf.Tensor | int]:
    """The tensors [B, ...] of all replicas as one, and the row of the first own one.

    The gradient of a row is the sum of those of all replicas. (That of TensorFlow's
    `all_gather` is another.)
    """
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return x, 0
    rows = tf.shape(x)[0]
    first = context.replica_id_in_sync_group * rows

    @tf.custom_gradient
    def gathered(x):
        def backward(dy):
            return context.all_reduce("SUM", dy)[first : first + rows]

        return context.all_gather(x, axis=0), backward

    # a gathered tensor forgets the sizes that it has
    return tf.ensure_shape(gathered(x), [None, *x.shape[1:]]), first


def sum_of_all(x) -> tf.Tensor:
    """The sum of a tensor over the replicas; it has no gradient."""
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return tf.stop_gradient(x)
    return context.all_reduce("SUM", tf.stop_gradient(x))
