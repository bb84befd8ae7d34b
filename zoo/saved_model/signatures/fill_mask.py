"""A masked language model as a SavedModel: the tokens that fit a mask.

The tf.Module owns the raw variables and the tables; its functions close over the model
(see `language_model`).
"""

import json

import tensorflow as tf

from zoo.saved_model import request_checks, token_rows
from zoo.saved_model.batching import Batching
from zoo.saved_model.shared_parts import Shared
from zoo.saved_model.text_rows import LENGTHS, TEXT, TOKENS, TextRows
from zoo.text.in_graph import ragged_ops
from zoo.text.in_graph import tokenizer as graph_tokenizer
from zoo.text.tokenizer import Tokenizer

_MOST, _DEFAULT = 100, 5  # tokens for a mask


class FillMask(tf.Module):
    """The signatures of a model that fills masks.

    The mask is written in the text by its name, such as [MASK]. The names of all other
    special tokens are plain text.

    Args:
      model: reads text; its Config's task is "fill_mask".
      tokenizer: its Tokenizer, with a mask token.
      batch: the most rows of an in-graph batch; 0 is no batching.

    Raises:
      ValueError: the tokenizer has no mask token, or cannot be put in the graph
        exactly.
    """

    def __init__(self, model, tokenizer, batch=0):
        super().__init__()
        self.weights = [v.value for v in model.weights]
        self.mask, self._mask_id = mask_of(tokenizer)
        graph = graph_tokenizer.build(_with_plain_mask(tokenizer.json, self._mask_id))
        self.graph_tokenizer = graph
        self._rows = TextRows(tokenizer, graph, model.config, model.limit)
        self._vocab_size = min(tokenizer.vocab_size, model.config.vocab_size)
        self._most = min(_MOST, self._vocab_size)
        self._features = Shared(
            lambda *tensors: model.features(*tensors), TOKENS, LENGTHS
        )
        self._logits = lambda x_BMD: model.logits(x_BMD)
        self._batching = Batching(batch)

    def signatures(self) -> dict:
        """Name to (function, specs of its inputs, defaults of its inputs)."""
        text = {"text": TEXT}
        specs = {**text, "k": LENGTHS}
        k = min(_DEFAULT, self._most)

        def serving_default(text):
            return self.fill_mask(text, tf.constant([k]))

        return {
            "serving_default": (serving_default, text, {}),
            "fill_mask": (self.fill_mask, specs, {"k": tf.constant([k])}),
            "tokenize": (self._rows.tokenize, text, {}),
        }

    def fill_mask(self, text, k):
        """The likeliest tokens for each mask, and each text with the likeliest ones.

        Args:
          text: string [B].
          k: int32 [B], or [1] for all rows: the tokens for each mask.

        Returns:
          `tokens`, string [B, M, K], and `probabilities`, float32 [B, M, K]: "" and 0
          behind the last mask of a text and behind its k tokens; `num_masks`, int32
          [B]; and `text`, string [B].
        """
        ids = self._rows(text)
        mask_B = tf.reduce_sum(tf.cast(ids == self._mask_id, tf.int32), 1)
        ids = request_checks.at_least_one("text", mask_B, f"masks {self.mask}", ids)
        k_B = request_checks.broadcast("k", k, ids.nrows(tf.int32))
        inside_B = (k_B >= 1) & (k_B <= self._most)
        k_B = request_checks.require(inside_B, "k", k_B, f"1 to {self._most} allowed")
        out = self._batching(self._fill, [ids, k_B])
        # another row of a merged batch may have more
        M, K = tf.reduce_max(mask_B), tf.reduce_max(k_B)
        for name in ("tokens", "probabilities"):
            out[name] = out[name][:, :M, :K]
        return out

    def _fill(self, ids, k_B):
        """The outputs of `fill_mask` for token ids."""
        is_mask_N = ids.values == self._mask_id
        row_N = ragged_ops.row_of_each(ids)
        place_N = tf.range(tf.size(ids.values, tf.int64))
        place_N -= tf.gather(ids.row_starts(), row_N)
        at_M, row_M = ragged_ops.keep(is_mask_N, place_N, row_N)
        at_BM = ragged_ops.ragged(at_M, row_M, ids.nrows())
        count_B = token_rows.lengths(at_BM)
        # Every row computes the same number of masks: packed ones would make a row's
        # bits depend on the other rows.
        x_BTD = self._features(ids.to_tensor(), token_rows.lengths(ids))
        x_BMD = tf.gather(x_BTD, at_BM.to_tensor(), batch_dims=1)
        share_BMV = tf.nn.softmax(self._logits(x_BMD))  # over ids without a token too
        known_BMV = share_BMV[:, :, : self._vocab_size]
        share_BMK, best_BMK = tf.math.top_k(known_BMV, tf.reduce_max(k_B))
        M, K = tf.shape(best_BMK)[1], tf.shape(best_BMK)[2]
        here_BMK = (
            tf.sequence_mask(count_B, M)[:, :, None]
            & tf.sequence_mask(k_B, K)[:, None, :]
        )
        best_M = token_rows.ragged(best_BMK[:, :, 0], count_B).values
        where_M1 = tf.where(is_mask_N)
        filled_N = tf.tensor_scatter_nd_update(ids.values, where_M1, best_M)
        false_B = tf.zeros_like(k_B, tf.bool)
        return {
            "tokens": tf.where(here_BMK, self._named(best_BMK), ""),
            "probabilities": tf.where(here_BMK, share_BMK, 0.0),
            "num_masks": count_B,
            "text": self._decoded(ids.with_values(filled_N), false_B),
        }

    def _named(self, tokens_BMK):
        """The text of each token alone."""
        one_N1 = tf.reshape(tokens_BMK, [-1, 1])
        ids = token_rows.ragged(one_N1, tf.ones_like(one_N1[:, 0]))
        text_N = self._decoded(ids, tf.zeros_like(one_N1[:, 0], tf.bool))
        return tf.reshape(text_N, tf.shape(tokens_BMK))

    def _decoded(self, ids, continuing_B):
        """The texts of tokens, string."""
        return self.graph_tokenizer.decode(ids, continuing_B)


def mask_of(tokenizer: Tokenizer) -> tuple[str, int]:
    """The name and the id of a tokenizer's mask token.

    Raises:
      ValueError: the tokenizer has none.
    """
    token = tokenizer.config.get("mask_token")
    name = token["content"] if isinstance(token, dict) else token
    ids = tokenizer.encode(name, special=True) if name else []
    if not name or len(ids) != 1:
        raise ValueError(
            f"tokenizer_config.json: mask_token {name!r}, the name of one token "
            "allowed: fill_mask needs it."
        )
    return name, ids[0]


def _with_plain_mask(tokenizer_json: str, mask_id: int) -> str:
    """The tokenizer.json with a mask that is no special token, so texts may have it."""
    fields = json.loads(tokenizer_json)
    for token in fields["added_tokens"]:
        if token["id"] == mask_id:
            token["special"] = False
    return json.dumps(fields, ensure_ascii=False)
