"""A preparation by a Recipe as a pipeline of Beam.

    parts -> clean: units of documents -> decide: splits, duplicates, tokenizer
          -> write: shards -> finish: shards.json, card

Parts are cleaned in parallel, and units are tokenized in parallel; one worker decides
and one finishes. The worker that decides needs about 50 bytes of memory a document, and
disk for all cleaned text, unless the recipe names a tokenizer and shows no samples.
A pipeline that failed goes on where it was when it is run again.
"""

import functools
import pathlib
import tempfile
from typing import Any

import apache_beam as beam  # type: ignore[import-not-found]
from apache_beam.options.pipeline_options import (  # type: ignore
    PipelineOptions,
)

from zoo.data import shards, sources
from zoo.data.beam.store import Store
from zoo.data.preparation import (
    card,
    decisions,
    ngrams,
    runner,
    units,
    work,
    writing,
)
from zoo.data.preparation import recipe as recipes
from zoo.data.preparation.recipe import Recipe
from zoo.data.preparation.unit_files import UnitFiles
from zoo.text import tokenizer as tokenizers
from zoo.text.tokenizer import Tokenizer

_WORK, _UNITS, _PARTS = "work", "work/units", "work/parts"
_AGAINST, _DECISIONS = "work/against", "work/decisions"
_WRITTEN, _TOKENIZER, _BEGUN = "work/written", "tokenizer", "begun.json"
_TEXTS, _OF_SHARDS = "texts.utf8", (".tfrecord", ".npy")


def run(recipe: Recipe, output: str, options: list[str]) -> None:
    """Prepares a data set on a runner of Beam.

    Args:
      recipe: what to do. All workers must reach its files.
      output: a folder that all workers reach; new, or one that the same recipe began.
      options: of Beam, such as ["--runner=FlinkRunner"].

    Raises:
      ValueError: a wrong recipe or source, or an output of another recipe.
    """
    recipes.check(recipe)
    store, begun = Store(output), work.begin(recipe)
    done = store.get_json("", work.CARD)
    before = done or store.get_json(_WORK, _BEGUN)
    if before is not None:
        work.refuse_changes(output, before, begun)
    if done is not None:
        return
    store.put_json(begun, _WORK, _BEGUN)
    if recipe.against and not store.has(_AGAINST):
        with tempfile.TemporaryDirectory() as place:
            built = pathlib.Path(place) / "against"
            ngrams.build(built, recipe.against, recipe.ngram)
            store.put(built, _AGAINST)
    parts = [
        tuple(part)
        for split in work.input_splits(recipe.source)
        for part in sources.parts(recipe.source, split)
    ]
    with beam.Pipeline(options=PipelineOptions(options)) as pipeline:
        _ = (
            pipeline
            | beam.Create(list(enumerate(parts)))
            | Prepare(recipe, output, begun)
        )
    store.remove(_WORK)


class Prepare(beam.PTransform):
    """(number, part of a source) of all parts -> the path of the finished folder.

    Args:
      recipe: what to do.
      output: a folder that all workers reach.
      begun: of `zoo.data.preparation.work.begin`, for the card.
    """

    def __init__(self, recipe: Recipe, output: str, begun: dict[str, Any]):
        super().__init__()
        self._given = recipes.to_json(recipe), output
        self._begun = begun

    def expand(self, parts):
        return (
            parts
            | "Spread parts" >> beam.Reshuffle()
            | "Clean" >> beam.ParDo(_Clean(*self._given))
            | "All parts" >> beam.combiners.ToList()
            | "Decide" >> beam.ParDo(_Decide(*self._given))
            | "Spread units" >> beam.Reshuffle()
            | "Write" >> beam.ParDo(_Write(*self._given))
            | "All units" >> beam.combiners.ToList()
            | "Finish" >> beam.ParDo(_Finish(*self._given, self._begun))
        )


class _Step(beam.DoFn):
    """A step: the recipe and the store, made once on each worker."""

    def __init__(self, recipe, output):
        self._recipe_json, self._output = recipe, output

    def setup(self):
        self.recipe = recipes.from_json(self._recipe_json)
        self.store = Store(self._output)
        self._own = tempfile.TemporaryDirectory()

    def teardown(self):
        self._own.cleanup()

    def table(self) -> ngrams.Table | None:
        """The n-grams of evaluation sources, or None."""
        if not self.recipe.against:
            return None
        return _loaded_table(self._fetched(_AGAINST))

    def tokenizer(self) -> Tokenizer:
        """The tokenizer of the output."""
        return _loaded_tokenizer(self._fetched(_TOKENIZER))

    def _fetched(self, name) -> str:
        """A folder of the store on this worker, copied once."""
        place = pathlib.Path(self._own.name) / name
        if not place.is_dir():
            self.store.get(name, place)
        return str(place)


@functools.lru_cache(maxsize=1)
def _loaded_table(folder: str) -> ngrams.Table:
    """The n-grams of a folder, read once."""
    return ngrams.load(folder)


@functools.lru_cache(maxsize=1)
def _loaded_tokenizer(folder: str) -> Tokenizer:
    """The tokenizer of a folder, read once."""
    return tokenizers.load(folder)


