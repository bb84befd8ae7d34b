"""A dense net as a SavedModel: features in, a class or a number out."""

import tensorflow as tf

from zoo.saved_model.knobs import require, rows_of


class TableModel(tf.Module):
    """The signatures of a dense net.

    Args:
      model: a `DenseNet`.
    """

    def __init__(self, model):
        super().__init__()
        self.weights = [v.value for v in model.weights]
        self._call = lambda features: model(features, training=False)
        c = model.config
        self._width, self._classes = c.features, c.classes
        self._labels = c.labels or tuple(str(i) for i in range(c.classes))

    def signatures(self) -> dict:
        """Name to (function, specs of its inputs, defaults of its inputs)."""
        specs = {"features": tf.TensorSpec([None, self._width], tf.float32)}
        if not self._classes:
            regress = self.regress, specs, {}
            return {"serving_default": regress, "regress": regress}
        classify = self.classify, specs, {}
        return {"serving_default": classify, "classify": classify}

    def classify(self, features):
        """The likeliest class of each row."""
        probability_BC = tf.nn.softmax(self._call(_finite(features)))
        best_B = tf.argmax(probability_BC, -1)
        return {
            "label": tf.gather(tf.constant(self._labels), best_B),
            "probability": tf.reduce_max(probability_BC, -1),
            "probabilities": probability_BC,
        }

    def regress(self, features):
        """The value of each row."""
        return {"value": self._call(_finite(features))}


def _finite(features_BF):
    features_BF = rows_of("features", features_BF)
    worst_B = tf.reduce_sum(features_BF * 0.0, -1)  # NaN where any is not finite
    return require(
        tf.math.is_finite(worst_B),
        "features",
        worst_B,
        "finite numbers allowed",
        features_BF,
    )
