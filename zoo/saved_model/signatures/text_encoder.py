"""A text encoder as a SavedModel: text in, a vector out.

The tf.Module owns the raw variables and the tables; its functions close over the model
(see `text_generator`).
"""

import tensorflow as tf

from zoo.saved_model.batching import Batching
from zoo.saved_model.request_checks import require, rows_of
from zoo.text.importers import post_processor
from zoo.text.in_graph import tokenizer as graph_tokenizer

_MOST_BYTES = 2**20  # of one text: a longer one is an error, not a long wait


class TextEncoderModule(tf.Module):
    """The signatures of a text encoder.

    Args:
      model: a `TextEncoder`.
      tokenizer: its Tokenizer, whose post-processor says what frames a text.
      batch: the most rows of an in-graph batch; 0 is none.

    Raises:
      ValueError: the tokenizer cannot be put in the graph exactly.
    """

    def __init__(self, model, tokenizer, batch=0):
        super().__init__()
        self.weights = [v.value for v in model.weights]
        self.graph_tokenizer = graph_tokenizer.build(tokenizer.json)
        self._frame = post_processor.frame(tokenizer.json)
        self._embed = lambda tokens_BT, lengths_B: model.embed(tokens_BT, lengths_B)
        self._limit = model.limit
        self._batching = Batching(batch)

    def signatures(self) -> dict:
        """Name to (function, specs of its inputs, defaults of its inputs)."""
        specs = {"text": tf.TensorSpec([None], tf.string)}
        return {
            "serving_default": (self.embed, specs, {}),
            "embed": (self.embed, specs, {}),
            "tokenize": (self.tokenize, specs, {}),
        }

    def embed(self, text):
        """One vector a text; what frames it counts as part of it."""
        ids = self._tokens(text)
        lengths_B = _lengths(ids)
        fits_B = lengths_B <= self._limit
        allowed = f"tokens, at most {self._limit} allowed"
        passed = require(fits_B, "text", lengths_B, allowed)
        # nothing runs before the check has passed
        with tf.control_dependencies([passed]):
            ids = tf.identity(ids)
        return self._batching(self._embedding, [ids])

    def tokenize(self, text):
        """The ids of each text with those that frame it, 0 after its end."""
        ids = self._tokens(text)
        return {"tokens": ids.to_tensor(), "lengths": _lengths(ids)}

    def _embedding(self, ids):
        return {"embedding": self._embed(ids.to_tensor(), _lengths(ids))}

    def _tokens(self, text_B):
        """Ids, ragged, of texts that are checked for their size and for UTF-8."""
        text_B = rows_of("text", text_B)
        size_B = tf.strings.length(text_B)
        allowed = f"bytes, at most {_MOST_BYTES} allowed"
        text_B = require(size_B <= _MOST_BYTES, "text", size_B, allowed, text_B)
        valid_B = graph_tokenizer.valid_utf8(text_B)
        text_B = require(valid_B, "text", text_B, "valid UTF-8 allowed")
        ids = self.graph_tokenizer.encode(text_B)
        before, after = (
            tf.RaggedTensor.from_tensor(
                tf.tile(tf.constant([part], tf.int32), [ids.nrows(tf.int32), 1]),
                row_splits_dtype=ids.row_splits.dtype,
            )
            for part in self._frame
        )
        return tf.concat([before, ids, after], 1)


def _lengths(ids):
    return tf.cast(ids.row_lengths(), tf.int32)
