"""A text encoder as a SavedModel: text in, a vector out.

The tf.Module owns the raw variables and the tables; its functions close over the model
(see `language_model`).
"""

import tensorflow as tf

from zoo.saved_model.batching import Batching
from zoo.saved_model.request_checks import at_most, texts
from zoo.saved_model.token_rows import framed
from zoo.saved_model.token_rows import lengths as lengths_of
from zoo.text import framing
from zoo.text.in_graph import tokenizer as graph_tokenizer


class TextEncoderModule(tf.Module):
    """The signatures of a text encoder.

    Args:
      model: a `TextEncoder`.
      tokenizer: its Tokenizer, whose post-processor gives the tokens around a text.
      batch: the most rows of an in-graph batch; 0 is no batching.

    Raises:
      ValueError: the tokenizer cannot be put in the graph exactly.
    """

    def __init__(self, model, tokenizer, batch=0):
        super().__init__()
        self.weights = [v.value for v in model.weights]
        self.graph_tokenizer = graph_tokenizer.build(tokenizer.json)
        self._frame = framing.frame(tokenizer, model.config)
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
        """One vector for each text, of its tokens and of those around them."""
        ids = self._tokens(text)
        ids = at_most("text", lengths_of(ids), self._limit, "tokens", ids)
        return self._batching(self._embedding, [ids])

    def tokenize(self, text):
        """The ids of each text and those around it, 0 after its end."""
        ids = self._tokens(text)
        return {"tokens": ids.to_tensor(), "lengths": lengths_of(ids)}

    def _embedding(self, ids):
        return {"embedding": self._embed(ids.to_tensor(), lengths_of(ids))}

    def _tokens(self, text_B):
        """Ids of checked texts, ragged [B, None]."""
        ids = self.graph_tokenizer.encode(texts("text", text_B))
        return framed(ids, self._frame)
