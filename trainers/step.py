"""The Step: the compiled function that turns a Batch into an optimizer update.

The result is the same for any number of replicas and accumulated parts, and for unequal
masks. The Step adds the sums of gradients and of weights over parts and replicas. Then
it divides once by the global weight, clips by the global norm, and applies what is
finite.
"""

import tensorflow as tf


def make_step(
    strategy, roles, objective, optimizer, variables, accumulate=1, clip_norm=0.0
):
    """Compiles the Step.

    Args:
      strategy: the tf.distribute strategy under which models and optimizer were made.
      roles: name to model.
      objective: the Step minimises its `loss`.
      optimizer: a Keras optimizer, built for `variables`.
      variables: the Keras variables that learn, each once.
      accumulate: into how many parts each replica's share of a batch is cut.
      clip_norm: the largest global norm; 0 is off.

    Returns:
      `step(batch) -> metrics`, float32 scalars: loss, weight, grad_norm, skipped (1
      where a gradient was not finite and nothing was changed), lr, and the
      objective's own.
    """
    models = [roles[name] for name in objective.trains]
    values = [v.value for v in variables]
    replicas = strategy.num_replicas_in_sync

    def gradients(batch):
        """The sums of one part: gradients, and the Loss."""
        with tf.GradientTape() as tape:
            loss = objective.loss(roles, batch, training=True)
        # dense, since Keras' optimizers square the duplicates of a sparse gradient
        return [
            tf.zeros_like(v) if g is None else tf.convert_to_tensor(g)
            for v, g in zip(values, tape.gradient(loss.sum, values), strict=True)
        ], loss

    def add(left, right):
        return tf.nest.map_structure(tf.add, left, right)

    def replica_sums(batch):
        if accumulate == 1:
            sums = gradients(batch)
        else:
            parts = {k: tf.stack(tf.split(x, accumulate)) for k, x in batch.items()}

            def part(i):
                return gradients({k: x[i] for k, x in parts.items()})

            # a loop, or all parts' activations would live at the same time
            _, sums = tf.while_loop(
                lambda i, _: i < accumulate,
                lambda i, sums: (i + 1, add(sums, part(i))),
                (1, part(0)),
                parallel_iterations=1,
            )
        if replicas > 1:
            context = tf.distribute.get_replica_context()
            sums = context.all_reduce("SUM", sums)
        grads, loss = sums
        weight = tf.maximum(loss.weight, 1e-9)
        grads = [g / weight for g in grads]
        loss_value = loss.sum / weight
        penalties, penalty_grads = _penalties(models, values)
        if penalty_grads is not None:
            grads = add(grads, penalty_grads)
            loss_value += penalties
        norm = tf.linalg.global_norm(grads)
        if clip_norm:
            # min(1, limit / norm) keeps NaN, so that it is seen below
            grads = [g * tf.minimum(1.0, clip_norm / norm) for g in grads]
        metrics = {
            name: total / tf.maximum(share, 1e-9)
            for name, (total, share) in loss.metrics.items()
        }
        metrics |= {"loss": loss_value, "weight": loss.weight, "grad_norm": norm}
        return grads, metrics

    def apply(grads):
        # Keras sums over replicas once more
        optimizer.apply([g / replicas for g in grads], variables)

    @tf.function(autograph=False)
    def step(batch):
        grads, metrics = strategy.run(replica_sums, (batch,))
        metrics = {
            name: strategy.experimental_local_results(value)[0]
            for name, value in metrics.items()
        }
        metrics["lr"] = tf.cast(optimizer.learning_rate, tf.float32)
        finite = tf.math.is_finite(metrics["loss"] + metrics["grad_norm"])

        def update():
            strategy.run(apply, (grads,))
            return 0.0

        metrics["skipped"] = tf.cond(finite, update, lambda: 1.0)
        return metrics

    return step


def _penalties(models, values):
    """The sum of the models' L1 and L2 penalties, and its gradients or None."""
    with tf.GradientTape() as tape:
        losses = [loss for model in models for loss in model.losses]
        if not losses:
            return 0.0, None
        total = tf.add_n(losses)
    zero = tf.UnconnectedGradients.ZERO
    grads = tape.gradient(total, values, unconnected_gradients=zero)
    return total, grads
