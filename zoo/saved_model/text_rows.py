"""Texts of a request as rows of token ids, for models that answer to whole texts."""

import tensorflow as tf

from zoo.saved_model import request_checks, token_rows
from zoo.saved_model.shared_parts import Shared
from zoo.text import framing
from zoo.text.in_graph.tokenizer import GraphTokenizer
from zoo.text.tokenizer import Tokenizer

TEXT = tf.TensorSpec([None], tf.string)
TOKENS = tf.TensorSpec([None, None], tf.int32)
LENGTHS = tf.TensorSpec([None], tf.int32)


class TextRows:
    """Makes the token rows that a model was trained with.

    Args:
      tokenizer: of the model.
      graph_tokenizer: the same tokenizer in the graph; the caller owns its tables.
      config: of the model; its kind decides what stands around a text.
      limit: the most tokens of a text, with those around it; 0 is 65,536.

    Attributes:
      before: how many tokens stand before each text.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        graph_tokenizer: GraphTokenizer,
        config,
        limit: int,
    ):
        self._encode = Shared(graph_tokenizer.encode, TEXT, apart=True)
        self._frame = framing.frame(tokenizer, config)
        self._limit = limit or request_checks.MOST_TOKENS
        self.before: int = len(self._frame.before)

    def __call__(self, text_B):
        """Ids of checked texts that fit the model, ragged int32 [B, None]."""
        ids = self.framed(self._encode(self.checked(text_B)))
        return self.fitting(ids)

    def checked(self, text_B):
        """The texts, if they are valid."""
        return request_checks.texts("text", text_B)

    def framed(self, ids):
        """The ids of texts and of what stands around each, at least one a row."""
        ids = token_rows.framed(ids, self._frame)
        if self._frame.around([]):
            return ids
        return request_checks.at_least_one(
            "text", token_rows.lengths(ids), "tokens", ids
        )

    def fitting(self, ids, *tensors):
        """The ids, and tensors with them, if no row is longer than the model reads."""
        lengths_B = token_rows.lengths(ids)
        result = (ids, *tensors) if tensors else ids
        return request_checks.at_most("text", lengths_B, self._limit, "tokens", result)

    def tokenize(self, text):
        """The signature `tokenize`: the ids that the model reads, 0 after their end."""
        ids = self.framed(self._encode(self.checked(text)))
        return {"tokens": ids.to_tensor(), "lengths": token_rows.lengths(ids)}
