"""Optimizers: those of Keras, with Adam's update in one pass over memory.

The formula, the slots and weight decay are those of Keras. TensorFlow has one kernel
for the dozen operations of an update, and Adam uses it here. Each variable may have a
factor of the learning rate, and an average of its values. Sources:
Kingma and Ba 2014 (Adam, arXiv:1412.6980; averages with their correction, section 7.2);
Loshchilov and Hutter 2017 (AdamW, arXiv:1711.05101; cosine decay, arXiv:1608.03983);
Jordan et al. 2024 (Muon, kellerjordan.github.io/posts/muon) as in Liu et al. 2025
(arXiv:2502.16982).
"""

import contextlib
import fnmatch
import math
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from trainers.optimizers import newton_schulz
from trainers.run import Optimizer, scale


def build(
    options: Optimizer, steps: int, variables, paths: Sequence[str] = ()
) -> keras.optimizers.Optimizer:
    """An optimizer whose slots for the variables exist.

    Args:
      options: `Run.optimizer`.
      steps: of the whole run; a cosine decay ends with the last one.
      variables: the Keras variables that learn. Those of two or more dimensions get
        the penalties of the options.
      paths: the weight path of each variable, for `options.scales`.

    Raises:
      ValueError: a pattern of `scales` fits no path, or a variable has a penalty of its
        model and one of the options.
    """
    lr = schedule(options, steps)
    factors = _factors(options.scales, paths)
    _penalize(options, variables)
    adam = {k: getattr(options, k) for k in ("beta_1", "beta_2", "epsilon")}
    average = {"use_ema": bool(options.ema), "ema_momentum": options.ema}
    if options.name == "sgd":
        optimizer = SGD(lr, momentum=options.momentum, **average)
    elif options.name == "adam":
        optimizer = FusedAdam(lr, **adam, **average)
    elif options.name == "muon":
        # the authors of Muon give embeddings and the head to AdamW
        optimizer = Muon(
            lr,
            **average,
            adam_beta_1=options.beta_1,
            adam_beta_2=options.beta_2,
            epsilon=options.epsilon,
            weight_decay=options.weight_decay,
            adam_weight_decay=options.weight_decay,
            exclude_layers=["embedding", "position", "head"],
        )
    else:
        decay = options.weight_decay
        optimizer = FusedAdamW(lr, weight_decay=decay, **adam, **average)
    if options.name in ("adamw", "muon"):
        flat = [v for v in variables if len(v.shape) < 2]
        optimizer.exclude_from_weight_decay(var_list=flat)
    optimizer.build(variables)
    optimizer.factors = factors
    return optimizer


@contextlib.contextmanager
def averaged(optimizer, variables) -> Iterator[None]:
    """Puts the averages into the variables; after the block, the weights are back.

    Nothing changes without averages, or before the first step.

    Args:
      optimizer: of `build`.
      variables: for which it was built.
    """
    if not optimizer.use_ema or not np.asarray(optimizer.iterations.value):
        yield
        return
    averages = optimizer._model_variables_moving_average
    _swap(variables, averages)
    try:
        yield
    finally:
        _swap(variables, averages)


def _swap(variables, averages):
    """Exchanges the values of two lists of variables, pair by pair."""
    for variable, average in zip(variables, averages, strict=True):
        kept = np.asarray(variable.value).copy()
        variable.assign(np.asarray(average.value).copy())
        average.assign(kept)


def _factors(scales, paths) -> tuple[float, ...]:
    """The factor of each path; () where all are 1."""
    if not scales:
        return ()
    factors = [1.0] * len(paths)
    for entry in scales:
        pattern, factor = scale(entry)
        fits = [i for i, p in enumerate(paths) if fnmatch.fnmatchcase(p, pattern)]
        if not fits:
            raise ValueError(
                f"config.optimizer.scales: {pattern!r} fits no weight that learns; "
                f"they are: {', '.join(list(paths)[:8])}, ..."
            )
        for i in fits:
            factors[i] = factor
    return tuple(factors)


def _penalize(options, variables):
    """Gives matrices the penalties, which the Step adds to the loss."""
    if not options.l1 and not options.l2:
        return
    for variable in variables:
        if variable.regularizer is not None:
            raise ValueError(
                f"config.optimizer: l1 {options.l1}, l2 {options.l2}, but the model "
                "has penalties of its own; set one of the two to 0."
            )
        if len(variable.shape) > 1:
            variable.regularizer = keras.regularizers.L1L2(options.l1, options.l2)


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


