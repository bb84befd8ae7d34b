"""What the benchmarks of translation and of summarization share."""

import hashlib
import importlib
import json
import time
from collections.abc import Callable, Sequence

from trainers import loop
from trainers.evaluation import answers
from trainers.evaluation.measured import Measured
from zoo.data import sources
from zoo.metrics import bootstrap

_TEST, _VALID = 5, 8  # of 100: below the first is test, below the second validation


def read(path: str, source: str, target: str) -> list[dict[str, str]]:
    """The pairs of a file *.jsonl or *.jsonl.xz, without duplicates of either side.

    Args:
      path: of the file.
      source, target: the fields of both texts.

    Raises:
      ValueError: a row is broken, or has no such field.
    """
    pairs, seen = [], (set(), set())
    for where, row in sources.numbered(f"jsonl:{path}"):
        if isinstance(row, ValueError):
            raise row
        texts = [row[name] for name in (source, target) if name in row]
        if [type(text) for text in texts] != [str, str]:
            raise ValueError(f"{where}: {source}, {target}: two texts allowed.")
        keys = [" ".join(text.casefold().split()) for text in texts]
        if all(keys) and not any(k in s for k, s in zip(keys, seen, strict=True)):
            pairs.append(dict(zip(("source", "target"), texts, strict=True)))
            for key, of_side in zip(keys, seen, strict=True):
                of_side.add(key)
    return pairs


def split(pairs: list[dict[str, str]]) -> dict[str, list[dict[str, str]]]:
    """The pairs of "train", "valid" and "test", by a hash of the source."""
    found = {"train": [], "valid": [], "test": []}
    for pair in pairs:
        digest = hashlib.sha256(pair["source"].encode()).digest()
        number = int.from_bytes(digest[:8], "big") % 100
        name = "test" if number < _TEST else "valid" if number < _VALID else "train"
        found[name].append(pair)
    return found


def write(folder, parts, row: Callable[[dict], dict] = dict) -> dict[str, str]:
    """Writes the row of each pair to a file a part; returns the sources by name."""
    specs = {}
    for name, pairs in parts.items():
        path = folder / f"{name}.jsonl"
        lines = [json.dumps(row(pair)) + "\n" for pair in pairs]
        path.write_text("".join(lines), "utf-8")
        specs[name] = f"jsonl:{path}"
    return specs


def train(
    config: str,
    specs: dict[str, str],
    folder,
    steps: int = 0,
    precision: str = "",
    length: int = 0,
    init_from: str = "",
):
    """Trains a config of configs/ on the training part; returns the Result.

    Args:
      config: the name of its file.
      specs: the sources of data by name.
      folder: its sub-folder "run" becomes the workdir.
      steps: 0 is the config's number.
      precision: "" is the config's.
      length: the most tokens of a text; 0 is the config's.
      init_from: a pretrained directory; "" is the config's.
    """
    run = importlib.import_module(f"configs.{config}").get_config()
    run.data.source, run.data.valid = specs["train"], specs["valid"]
    run.steps = steps or run.steps
    run.data.length = length or run.data.length
    run.precision = precision or run.precision
    run.init_from = init_from or run.init_from
    began = time.perf_counter()
    result = loop.train(run, folder / "run")
    seconds, used = time.perf_counter() - began, time.process_time()
    print(
        f"{result.step} steps, {seconds:.0f} s of this process, which has used "
        f"{used:.0f} s of one core",
        flush=True,
    )
    return result


def scored(
    names: Sequence[str], texts: list[str], pairs: list[dict[str, str]]
) -> dict[str, Measured]:
    """The metrics of answers to the sources of pairs."""
    references = [[pair["target"]] for pair in pairs]
    return answers.scores(names, [[text] for text in texts], references)


def show(name: str, measures: dict[str, Measured], names: Sequence[str]) -> None:
    """Prints a line of numbers with their intervals of 1,000 resamples at 95 %."""
    cells = []
    for metric in names:
        one = measures[metric]
        low, high = bootstrap.interval(one.rows_N, one.measure)
        cells.append(f"{metric} {one.value:.4g} ({low:.4g} to {high:.4g})")
    print(f"{name:24} {', '.join(cells)}", flush=True)
