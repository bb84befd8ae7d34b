"""Units of work: consecutive documents of one part of a source, cleaned and measured.

A unit depends on its part alone. So a local run, a run that was killed, and a run of
Beam have the same units, and unit n gives the same bytes in each of them.
"""

import functools
import hashlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from zoo.data import document_tokens, sources, stages
from zoo.data.preparation import counts, minhash, ngrams, words
from zoo.data.preparation.recipe import Recipe

OVERHEAD = 64  # characters that a document counts more: empty ones need memory, too
_CHUNK = 1 << 20  # characters measured at a time, a bound on memory
_CLEANED = 1 << 18  # characters that the stages take at a time
_SPACE = b" \t\n\r\x0b\x0c"


class Unit(NamedTuple):
    """Consecutive documents of one part of a source.

    Attributes:
      split: "train", "valid" or "test", of the source; `Recipe.valid` and
        `Recipe.test` divide "train" later.
      documents: the place and the text of each one.
      bad: what is wrong with each bad row among them, with its file and line.
    """

    split: str
    documents: list[tuple[str, str]]
    bad: list[str]

    @property
    def characters(self) -> int:
        """The characters of all documents."""
        return sum(len(text) for _, text in self.documents)


class Processed(NamedTuple):
    """The documents of a unit that its stages kept.

    Attributes:
      split: of the unit.
      texts: the cleaned text of each one.
      places: where each one is from.
      keys_D2: uint64 [D, 2], a 128-bit hash of the text without white space.
      signatures_DH: uint32 [D, 112] with `Recipe.near`, else [D, 0].
      lines_L: uint64, a number for each line of each text with `Recipe.lines`.
      line_counts_D: int64, the lines of each text with `Recipe.lines`.
      hits_H2: int64 [H, 2], a document and an n-gram of `Recipe.against` in it.
      counts: what the stages did, see `zoo.data.preparation.counts`.
    """

    split: str
    texts: list[str]
    places: list[str]
    keys_D2: np.ndarray
    signatures_DH: np.ndarray
    lines_L: np.ndarray
    line_counts_D: np.ndarray
    hits_H2: np.ndarray
    counts: dict[str, Any]


def cut(part: sources.Part, field: str, unit_chars: int) -> Iterator[Unit]:
    """Cuts the documents of a part into units; the last one may be empty.

    A unit ends with the document that brings it to `unit_chars` characters, where each
    document counts 64 more.

    Raises:
      ValueError: the part cannot be read at all.
    """
    documents, bad, size = [], [], 0
    for place, text in sources.texts(part, field):
        if isinstance(text, ValueError):
            bad.append(str(text))
            size += OVERHEAD
        else:
            documents.append((place, text))
            size += len(text) + OVERHEAD
        if size >= unit_chars:
            yield Unit(part.split, documents, bad)
            documents, bad, size = [], [], 0
    yield Unit(part.split, documents, bad)


def process_unit(
    recipe: Recipe, unit: Unit, against: ngrams.Table | None = None
) -> Processed:
    """Cleans and filters the documents of a unit, and measures those that stay.

    Args:
      recipe: what to do.
      unit: of `cut`.
      against: the n-grams of `Recipe.against`.
    """
    found = counts.Counts(recipe.stages, recipe.samples)
    found.bad_rows(unit.bad)
    pipeline = _pipeline(tuple(recipe.stages))
    texts, places = [], []
    for chunk in document_tokens.chunks(
        unit.documents, _CLEANED, lambda document: len(document[1]) + OVERHEAD
    ):
        given = [text for _, text in chunk]
        found.read(given)
        for (place, text), result in zip(chunk, pipeline.run_many(given), strict=True):
            clean, stage, reason = result
            if clean is None:
                found.drop(str(stage), str(reason), place, text)
            else:
                texts.append(clean)
                places.append(place)
    found.passed(pipeline.take_counts())
    signatures, lines, line_counts, hits, first = [], [], [], [], 0
    for chunk in document_tokens.chunks(texts, _CHUNK):
        if not (recipe.near or recipe.lines or against is not None):
            break
        measured = words.words(chunk)
        if recipe.near:
            signatures.append(minhash.signatures(measured))
        if recipe.lines:
            bounds = [[0], measured.newlines_N + 1, measured.joints_D[-1:]]
            lines.append(words.spans(measured, np.concatenate(bounds)))
            line_counts += [text.count("\n") + 1 for text in chunk]
        if against is not None:
            hits.append(against.find(measured) + np.array([first, 0]))
        first += len(chunk)
    return Processed(
        unit.split,
        texts,
        places,
        keys(texts),
        np.concatenate([np.zeros((0, minhash.HASHES), np.uint32), *signatures]),
        np.concatenate([np.zeros(0, np.uint64), *lines]),
        np.array(line_counts, np.int64),
        np.concatenate([np.zeros((0, 2), np.int64), *hits]),
        found.to_json(),
    )


def keys(texts: Sequence[str]) -> np.ndarray:
    """A 128-bit hash (BLAKE2b) of each text without ASCII white space, uint64 [D, 2].

    Texts that differ in such white space only have the same key.
    """
    digests = [
        hashlib.blake2b(text.encode().translate(None, _SPACE), digest_size=16).digest()
        for text in texts
    ]
    return np.frombuffer(b"".join(digests), "<u8").reshape(-1, 2)


@functools.cache
def _pipeline(entries):
    """The stages; to make them takes a moment."""
    return stages.Pipeline(entries)
