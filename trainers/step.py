"""The Step: the compiled function that turns a Batch into an optimizer update.

The result is the same for any number of replicas and accumulated parts, and for unequal
masks. The Step adds the sums of gradients and of weights over parts and replicas,
divides by the global weight, clips by the global norm, and applies what is finite.
"""

import tensorflow as tf

from trainers.objectives.loss import Loss, Mean


def make_step(
    strategy,
    roles,
    objective,
    optimizer,
    variables,
    accumulate=1,
    clip_norm=0.0,
    batch_spec=None,
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
      batch_spec: the types and shapes of all Batches, so that one trace serves Batches
        of many lengths; None traces each shape.

    Returns:
      `step(batch) -> metrics`, each a `Mean` of float32 scalars: loss (with the
      penalties and extra losses of the models), weight, grad_norm, lr, the objective's
      own, and skipped: 1 where nothing was changed, because a gradient was not finite
      or no example had a weight.
    """
    models = [roles[name] for name in objective.trains]
    values = [v.value for v in variables]
    replicas = strategy.num_replicas_in_sync

    def gradients(batch, divisor=None):
        """The sums of one part: gradients, and the Loss.

        `divisor` maps the weight to what the gradients are divided by, before they are
        computed: afterwards, a division would be one more pass over all of them.
        """
        for model in models:
            model._clear_losses()  # those of an earlier trace
        with tf.GradientTape() as tape:
            loss = objective.loss(roles, batch, training=True)
            # on the tape that recorded them: another would find no gradient
            extra = [tf.cast(x, tf.float32) for m in models for x in _extra_losses(m)]
            if extra:
                total = loss.sum + tf.stop_gradient(loss.weight) * tf.add_n(extra)
                loss = loss._replace(sum=total)
        share = None if divisor is None else [1 / divisor(loss.weight)]
        grads = tape.gradient([loss.sum], values, output_gradients=share)
        # dense, since Keras' optimizers square the duplicates of a sparse gradient
        return [
            tf.zeros_like(v) if g is None else tf.convert_to_tensor(g)
            for v, g in zip(values, grads, strict=True)
        ], Loss(loss.sum, loss.weight, {k: Mean(*m) for k, m in loss.metrics.items()})

    def add(left, right):
        return tf.nest.map_structure(tf.add, left, right)

    def over_replicas(sums):
        if replicas == 1:
            return sums
        return tf.distribute.get_replica_context().all_reduce("SUM", sums)

    def divisor(weight):
        return tf.maximum(weight, 1e-9)

    def replica_sums(batch):
        if accumulate == 1:
            sums = gradients(batch, lambda weight: divisor(over_replicas(weight)))
        else:
            parts = {k: tf.stack(tf.split(x, accumulate)) for k, x in batch.items()}

            @tf.function(autograph=False)
            def part(i):
                return gradients({k: x[i] for k, x in parts.items()})

            # a loop, or the activations of all parts would live at the same time
            of_part = part.get_concrete_function(tf.TensorSpec((), tf.int32))
            zeros = tf.nest.map_structure(
                lambda x: tf.zeros(x.shape, x.dtype), of_part.structured_outputs
            )
            _, sums = tf.while_loop(
                lambda i, _: i < accumulate,
                lambda i, sums: (i + 1, add(sums, of_part(i))),
                (0, zeros),
                parallel_iterations=1,
            )
        grads, loss = over_replicas(sums)
        if accumulate > 1:  # the weight of all parts is known only now
            grads = [g / divisor(loss.weight) for g in grads]
        penalties, penalty_grads = _penalties(variables)
        if penalty_grads is not None:
            grads = add(grads, penalty_grads)
        norm = tf.linalg.global_norm(grads)
        if clip_norm:
            # min(1, limit / norm) keeps NaN, so that it is seen below
            factor = tf.minimum(1.0, clip_norm / norm)
            grads = [g * factor for g in grads]
        return grads, {
            **loss.metrics,
            "loss": Mean(loss.sum + penalties * loss.weight, loss.weight),
            "weight": Mean(loss.weight, tf.ones(())),
            "grad_norm": Mean(norm, tf.ones(())),
        }

    def apply(grads):
        if replicas > 1:  # Keras sums over replicas once more
            grads = [g / replicas for g in grads]
        optimizer.apply(grads, variables)

    signature = None if batch_spec is None else [batch_spec]

    @tf.function(autograph=False, input_signature=signature)
    def step(batch):
        grads, metrics = strategy.run(replica_sums, (batch,))
        metrics = {
            name: Mean(*(strategy.experimental_local_results(x)[0] for x in mean))
            for name, mean in metrics.items()
        }
        loss, norm = metrics["loss"], metrics["grad_norm"]
        useful = tf.math.is_finite(loss.sum + norm.sum) & (loss.weight > 0)

        def update():
            strategy.run(apply, (grads,))
            return 0.0

        rate = tf.cast(optimizer.learning_rate, tf.float32)
        skipped = tf.cond(useful, update, lambda: 1.0)
        metrics["lr"] = Mean(rate, tf.ones(()))
        metrics["skipped"] = Mean(skipped, tf.ones(()))
        return metrics

    return step


def _extra_losses(model):
    """What the layers of a model gave to `add_loss`, without the penalties."""
    penalties = sum(v.regularizer is not None for v in model.trainable_weights)
    losses = model.losses
    return losses[: len(losses) - penalties]


def _penalties(variables):
    """The sum of the variables' L1 and L2 penalties, and its gradients or None."""
    with tf.GradientTape() as tape:
        losses = [v.regularizer(v) for v in variables if v.regularizer is not None]
        if not losses:
            return 0.0, None
        total = tf.add_n(losses)
    zero = tf.UnconnectedGradients.ZERO
    values = [v.value for v in variables]
    return total, tape.gradient(total, values, unconnected_gradients=zero)
