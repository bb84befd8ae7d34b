"""A stream of tokens that is read in pieces, from memory or from shards."""

import bisect
import itertools
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from zoo.data.damage import Damage, DamagedRecord


class Piece(Protocol):
    """A part of a stream: an array, or a shard.

    Attributes:
      tokens: how many.
    """

    tokens: int

    def fill(
        self, first: int, tokens_T: np.ndarray, weights_T: np.ndarray | None
    ) -> None:
        """Reads the tokens from number `first` on, as many as there is room for.

        Args:
          first: of this piece.
          tokens_T: int32, to be written.
          weights_T: float32, all 1: set to 0 where a token is no target; or None.
        """
        ...

    def check(self, damage: Damage) -> None:
        """Reads all of it, and counts in `damage` what is damaged."""
        ...


class Array:
    """Tokens in memory.

    Args:
      tokens_N: integers.
      weights_N: of each token as a target, booleans; None is all 1.
    """

    def __init__(self, tokens_N: np.ndarray, weights_N: np.ndarray | None = None):
        self.tokens = len(tokens_N)
        self._tokens_N, self._weights_N = tokens_N, weights_N

    def fill(self, first, tokens_T, weights_T) -> None:
        """As `Piece.fill`."""
        place = slice(first, first + len(tokens_T))
        tokens_T[:] = self._tokens_N[place]
        if weights_T is not None and self._weights_N is not None:
            weights_T[:] = self._weights_N[place]

    def check(self, damage) -> None:
        """Memory is not damaged."""


class TokenStream:
    """Pieces that follow each other; the counterpart of `formats.Stream` on disk.

    Args:
      pieces: in order.
      first: tokens before the first piece.
      weighted: whether some tokens are no targets.
      bytes: UTF-8 bytes of the documents joined by a newline.
      documents: how many.
      damage: what happens to damaged records; None makes the first one an error.

    Attributes:
      tokens: how many, `first` included.
    """

    def __init__(
        self,
        pieces: Sequence[Piece],
        *,
        first: Sequence[int] = (),
        weighted: bool = False,
        bytes: int = 0,
        documents: int = 0,
        damage: Damage | None = None,
    ):
        self._first = np.array(first, np.int32)
        self._pieces = list(pieces)
        sizes = [len(self._first), *(piece.tokens for piece in self._pieces)]
        self._ends = list(itertools.accumulate(sizes))
        self.tokens = self._ends[-1]
        self.weighted, self.bytes, self.documents = weighted, bytes, documents
        self.damage = damage or Damage()

    @classmethod
    def joined(cls, streams: "Sequence[TokenStream]", damage: Damage) -> "TokenStream":
        """One stream of the documents of several, at least one.

        Args:
          streams: of one tokenizer.
          damage: takes the place of theirs.
        """
        return cls(
            [piece for stream in streams for piece in stream._pieces],
            first=streams[0]._first.tolist(),
            weighted=any(stream.weighted for stream in streams),
            bytes=sum(stream.bytes for stream in streams) + len(streams) - 1,
            documents=sum(stream.documents for stream in streams),
            damage=damage,
        )

    @property
    def has_weights(self) -> bool:
        """Whether a weight may be 0, of a prefix or of a damaged record."""
        return self.weighted or self.damage.budget > 0

    def windows(
        self, first_B: Sequence[int] | np.ndarray, length: int
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Windows of the stream.

        A window with a damaged record, within the budget of `damage`, is all 0. Beyond
        the end, the last token is repeated.

        Args:
          first_B: the number of each window's first token, 0 or above.
          length: T.

        Returns:
          Tokens int32 [B,T], and their weights as targets, float32 [B,T], or None where
          all are 1.

        Raises:
          ValueError: a record is damaged.
        """
        tokens_BT = np.empty((len(first_B), length), np.int32)
        weights_BT = None
        if self.has_weights:
            weights_BT = np.ones((len(first_B), length), np.float32)
        for row, first in enumerate(first_B):
            tokens_T = tokens_BT[row]
            weights_T = None if weights_BT is None else weights_BT[row]
            try:
                self._window(int(first), tokens_T, weights_T)
            except DamagedRecord as error:
                self.damage.add(error)
                tokens_BT[row] = 0
                if weights_T is not None:
                    weights_T[:] = 0
        return tokens_BT, weights_BT

    def check(self) -> None:
        """Reads the whole stream once, so that `damage` has all damaged records.

        Raises:
          ValueError: there are more than its budget.
        """
        for piece in self._pieces:
            piece.check(self.damage)

    def _window(self, first, tokens_T, weights_T):
        """Reads one window; beyond the end, the last token is repeated."""
        first = min(first, self.tokens - 1)
        room = min(len(tokens_T), self.tokens - first)
        if room == len(tokens_T):
            self._fill(first, tokens_T, weights_T)
            return
        own = None if weights_T is None else weights_T[:room]
        self._fill(first, tokens_T[:room], own)
        for x_T in (tokens_T, weights_T):
            if x_T is not None:
                x_T[room:] = x_T[room - 1]

    def _fill(self, first, tokens_T, weights_T):
        """Reads tokens of the stream out of the pieces that they lie in."""
        done, weights = 0, weights_T if self.weighted else None
        number = bisect.bisect_right(self._ends, first)
        while done < len(tokens_T):
            begin = self._ends[number - 1] if number else 0
            here = first + done - begin
            room = min(len(tokens_T) - done, self._ends[number] - begin - here)
            part = slice(done, done + room)
            if number:
                own = weights[part] if weights is not None else None
                self._pieces[number - 1].fill(here, tokens_T[part], own)
            else:
                tokens_T[part] = self._first[here : here + room]
            done, number = done + room, number + 1
