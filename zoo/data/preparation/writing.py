"""Writes the shards of a unit: the documents that stay, as tokens, by split."""

import functools
import itertools
import json
import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from zoo import files
from zoo.data import document_tokens, shards
from zoo.data.preparation import counts, decisions
from zoo.data.preparation.card import languages
from zoo.data.preparation.unit_files import UnitFiles
from zoo.text.tokenizer import Tokenizer
from zoo.text.word_cache import WordCache

FOLDER = "written"
_CHUNK = 1 << 18  # characters tokenized at a time, a bound on memory
_LENGTHS = 40  # powers of two


def texts(work, number: int, chosen_D: np.ndarray) -> Iterator[tuple[int, str]]:
    """The number and the final text of documents of a unit, repeated lines taken out.

    Args:
      work: the folder of a preparation with decisions.
      number: of the unit.
      chosen_D: bool, which documents.

    Yields:
      What is not empty.
    """
    unit = UnitFiles(work, number)
    gone_L = decisions.load(work, number).lines_L
    if not len(gone_L):
        yield from unit.texts(chosen_D)
        return
    counts_D = unit.array("line_counts")
    starts_D = np.cumsum(counts_D) - counts_D
    for index, text in unit.texts(chosen_D):
        gone = gone_L[starts_D[index] : starts_D[index] + counts_D[index]]
        if gone.any():
            lines = zip(text.split("\n"), gone, strict=True)
            text = "\n".join(line for line, out in lines if not out).strip("\n")
        if text:
            yield index, text


def write_unit(
    work, output, number: int, tokenizer: Tokenizer, samples: int
) -> dict[str, Any]:
    """Writes the shards of a unit, and what is in them for the card.

    Args:
      work: the folder of a preparation with decisions.
      output: the folder of the shards.
      number: of the unit.
      tokenizer: makes the tokens.
      samples: documents without a line left that are shown.

    Returns:
      {"shards": {split: entry}, "splits": {split: {"documents", "characters", "bytes",
      "tokens"}}, "lines": what went by lines, "lengths", "languages"}.

    Raises:
      FileError: the system cannot write.
    """
    path = _path(work, number)
    if path.exists():
        return json.loads(path.read_text(encoding="utf-8"))
    codes_D = decisions.load(work, number).codes_D
    sizes_D = UnitFiles(work, number).array("sizes")
    made: dict[str, Any] = {
        "shards": {},
        "splits": {},
        "lines": {"documents": 0, "changed": 0, "characters": 0, "samples": []},
        "lengths": [0] * _LENGTHS,
        "languages": {},
    }
    for code, split in enumerate(decisions.SPLITS):
        if not (codes_D == code).any():
            continue
        tally = _Tally(made, sizes_D)
        found = texts(work, number, codes_D == code)
        first = next(found, None)
        if first is not None:
            ids = _encoded(tokenizer, itertools.chain([first], found), tally)
            name = f"{split}-{number:05d}"
            entry = shards.write(output, name, ids, tokenizer)
            made["shards"][split] = {**entry, "bytes": tally.numbers["bytes"]}
            made["splits"][split] = tally.numbers
        missing = np.flatnonzero(codes_D == code)
        missing = missing[~np.isin(missing, tally.seen)]
        made["lines"]["documents"] += len(missing)
        made["lines"]["characters"] += int(sizes_D[missing].sum())
        _show(made["lines"]["samples"], work, number, missing[:samples])
    with files.staged_file(path) as new:
        new.write_text(json.dumps(made), encoding="utf-8")
    return made


def _path(work, number):
    """The file that says that the shards of a unit are written."""
    return pathlib.Path(work) / FOLDER / f"{number:06d}.json"


class _Tally:
    """Counts the documents of a split while they are tokenized."""

    def __init__(self, made, sizes_D):
        self._made, self._sizes_D = made, sizes_D
        self.numbers = dict.fromkeys(("documents", "characters", "bytes", "tokens"), 0)
        self.seen: list[int] = []

    def add(self, chunk, ids) -> None:
        """Counts some documents, given as numbers and texts, and their tokens."""
        numbers = [index for index, _ in chunk]
        sizes = [len(text) for _, text in chunk]
        bytes_D = [
            size if text.isascii() else len(text.encode())
            for size, (_, text) in zip(sizes, chunk, strict=True)
        ]
        tokens_D = list(map(len, ids))
        totals = len(chunk), sum(sizes), sum(bytes_D), sum(tokens_D)
        for name, value in zip(self.numbers, totals, strict=True):
            self.numbers[name] += value
        self.seen += numbers
        for size in sizes:
            self._made["lengths"][size.bit_length()] += 1
        lost = self._sizes_D[numbers] - sizes
        self._made["lines"]["changed"] += int((lost > 0).sum())
        self._made["lines"]["characters"] += int(lost.sum())
        codes = languages.of_sample(chunk)
        for place, number in enumerate(numbers):
            if number in codes:
                sums = self._made["languages"].setdefault(codes[number], [0, 0, 0])
                for i, value in enumerate((1, bytes_D[place], tokens_D[place])):
                    sums[i] += value


@functools.lru_cache(maxsize=1)
def _cache(tokenizer: Tokenizer) -> WordCache:
    """The words of a tokenizer, for all units of a process."""
    return WordCache(tokenizer)


def _encoded(tokenizer, found, tally):
    """The token ids of each document, which the tally counts."""
    for chunk in document_tokens.chunks(found, _CHUNK, lambda entry: len(entry[1])):
        ids = _cache(tokenizer).encode_batch([text for _, text in chunk])
        tally.add(chunk, ids)
        yield from ids


def _show(samples, work, number, missing):
    """Appends samples of the documents that have no line left."""
    unit = UnitFiles(work, number)
    chosen = np.zeros(len(unit.array("sizes")), bool)
    chosen[missing] = True
    places = unit.places() if len(missing) else []
    for index, text in unit.texts(chosen):
        samples.append(counts.sample(places[index], text))