class _Clean(_Step):
    """Cleans the units of a part: (number, part) -> (number, units, bad rows)."""

    def process(self, element):
        number, part = element
        base = f"{number:06d}.json"
        known = self.store.get_json(_PARTS, base)
        if known is None:
            known = self._cleaned(number, sources.Part(*part))
            self.store.put_json(known, _PARTS, base)
        yield number, known

    def _cleaned(self, number, part) -> dict[str, Any]:
        """Cleans the units that are not there yet; what is known of the part."""
        known: dict[str, Any] = {"units": 0, "bad": 0, "messages": []}
        for unit in units.cut(part, self.recipe.field, self.recipe.unit_chars):
            name = _unit(number, known["units"])
            known["units"] += 1
            known["bad"] += len(unit.bad)
            known["messages"] = [*known["messages"], *unit.bad][:3]
            recipes.refuse_bad_rows(self.recipe, known["bad"], known["messages"])
            if not self.store.has(name):
                with tempfile.TemporaryDirectory() as place:
                    made = UnitFiles(place, 0)
                    made.write(units.process_unit(self.recipe, unit, self.table()))
                    self.store.put(made.folder, name)
        return known


class _Decide(_Step):
    """Numbers the units, decides which documents stay, and makes the tokenizer."""

    def process(self, element):
        names, total = [], {"bad": 0, "messages": []}
        for number, known in sorted(element, key=lambda pair: pair[0]):
            names += [_unit(number, index) for index in range(known["units"])]
            total["bad"] += known["bad"]
            total["messages"] += known["messages"]
        recipes.refuse_bad_rows(self.recipe, total["bad"], total["messages"])
        if not (self.store.has(_DECISIONS) and self.store.has(_TOKENIZER)):
            with tempfile.TemporaryDirectory() as place:
                self._decide(pathlib.Path(place), names)
        yield from enumerate(names)

    def _decide(self, place, names) -> None:
        """Puts the decisions and the tokenizer."""
        recipe = self.recipe
        texts = not recipe.tokenizer or recipe.samples > 0
        for number, name in enumerate(names):
            folder = UnitFiles(place, number).folder
            self.store.get(name, folder, lambda base: texts or base != _TEXTS)
        against = place / "against" if recipe.against else None
        if against is not None:
            self.store.get(_AGAINST, against)
        if self.store.has(_DECISIONS):
            self.store.get(_DECISIONS, place / decisions.FOLDER)
        else:
            decisions.decide(recipe, place, len(names), against)
            self.store.put(place / decisions.FOLDER, _DECISIONS)
        made = runner.make_tokenizer(recipe, place, len(names))
        made.save(str(place / _TOKENIZER))
        self.store.put(place / _TOKENIZER, _TOKENIZER)


class _Write(_Step):
    """Writes the shards of a unit: (number, name) -> (number, name, what was made)."""

    def process(self, element):
        number, name = element
        base = f"{number:06d}.json"
        known = self.store.get_json(_WRITTEN, base)
        if known is None:
            with tempfile.TemporaryDirectory() as place:
                known = self._written(pathlib.Path(place), number, name)
            self.store.put_json(known, _WRITTEN, base)
        yield number, name, known

    def _written(self, place, number, name) -> dict[str, Any]:
        """Puts the shards of a unit; what is in them, and the sizes of the files."""
        self.store.get(name, UnitFiles(place, number).folder)
        self.store.get(
            _DECISIONS,
            place / decisions.FOLDER,
            lambda base: base.startswith(f"{number:06d}."),
        )
        output = place / "output"
        output.mkdir()
        made = writing.write_unit(
            place, output, number, self.tokenizer(), self.recipe.samples
        )
        self.store.put(output, "", mark=f"shards-{number:06d}")
        sizes = {path.name: path.stat().st_size for path in output.iterdir()}
        return {"made": made, "sizes": sizes}


class _Finish(_Step):
    """Writes shards.json and the card, once all shards are there."""

    def __init__(self, recipe, output, begun):
        super().__init__(recipe, output)
        self._begun = begun

    def process(self, element):
        found = sorted(element, key=lambda entry: entry[0])
        with tempfile.TemporaryDirectory() as name:
            place, output = pathlib.Path(name), pathlib.Path(name) / "output"
            self.store.get("", output, lambda base: base.endswith(".npy"))
            self.store.get(_DECISIONS, place / decisions.FOLDER)
            for number, unit, known in found:
                folder = UnitFiles(place, number).folder
                self.store.get(unit, folder, lambda base: base == "counts.json")
                for base, size in known["sizes"].items():
                    if not (output / base).exists():
                        _stand_in(output / base, size)
            written = [known["made"] for _, _, known in found]
            entries = runner.shards_of(self.recipe, place, written)
            shards.finish(output, entries, self.tokenizer())
            card.write(self.recipe, self._begun, place, output, len(found), written)
            self._put(output)
        yield self._output

    def _put(self, output) -> None:
        """Puts all files that are new; card.json says that the folder is complete."""
        last = (work.CARD,)
        self.store.put(
            output,
            "",
            mark="finished",
            wanted=lambda base: base not in last and not base.endswith(_OF_SHARDS),
        )
        self.store.put(output, "", mark="card", wanted=last.__contains__)


def _unit(part: int, index: int) -> str:
    """The folder of a unit."""
    return f"{_UNITS}/{part:06d}-{index:06d}"


def _stand_in(path, size: int) -> None:
    """An empty file of the size of a shard, which is all that is read of it here."""
    with open(path, "wb") as file:
        file.truncate(size)