class _PerVariable:
    """A factor of the learning rate for each variable, and averages without a bias.

    The average of the weights w_1 ... w_n after n steps, with momentum m, is

        sum of m^(n - i) * (1 - m) * w_i, divided by 1 - m^n

    so that the first weights have no more than their share. Keras gives w_1 the share
    m^(n - 1) instead: 0.74 after 300 steps with 0.999.

    Attributes:
      factors: for each variable of `build`; () means that all are 1.
    """

    factors: tuple[float, ...] = ()

    # of the Keras class that follows in the order of resolution
    iterations: Any
    learning_rate: Any
    weight_decay: Any
    use_ema: bool
    ema_momentum: float
    _trainable_variables: Any
    _use_weight_decay: Any
    _get_variable_index: Any
    _model_variables_moving_average: Any

    def update_step(self, gradient, variable, learning_rate):
        """The update of one variable, by its own learning rate."""
        if self.factors:
            learning_rate *= self.factors[self._get_variable_index(variable)]
        super().update_step(gradient, variable, learning_rate)  # type: ignore

    def _apply_weight_decay(self, variables):
        """Keras' weight decay in fewer passes, by each variable's own learning rate."""
        if not self.weight_decay:
            return
        rate = tf.cast(self.learning_rate, tf.float32) * self.weight_decay
        factors = self.factors or (1.0,) * len(self._trainable_variables)
        decaying = [v for v in variables if self._use_weight_decay(v)]
        shares = [rate * factors[self._get_variable_index(v)] for v in decaying]

        def decay(variable, share):
            variable.assign_sub(variable * tf.cast(share, variable.dtype))

        def update_all(strategy, values, shares):
            for value, share in zip(values, shares, strict=True):
                strategy.extended.update(value, decay, args=(share,), group=False)

        context: Any = tf.distribute.get_replica_context()
        context.merge_call(update_all, args=([v.value for v in decaying], shares))

    def _update_model_variables_moving_average(self, variables):
        """Takes the weights of this step into the averages."""
        if not self.use_ema:
            return

        def update(average, variable):
            step = tf.cast(self.iterations, tf.float32)  # the steps before this one
            log = math.log(self.ema_momentum)
            share = tf.math.expm1(step * log) / tf.math.expm1((step + 1) * log)
            keep = self.ema_momentum * share
            average.assign(keep * average + (1 - keep) * variable)

        def update_all(strategy, averages, values):
            for average, value in zip(averages, values, strict=True):
                strategy.extended.update(average, update, args=(value,), group=False)

        averages = [v.value for v in self._model_variables_moving_average]
        values = [v.value for v in variables]
        context: Any = tf.distribute.get_replica_context()
        context.merge_call(update_all, args=(averages, values))


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
    _scalars: dict[str, tf.Tensor]

    def _backend_update_step(self, grads, trainable_variables, learning_rate):
        """Updates all variables; what they share is a part of the graph once."""
        step = tf.cast(self.iterations + 1, tf.float32)
        self._scalars = {
            "beta1_power": tf.pow(self.beta_1, step),
            "beta2_power": tf.pow(self.beta_2, step),
            "beta1": tf.constant(self.beta_1, tf.float32),
            "beta2": tf.constant(self.beta_2, tf.float32),
            "epsilon": tf.constant(self.epsilon, tf.float32),
        }
        update_all = super()._backend_update_step  # type: ignore
        update_all(grads, trainable_variables, learning_rate)

    def update_step(self, gradient, variable, learning_rate):
        i = self._get_variable_index(variable)
        tf.raw_ops.ResourceApplyAdam(
            var=_handle(variable),
            m=_handle(self._momentums[i]),
            v=_handle(self._velocities[i]),
            lr=tf.cast(learning_rate, tf.float32),
            grad=tf.cast(tf.convert_to_tensor(gradient), tf.float32),
            **self._scalars,
        )


def _handle(variable):
    """The resource of a variable."""
    # Keras passes a tf.Variable, but its slots are Keras variables
    return (variable if hasattr(variable, "handle") else variable.value).handle


class FusedAdam(_PerVariable, _OneKernel, keras.optimizers.Adam):
    """Adam."""


class FusedAdamW(_PerVariable, _OneKernel, keras.optimizers.AdamW):
    """AdamW: Adam whose weight decay does not pass through the moments."""


class SGD(_PerVariable, keras.optimizers.SGD):
    """Stochastic gradient descent."""


class Muon(_PerVariable, keras.optimizers.Muon):
    """Muon for matrices, and AdamW for the rest."""

    def zeropower_via_newtonschulz5(self, x, steps):
        coefficients = self.muon_a, self.muon_b, self.muon_c
        return newton_schulz.orthogonalized(x, coefficients, steps)
