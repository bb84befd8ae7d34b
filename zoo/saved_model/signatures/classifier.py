"""A model that answers to whole texts as a SavedModel: a class or a number out.

The tf.Module owns the raw variables and the tables; its functions close over the model
(see `language_model`).
"""

import tensorflow as tf

from zoo.saved_model import token_rows
from zoo.saved_model.batching import Batching
from zoo.saved_model.shared_parts import Shared
from zoo.saved_model.text_rows import LENGTHS, TEXT, TOKENS, TextRows
from zoo.text.in_graph import tokenizer as graph_tokenizer


class Classifier(tf.Module):
    """The signatures of a model that classifies texts or maps them to numbers.

    Args:
      model: reads text; its Config's task is "classify" or "regress".
      tokenizer: its Tokenizer.
      batch: the most rows of an in-graph batch; 0 is no batching.

    Raises:
      ValueError: the tokenizer cannot be put in the graph exactly.
    """

    def __init__(self, model, tokenizer, batch=0):
        super().__init__()
        self.weights = [v.value for v in model.weights]
        c = model.config
        self.graph_tokenizer = graph_tokenizer.build(tokenizer.json)
        self._rows = TextRows(tokenizer, self.graph_tokenizer, c, model.limit)
        self._call = Shared(lambda *tensors: model(*tensors), TOKENS, LENGTHS)
        self._batching = Batching(batch)
        self._task = c.task
        self._labels = tuple(c.labels) or tuple(str(i) for i in range(c.classes))

    def signatures(self) -> dict:
        """Name to (function, specs of its inputs, defaults of its inputs)."""
        specs = {"text": TEXT}
        main = getattr(self, self._task), specs, {}
        return {
            "serving_default": main,
            self._task: main,
            "tokenize": (self._rows.tokenize, specs, {}),
        }

    def classify(self, text):
        """The likeliest class of each text, and the probabilities of all classes."""
        return self._batching(self._classify, [self._rows(text)])

    def regress(self, text):
        """The value of each text."""
        return self._batching(
            lambda ids: {"value": self._answers(ids)}, [self._rows(text)]
        )

    def _classify(self, ids):
        """The outputs of `classify` for token ids."""
        probability_BC = tf.nn.softmax(self._answers(ids))
        best_B = tf.argmax(probability_BC, -1)
        return {
            "label": tf.gather(tf.constant(self._labels), best_B),
            "probability": tf.reduce_max(probability_BC, -1),
            "probabilities": probability_BC,
        }

    def _answers(self, ids):
        """The model's answers to ragged token ids."""
        return self._call(ids.to_tensor(), token_rows.lengths(ids))
