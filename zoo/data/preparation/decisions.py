"""Decides which documents stay, and in which split, once all units are cleaned.

decisions/000000.npy         uint8 [D] of unit 0: a split, or why a document goes
decisions/000000.lines.npy   bool [L], which lines go, with `Recipe.lines`
decisions/summary.json       counts and samples for the card
"""

import pathlib
from typing import Any, NamedTuple

import numpy as np

from zoo import files
from zoo.data import sources
from zoo.data.preparation import counts, duplicates, ngrams, words
from zoo.data.preparation.recipe import Recipe
from zoo.data.preparation.unit_files import UnitFiles

FOLDER = "decisions"
SPLITS = ("train", "valid", "test")  # the codes 0, 1, 2
_EXACT, _NEAR = 3, 4


class Decision(NamedTuple):
    """What was decided of the documents of a unit.

    Attributes:
      codes_D: uint8, the number of a split, or above 2 for a document that goes.
      lines_L: bool, the lines that go; empty without `Recipe.lines`.
    """

    codes_D: np.ndarray
    lines_L: np.ndarray


def decide(recipe: Recipe, work, count: int, against=None) -> None:
    """Writes the decisions for all units.

    Args:
      recipe: what to do.
      work: the folder of the preparation.
      count: how many units there are.
      against: the folder of `ngrams.build`, or None.
    """
    units = [UnitFiles(work, number) for number in range(count)]
    sizes = [len(unit.array("sizes")) for unit in units]
    offsets_U = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    codes_D = np.zeros(offsets_U[-1], np.uint8)
    for unit, (first, end) in zip(units, _ranges(offsets_U), strict=True):
        codes_D[first:end] = _split(recipe, unit)
    summary: dict[str, Any] = {}
    if recipe.exact:
        original_D = duplicates.exact(lambda u: units[u].array("keys"), offsets_U)
        codes_D[original_D >= 0] = _EXACT
        summary["exact"] = _summary(recipe, units, offsets_U, original_D)
    if recipe.near:
        original_D = duplicates.near(
            lambda band, u: units[u].array("bands")[band],
            lambda u: units[u].array("signatures"),
            offsets_U,
            codes_D < _EXACT,
            recipe.near,
        )
        codes_D[original_D >= 0] = _NEAR
        summary["near"] = _summary(recipe, units, offsets_U, original_D)
    gone = [np.zeros(0, bool)] * count
    if recipe.lines:
        gone = duplicates.lines(
            lambda u: (units[u].array("lines"), units[u].array("line_counts")),
            offsets_U,
            codes_D < _EXACT,
            recipe.lines,
        )
    if against is not None:
        summary["contamination"] = ngrams.report(
            against,
            lambda: _training_hits(units, offsets_U, codes_D),
            lambda number: _document(units, offsets_U, number),
            recipe.samples,
        )
    with files.staged(pathlib.Path(work) / FOLDER) as new:
        for number, (first, end) in enumerate(_ranges(offsets_U)):
            np.save(new / f"{number:06d}.npy", codes_D[first:end])
            np.save(new / f"{number:06d}.lines.npy", gone[number])
        files.write_json(new / "summary.json", summary)


def exist(work) -> bool:
    """Whether the decisions are made."""
    return (pathlib.Path(work) / FOLDER).is_dir()


def load(work, number: int) -> Decision:
    """The decisions for one unit."""
    path = pathlib.Path(work) / FOLDER / f"{number:06d}"
    return Decision(np.load(f"{path}.npy"), np.load(f"{path}.lines.npy"))


def summary(work) -> dict[str, Any]:
    """Counts and samples of duplicates and of contamination."""
    return files.read_json(pathlib.Path(work) / FOLDER / "summary.json")


def draws(keys_D2: np.ndarray, seed: int) -> np.ndarray:
    """A number in [0, 1) for each key, which depends on key and seed alone."""
    start = words.mix(np.array([seed], np.uint64) + np.uint64(1))
    return (words.mix(keys_D2[:, 0] ^ start) >> np.uint64(11)) / 2.0**53


def _split(recipe, unit):
    """The split of each document of a unit, as its code."""
    own = _name(unit.counts()["split"])
    draw_D = draws(unit.array("keys"), recipe.seed)
    if own != "train":
        return np.full(len(draw_D), SPLITS.index(own), np.uint8)
    # what the source holds out is no share
    known = [_name(split) for split in sources.splits(recipe.source)]
    test = 0.0 if "test" in known else recipe.test
    valid = 0.0 if "valid" in known else recipe.valid
    codes_D = np.zeros(len(draw_D), np.uint8)
    codes_D[draw_D < valid + test] = 1
    codes_D[draw_D < test] = 2
    return codes_D


def _name(split):
    """The name of a split here; Hugging Face calls one "validation"."""
    return "valid" if split == "validation" else split


def _ranges(offsets_U):
    """The first document and the end of each unit."""
    return zip(offsets_U[:-1], offsets_U[1:], strict=True)


def _summary(recipe, units, offsets_U, original_D) -> dict[str, Any]:
    """Counts and samples of documents that are duplicates."""
    characters = 0
    for unit, (first, end) in zip(units, _ranges(offsets_U), strict=True):
        characters += int(unit.array("sizes")[original_D[first:end] >= 0].sum())
    gone = np.flatnonzero(original_D >= 0)
    samples = []
    for number in gone[: recipe.samples].tolist():
        place, text = _document(units, offsets_U, number)
        earlier, _ = _document(units, offsets_U, int(original_D[number]))
        samples.append({**counts.sample(place, text), "earlier": earlier})
    return {
        "documents": len(gone),
        "characters": characters,
        "largest_cluster": duplicates.largest(original_D),
        "samples": samples,
    }


def _document(units, offsets_U, number) -> tuple[str, str]:
    """The place and the text of a document."""
    unit = int(np.searchsorted(offsets_U, number, side="right")) - 1
    chosen = np.zeros(offsets_U[unit + 1] - offsets_U[unit], bool)
    index = number - int(offsets_U[unit])
    chosen[index] = True
    ((_, text),) = units[unit].texts(chosen)
    return units[unit].places()[index], text


def _training_hits(units, offsets_U, codes_D):
    """The n-grams of evaluation sources in training documents, a unit at a time."""
    for unit, first in zip(units, offsets_U, strict=False):
        hits_H2 = np.array(unit.array("hits"))
        hits_H2[:, 0] += first
        yield hits_H2[codes_D[hits_H2[:, 0]] == 0]
