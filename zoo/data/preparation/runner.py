"""Runs a preparation on this machine; killed anywhere, the same call goes on.

    1 clean        source -> units of documents that the stages kept
    2 deduplicate  which documents stay, and in which split
    3 tokenizer    trained on the training documents, or copied
    4 tokenize     units -> shards
    5 card         shards.json, README.md, card.png, card.json

Each step leaves files that appear by one rename, so what is there is complete.
"""

import functools
import pathlib
from collections.abc import Iterator
from typing import Any

from zoo import files
from zoo.data import document_tokens, shards, sources
from zoo.data.preparation import (
    card,
    decisions,
    ngrams,
    pool,
    progress,
    units,
    vocabulary,
    work,
    writing,
)
from zoo.data.preparation import recipe as recipes
from zoo.data.preparation.recipe import Recipe
from zoo.data.preparation.unit_files import UnitFiles
from zoo.text import tokenizer as tokenizers

_PARTS, _AGAINST, _TOKENIZER = "parts", "against", "tokenizer"


def run(
    recipe: Recipe, output: str, workers: int = 1, shown: bool = False
) -> dict[str, Any]:
    """Prepares a data set: documents become shards of tokens, with a data card.

    Memory depends on `recipe.unit_chars` and `workers`, and grows by about 50 bytes a
    document, not with the text.

    Args:
      recipe: what to do.
      output: a new or empty folder, or one that the same recipe began.
      workers: processes.
      shown: whether to show a progress bar.

    Returns:
      The data card.

    Raises:
      ValueError: a wrong recipe, source or output; too many bad rows; no training
        document; too small a corpus for the tokenizer.
      FileError: the system cannot write.
    """
    recipes.check(recipe)
    if workers < 1:
        raise ValueError(f"workers: {workers}, at least 1 allowed.")
    if recipe.tokenizer:
        document_tokens.around(tokenizers.load(recipe.tokenizer))
    begun = work.begin(recipe)
    folder = pathlib.Path(output)
    with work.opened(folder, begun) as place:
        if place is not None:
            with progress.Bar(shown) as bar:
                _prepare(recipe, begun, place, folder, workers, bar)
            work.remove(place)
    return files.read_json(folder / work.CARD, largest=2**30)


def _prepare(recipe, begun, place, output, workers, bar):
    """All steps that are not done yet."""
    if recipe.against and not (place / _AGAINST).is_dir():
        ngrams.build(place / _AGAINST, recipe.against, recipe.ngram)
    against = place / _AGAINST if recipe.against else None
    count = _clean(recipe, place, workers, bar, against)
    if not decisions.exist(place):
        with bar.step("deduplicate"):
            decisions.decide(recipe, place, count, against)
    if not (output / _TOKENIZER).is_dir():
        with bar.step("tokenizer"):
            made = make_tokenizer(recipe, place, count)
            with files.staged(output / _TOKENIZER) as new:
                made.save(str(new))
    written = _write(recipe, place, output, workers, bar, count)
    entries = shards_of(recipe, place, written)
    shards.finish(output, entries, tokenizers.load(str(output / _TOKENIZER)))
    with bar.step("card"):
        card.write(recipe, begun, place, output, count, written)


def _clean(recipe, place, workers, bar, against) -> int:
    """Cleans all units; returns how many there are."""
    parts = [
        part
        for split in work.input_splits(recipe.source)
        for part in sources.parts(recipe.source, split)
    ]
    bar.begin("clean", progress.size_of(parts))
    function = functools.partial(clean_unit, recipe, place, against)
    reader = _Reader(recipe, place, parts, bar)
    pool.run(function, reader.tasks(), workers, bar.read)
    bar.end()
    return reader.count


class _Reader:
    """Reads the parts, and gives the units that are not clean yet."""

    def __init__(self, recipe, place, parts, bar):
        self._recipe, self._place = recipe, place
        self._parts, self._bar = parts, bar
        self._bad, self._messages = 0, []
        self.count = 0

    def tasks(self) -> Iterator[tuple[int, units.Unit]]:
        """The number of each unit, and the unit."""
        (self._place / _PARTS).mkdir(exist_ok=True)
        for index, part in enumerate(self._parts):
            path = self._place / _PARTS / f"{index:06d}.json"
            if path.is_file():  # all units of the part are clean
                known = files.read_json(path)
                self.count += known["units"]
                self._take_bad(known["bad"], known["messages"])
                self._bar.passed(part)
                continue
            first, bad = self.count, self._bad
            for unit in units.cut(part, self._recipe.field, self._recipe.unit_chars):
                self._take_bad(len(unit.bad), unit.bad)
                number = self.count
                self.count += 1
                self._bar.reads(part)
                if not UnitFiles(self._place, number).exists():
                    yield number, unit
            known = {
                "units": self.count - first,
                "bad": self._bad - bad,
                "messages": self._messages[:3],
            }
            self._bar.passed(part)
            self._mark(path, first, known)

    def _mark(self, path, first, known) -> None:
        """Notes that all units of a part are clean, where they are."""
        numbers = range(first, first + known["units"])
        if all(UnitFiles(self._place, number).exists() for number in numbers):
            with files.staged_file(path) as new:
                files.write_json(new, known)

    def _take_bad(self, count, messages) -> None:
        """Counts bad rows, and raises an error where there are too many."""
        self._bad += count
        self._messages += messages[: 3 - len(self._messages)]
        recipes.refuse_bad_rows(self._recipe, self._bad, self._messages)


def clean_unit(recipe: Recipe, place, against, number: int, unit: units.Unit) -> int:
    """Cleans a unit, in any process, and writes its files; its characters."""
    table = None if against is None else _table(str(against))
    UnitFiles(place, number).write(units.process_unit(recipe, unit, table))
    return unit.characters


def write_unit(place, output, samples: int, number: int) -> dict[str, Any]:
    """Writes the shards of a unit, in any process."""
    made = _loaded(str(output / _TOKENIZER))
    return writing.write_unit(place, output, number, made, samples)


@functools.cache
def _table(folder):
    """The n-grams of evaluation sources, once a process."""
    return ngrams.load(folder)


@functools.lru_cache(maxsize=1)
def _loaded(folder):
    """The tokenizer, once a process."""
    return tokenizers.load(folder)


def make_tokenizer(recipe, place, count):
    """The tokenizer of the recipe."""
    if recipe.tokenizer:
        return tokenizers.load(recipe.tokenizer)

    def texts():
        return vocabulary.documents(recipe, place, count)

    if next(texts(), None) is None:
        raise ValueError(
            f"No training document is left. {card.in_words(recipe, place, count)}"
        )
    return vocabulary.train(texts, recipe.vocab_size, recipe.algorithm)


def _write(recipe, place, output, workers, bar, count) -> list[dict[str, Any]]:
    """Writes the shards of all units; what is in them, in order."""
    written: list[dict[str, Any]] = []
    bar.begin("tokenize", count)

    def done(made):
        written.append(made)
        bar.advance(1)

    function = functools.partial(write_unit, place, output, recipe.samples)
    pool.run(function, ((number,) for number in range(count)), workers, done)
    bar.end()
    return written


def shards_of(recipe, place, written) -> dict[str, list[dict[str, Any]]]:
    """What `shards.finish` takes of all units; refuses where no document is left."""
    found = {
        split: [unit["shards"][split] for unit in written if split in unit["shards"]]
        for split in decisions.SPLITS
    }
    if not any(found.values()):
        raise ValueError(
            f"No document is left. {card.in_words(recipe, place, len(written))}"
        )
    return {split: entries for split, entries in found.items() if entries}
