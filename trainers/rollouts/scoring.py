"""Log-probabilities and values of a rollout's answers before it is learnt.

They come from the path that training takes, on the very rows of the first epoch's
parts. So the first ratio of the policy to itself is 1, and not about 1: another path,
such as that of decoding, or other rows beside a row, would change last bits.

`old_logprobs` are those of the distribution that was sampled, as the objective's loss
computes them (`trainers.objectives.sampled`).
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from trainers.objectives.features import features
from trainers.objectives.logprobs import logprobs, of_features
from trainers.objectives.sampled import plain, sampled_logprobs

_REWRITES = "arithmetic_optimization"


class Scorer:
    """Compiles the scores of a part, once for each width of rows.

    Args:
      roles: name to model.
      objective: of rollouts. With a method `values`, its values are kept too.
      rows: of a part, as many as one device trains on at once.
    """

    def __init__(self, roles: dict[str, Any], objective: Any, rows: int):
        self._rows = rows

        @tf.function(autograph=False)
        def scores(batch):
            policy = roles[objective.trains[0]]
            # `training` chooses the path; a policy of rollouts has no dropout
            x_ND, targets_BT = features(policy, batch, True), batch["targets"]
            own_BT, entropy_BT = of_features(policy, x_ND, targets_BT)
            old_BT = own_BT
            if objective.temperature != 1 or not plain(objective):
                old_BT, _ = sampled_logprobs(policy, x_ND, targets_BT, objective)
            found = {
                "own_logprobs": own_BT,
                "old_logprobs": old_BT,
                "entropy": entropy_BT,
            }
            if "reference" in roles:
                reference = roles["reference"]
                found["reference_logprobs"], _ = logprobs(reference, batch, True)
            if hasattr(objective, "values"):
                found["old_values"] = objective.values(roles, batch, training=True)
            learnt_BT = batch["weights"] > 0
            return {k: tf.where(learnt_BT, x, 0.0) for k, x in found.items()}

        self._scores = scores

    def __call__(
        self, rollout: dict[str, np.ndarray], order_N: np.ndarray
    ) -> dict[str, np.ndarray]:
        """The scores of all rows.

        Args:
          rollout: `tokens`, `targets`, `lengths`, `weights` of N rows.
          order_N: the order in which the first epoch learns the rows.

        Returns:
          float32 [N, T], 0 off the answers: `own_logprobs` (temperature 1),
          `old_logprobs` (of what was sampled), `entropy` (temperature 1), with a
          reference `reference_logprobs` (temperature 1), and `old_values` of an
          objective with values.
        """
        names = ("tokens", "targets", "lengths", "weights")
        parts = []
        for first in range(0, len(order_N), self._rows):
            part = order_N[first : first + self._rows]
            batch = {name: tf.constant(rollout[name][part]) for name in names}
            with _as_in_training():
                parts.append({k: x.numpy() for k, x in self._scores(batch).items()})
        back_N = np.argsort(order_N)
        return {
            name: np.concatenate([part[name] for part in parts])[back_N]
            for name in parts[0]
        }


@contextlib.contextmanager
def _as_in_training() -> Iterator[None]:
    """Switches off a graph optimizer that spares a graph with gradients.

    TensorFlow rewrites the head of a graph without gradients, as nothing else reads its
    logits. That changes last bits. The options are read at each call of a function.
    """
    options = tf.config.optimizer
    before = options.get_experimental_options().get(_REWRITES, True)
    try:
        options.set_experimental_options({_REWRITES: False})
        yield
    finally:
        options.set_experimental_options({_REWRITES: before})
