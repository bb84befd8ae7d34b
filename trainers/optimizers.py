"""Optimizers: those of Keras, with Adam's update in one pass over memory.

The formula, the slots and weight decay are those of Keras. TensorFlow has one kernel
for the dozen operations of an update, and Adam uses it here. Sources:
Kingma and Ba 2014 (Adam, arXiv:1412.6980); Loshchilov and Hutter 2017 (AdamW,
arXiv:1711.05101; cosine decay, arXiv:1608.03983); Jordan et al. 2024 (Muon,
kellerjordan.github.io/posts/muon) as in Liu et al. 2025 (arXiv:2502.16982).
"""

from typing import Any

import keras
import tensorflow as tf

from trainers.run import Optimizer


def build(options: Optimizer, steps: int, variables) -> keras.optimizers.Optimizer:
    """An optimizer whose slots for the variables exist.

    Args:
      options: `Run.optimizer`.
      steps: of the whole run; a cosine decay ends with the last one.
      variables: the Keras variables that learn.
    """
    lr = schedule(options, steps)
    adam = {k: getattr(options, k) for k in ("beta_1", "beta_2", "epsilon")}
    if options.name == "sgd":
        optimizer = keras.optimizers.SGD(lr, momentum=options.momentum)
    elif options.name == "adam":
        optimizer = FusedAdam(lr, **adam)
    elif options.name == "muon":
        # the authors of Muon give embeddings and the head to AdamW
        optimizer = keras.optimizers.Muon(
            lr,
            adam_beta_1=options.beta_1,
            adam_beta_2=options.beta_2,
            epsilon=options.epsilon,
            weight_decay=options.weight_decay,
            adam_weight_decay=options.weight_decay,
            exclude_layers=["embedding", "position", "head"],
        )
    else:
        optimizer = FusedAdamW(lr, weight_decay=options.weight_decay, **adam)
    if options.name in ("adamw", "muon"):
        flat = [v for v in variables if len(v.shape) < 2]
        optimizer.exclude_from_weight_decay(var_list=flat)
    optimizer.build(variables)
    return optimizer


def schedule(options: Optimizer, steps: int) -> Any:
    """The learning rate of each step, as Keras asks for it.

    Step n of `steps` (the first is n = 1) has the rate

        lr * n / warmup                                      while n <= warmup
        lr * final + lr * (1 - final) * (1 + cos(pi * p)) / 2       of "cosine"

    where p goes from 0 at the last step of the warm-up (without one, at the first step)
    to 1 at the last step. So both `lr` and `lr * final` are reached. After the
    warm-up, "constant" stays at `lr`.

    Args:
      options: `Run.optimizer`.
      steps: of the whole run.
    """
    if options.decay == "constant" and not options.warmup:
        return options.lr
    peak = max(options.warmup, 1)
    return _FromOne(
        0.0,
        decay_steps=max(steps - peak, 1),
        # a constant rate is a decay that ends where it begins
        alpha=options.final if options.decay == "cosine" else 1.0,
        warmup_target=options.lr,
        warmup_steps=peak,
    )


class _FromOne(keras.optimizers.schedules.CosineDecay):
    """Keras' schedule with steps counted from 1, as in `schedule`."""

    def __call__(self, step):
        return super().__call__(step + 1)


class _OneKernel:
    """The update of Keras' Adam by the kernel ResourceApplyAdam."""

    # of the Keras class that follows in the order of resolution
    iterations: Any
    beta_1: Any
    beta_2: Any
    epsilon: Any
    _get_variable_index: Any
    _momentums: Any
    _velocities: Any

    def update_step(self, gradient, variable, learning_rate):
        i = self._get_variable_index(variable)
        step = tf.cast(self.iterations + 1, tf.float32)
        tf.raw_ops.ResourceApplyAdam(
            var=_handle(variable),
            m=_handle(self._momentums[i]),
            v=_handle(self._velocities[i]),
            beta1_power=tf.pow(self.beta_1, step),
            beta2_power=tf.pow(self.beta_2, step),
            lr=tf.cast(learning_rate, tf.float32),
            beta1=self.beta_1,
            beta2=self.beta_2,
            epsilon=self.epsilon,
            grad=tf.cast(tf.convert_to_tensor(gradient), tf.float32),
        )


def _handle(variable):
    """The resource of a variable."""
    # Keras passes a tf.Variable, but its slots are Keras variables
    return (variable if hasattr(variable, "handle") else variable.value).handle


class FusedAdam(_OneKernel, keras.optimizers.Adam):
    """Adam."""


class FusedAdamW(_OneKernel, keras.optimizers.AdamW):
    """AdamW: Adam whose weight decay does not pass through the moments."""
