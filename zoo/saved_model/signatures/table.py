"""A model of features as a SavedModel: numbers in, a class or a number out."""

import tensorflow as tf

from zoo.saved_model.batching import Batching
from zoo.saved_model.request_checks import require, rows_of


class TableModel(tf.Module):
    """The signatures of a model of features.

    Args:
      model: its Config's task is "classify" or "regress".
      batch: the most rows of an in-graph batch; 0 is no batching.
    """

    def __init__(self, model, batch=0):
        super().__init__()
        self.weights = [v.value for v in model.weights]
        self._call = lambda features: model(features, training=False)
        self._batching = Batching(batch)
        c = model.config
        self._width, self._task = c.features, c.task
        self._labels = c.labels or tuple(str(i) for i in range(c.classes))

    def signatures(self) -> dict:
        """Name to (function, specs of its inputs, defaults of its inputs)."""
        specs = {"features": tf.TensorSpec([None, self._width], tf.float32)}
        main = getattr(self, self._task), specs, {}
        return {"serving_default": main, self._task: main}

    def classify(self, features):
        """The likeliest class of each row."""
        return self._batching(self._classify, [_finite(features)])

    def regress(self, features):
        """The value of each row."""
        return self._batching(
            lambda features: {"value": self._call(features)}, [_finite(features)]
        )

    def _classify(self, features):
        probability_BC = tf.nn.softmax(self._call(features))
        best_B = tf.argmax(probability_BC, -1)
        return {
            "label": tf.gather(tf.constant(self._labels), best_B),
            "probability": tf.reduce_max(probability_BC, -1),
            "probabilities": probability_BC,
        }


def _finite(features_BF):
    """The features, if all of them are finite."""
    features_BF = rows_of("features", features_BF)
    worst_B = tf.reduce_sum(features_BF * 0.0, -1)  # NaN where any is not finite
    return require(
        tf.math.is_finite(worst_B),
        "features",
        worst_B,
        "finite numbers allowed",
        features_BF,
    )
