"""What a model will read and learn, as coloured text.

Tokens that are learnt (loss weight above 0) are green, and given tokens are blue. Each
run of tokens of one weight has a line of ids and a line of text, so that the text says
the same without colours.
"""

import functools
import itertools
import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import rich.text

from zoo.data import batches
from zoo.text.tokenizer import Tokenizer

LEARNT, GIVEN = "green", "blue"

Segment = tuple[np.ndarray, np.ndarray]  # tokens [T], and their loss weights


def rows(tokens, weights, starts, count: int) -> Iterator[list[Segment]]:
    """The first rows, each as one segment.

    Args:
      tokens, weights, starts: as in `zoo.data.formats.Rows`.
      count: how many.
    """
    for first, last in itertools.islice(itertools.pairwise(starts), count):
        yield [_segment(tokens[first:last], weights[first:last])]


def windows(tokens, weights, length: int, count: int) -> Iterator[list[Segment]]:
    """The first windows of a stream, each as one segment.

    Args:
      tokens, weights: as in `zoo.data.formats.Stream`.
      length: inputs of a window.
      count: how many.
    """
    for first in range(0, min(len(tokens) - 1, count * length), length):
        part = slice(first, first + length + 1)
        given = np.ones(len(tokens[part])) if weights is None else weights[part]
        yield [_segment(tokens[part], given)]


def packed_windows(tokens, weights, packed, count: int) -> Iterator[list[Segment]]:
    """The first windows of packed rows, with a segment for each piece.

    Args:
      tokens, weights: as in `zoo.data.formats.Rows`.
      packed: a `zoo.data.batches.Packed`.
      count: how many.
    """
    window_P = packed.slots // packed.length
    for window in range(min(count, sum(packed.windows))):
        pieces = np.flatnonzero(window_P == window)
        parts = [
            slice(packed.first[p], packed.first[p] + packed.sizes[p] + 1)
            for p in pieces
        ]
        yield [_segment(tokens[part], weights[part]) for part in parts]


def holed(tokens, starts, corruption, count: int) -> Iterator[list[Segment]]:
    """The first texts without spans: what is read, and what is learnt.

    Args:
      tokens, starts: as in `zoo.data.batches.eval_spans`.
      corruption: a `zoo.data.batches.Corruption`.
      count: how many.
    """
    count = min(count, len(starts) - 1)
    batch = next(iter(batches.eval_spans(tokens, starts, corruption, count)))
    sides = {"source": "source_lengths", "targets": "lengths"}
    for row in range(count):
        source, target = (
            batch[name][row, : batch[size][row]].numpy() for name, size in sides.items()
        )
        yield [(source, np.zeros(len(source))), (target, np.ones(len(target)))]


def text(number: int, segments: Sequence[Segment], tokenizer: Tokenizer) -> Any:
    """One example as rich text.

    Args:
      number: of the example, from 1.
      segments: of the example; more than one where rows are packed.
      tokenizer: turns ids into text; special tokens are written by name.
    """
    sizes = [(len(tokens), int((weights > 0).sum())) for tokens, weights in segments]
    shown = rich.text.Text()
    total, learnt = (sum(column) for column in zip(*sizes, strict=True))
    packed = f" in {len(segments)} segments" if len(segments) > 1 else ""
    title = f"example {number}: {total} tokens, {learnt} learnt{packed}\n"
    shown.append(title, "bold")
    names = _special_names(tokenizer)
    for place, (tokens, weights) in enumerate(segments):
        if len(segments) > 1:
            size, learnt = sizes[place]
            about = f"  segment {place + 1}: {size} tokens, {learnt} learnt\n"
            shown.append(about, "bold")
        pairs = zip(tokens.tolist(), weights.tolist(), strict=True)
        continuing = False
        for weight, run in itertools.groupby(pairs, key=lambda pair: pair[1]):
            ids = [token for token, _ in run]
            colour = LEARNT if weight > 0 else GIVEN
            shown.append(f"    weight {weight:g}: {' '.join(map(str, ids))}\n", colour)
            written = _written(ids, tokenizer, names, continuing)
            # escapes keep a line a line, and control characters from the terminal
            shown.append(f"      {json.dumps(written, ensure_ascii=False)}\n", colour)
            continuing = True
    return shown


def _segment(tokens, weights) -> Segment:
    """A segment; its first token is never a target."""
    weights = np.array(weights, np.float32)
    weights[:1] = 0
    return np.asarray(tokens), weights


def _written(ids, tokenizer, names, continuing) -> str:
    """The text of ids, with special tokens by name."""
    parts = []
    for special, run in itertools.groupby(ids, key=names.__contains__):
        run = list(run)
        if special:
            parts += [names[token] for token in run]
        else:
            parts.append(tokenizer.decode(run, continuing or bool(parts)))
    return "".join(parts)


@functools.lru_cache(maxsize=4)
def _special_names(tokenizer: Tokenizer) -> dict[int, str]:
    """The names of the special tokens by id."""
    added = json.loads(tokenizer.json).get("added_tokens") or []
    return {token["id"]: token["content"] for token in added if token.get("special")}
