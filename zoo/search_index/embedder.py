"""Texts to vectors, by a text encoder or a language model."""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import tensorflow as tf

from zoo.directory import Loaded, assemble, fields_of
from zoo.text.importers import post_processor

_TOKENS = 4096  # of a batch, padding included


class Embedder:
    """Maps texts to vectors, as the signature `embed` of the exported model does.

    Args:
      loaded: a text encoder or a language model, with its tokenizer.
      where: what messages call the model.

    Attributes:
      digest: SHA-256 of the model's configuration, weights and tokenizer.
      dimension: D.
      room: the most tokens of a text, without those that are put around it.

    Raises:
      ValueError: the model gives no vectors, or has no tokenizer.
    """

    def __init__(self, loaded: Loaded, where: str):
        model, tokenizer = loaded.model, loaded.tokenizer
        if model.config.task not in ("embed", "generate"):
            raise ValueError(
                f"{where}: a model for {model.config.task} gives no vectors; a text "
                "encoder or a language model allowed."
            )
        if tokenizer is None:
            raise ValueError(f"{where}: has no tokenizer.json.")
        self._model, self._tokenizer = model, tokenizer
        if model.config.task == "embed":
            self._before, self._after = post_processor.frame(tokenizer.json)
        else:
            self._before, self._after = tokenizer.prefix, []
        self.digest = _digest(loaded)
        one = model.embed(tf.constant([[0]]), tf.constant([1]))
        self.dimension = int(one.shape[1])
        self.room = model.limit - len(self._before) - len(self._after)
        if not model.limit:
            self.room = 2**16

    def count(self, text: str) -> int:
        """The tokens of a text, without those that are put around it."""
        return len(self._tokenizer.encode(text))

    def vectors(
        self, texts: Sequence[str], report: Callable[[int, int], None] = lambda *_: None
    ) -> np.ndarray:
        """The vector of each text, float32 [N, D].

        Texts of a similar length share a batch, so that few tokens are padding.

        Args:
          texts: each has at most `room` tokens.
          report: gets the number of tokens done and that of all, after each batch.

        Raises:
          ValueError: a text is too long, or its vector is not finite.
        """
        rows = [self._row(ids) for ids in self._tokenizer.encode_batch(texts)]
        lengths_N = np.array([*map(len, rows)])
        most = self.room + len(self._before) + len(self._after)
        if rows and lengths_N.max() > most:
            at = int(lengths_N.argmax())
            raise ValueError(
                f"{texts[at][:60]!r}...: {lengths_N[at]} tokens, at most {most} "
                "allowed."
            )
        vectors_ND = np.empty((len(rows), self.dimension), np.float32)
        done, total = 0, int(lengths_N.sum())
        for batch in _batches(lengths_N):
            lengths_B = lengths_N[batch]
            tokens_BT = np.zeros((len(batch), lengths_B.max()), np.int32)
            for to, row in zip(tokens_BT, batch, strict=True):
                to[: len(rows[row])] = rows[row]
            vectors_ND[batch] = self._model.embed(
                tf.constant(tokens_BT), tf.constant(lengths_B, tf.int32)
            )
            done += int(lengths_B.sum())
            report(done, total)
        for text, vector in zip(texts, vectors_ND, strict=True):
            if not np.isfinite(vector).all():
                raise ValueError(f"{text[:60]!r}: its vector has NaN or Inf.")
        return vectors_ND

    def _row(self, ids: list[int]) -> list[int]:
        """The ids and those around them; an empty text has the end token."""
        row = [*self._before, *ids, *self._after]
        if row or self._tokenizer.end_id is None:
            return row or [0]
        return [self._tokenizer.end_id]


def _digest(loaded: Loaded) -> str:
    """SHA-256 of a model and its tokenizer, however its directory stores them."""
    total = hashlib.sha256(json.dumps(fields_of(loaded.model.config)).encode())
    total.update(loaded.tokenizer.json.encode() if loaded.tokenizer else b"")
    for path, variable in sorted(assemble.by_path(loaded.model).items()):
        total.update(f"{path} {tuple(variable.shape)}\n".encode())
        total.update(np.ascontiguousarray(variable.value, np.float32).data)
    return total.hexdigest()


def _batches(lengths_N: np.ndarray) -> Iterator[np.ndarray]:
    """The rows of each batch, from the longest to the shortest."""
    order = np.argsort(-lengths_N, kind="stable")
    first = 0
    while first < len(order):
        rows = max(_TOKENS // int(lengths_N[order[first]]), 1)
        yield order[first : first + rows]
        first += rows
