"""The data card: what was read, what each stage did, and what was written.

card.json    all numbers, for programs; with the recipe and the hashes of all files
README.md    the same in words, in the form of a data set card of Hugging Face
card.png     lengths and languages
"""

import pathlib
from collections.abc import Sequence
from typing import Any

from zoo import files
from zoo.data import fingerprints, shards
from zoo.data.preparation import decisions
from zoo.data.preparation.card import counted, picture, readme
from zoo.data.preparation.card.counted import in_words
from zoo.data.preparation.recipe import Recipe

__all__ = ["in_words", "write"]

README, PICTURE, JSON = "README.md", "card.png", "card.json"
_TOKENIZER = "tokenizer"


def write(
    recipe: Recipe,
    begun: dict[str, Any],
    work,
    output,
    count: int,
    written: Sequence[dict[str, Any]],
) -> None:
    """Writes the three files of the card, card.json last.

    Args:
      recipe: what was done.
      begun: the recipe as JSON, and the hashes of the inputs.
      work: the folder of the preparation.
      output: the folder of the shards.
      count: how many units there are.
      written: what `writing.write_unit` gave for each unit.

    Raises:
      FileError: the system cannot write.
    """
    output = pathlib.Path(output)
    made = {**begun, **_numbers(recipe, work, count, written)}
    made["tokenizer"] = _tokenizer(recipe, output, made["splits"])
    _write_bytes(output / PICTURE, picture.png(made))
    _write_bytes(output / README, readme.text(made, recipe).encode())
    made["outputs"] = _outputs(output, written)
    with files.staged_file(output / JSON) as new:
        files.write_json(new, made)


def _numbers(recipe, work, count, written) -> dict[str, Any]:
    """The counts of all units."""
    total = counted.total(recipe, work, count)
    stages = total["stages"]
    if recipe.lines:
        stages.append(_lines(stages[-1], [unit["lines"] for unit in written], recipe))
    splits: dict[str, dict[str, int]] = {}
    languages: dict[str, list[int]] = {}
    lengths = [0] * len(written[0]["lengths"])
    for unit in written:
        lengths = [a + b for a, b in zip(lengths, unit["lengths"], strict=True)]
        _add(splits, unit["splits"])
        for code, sums in unit["languages"].items():
            old = languages.get(code, [0, 0, 0])
            languages[code] = [a + b for a, b in zip(old, sums, strict=True)]
    for split, sums in splits.items():
        sums["shards"] = sum(split in unit["shards"] for unit in written)
    return {
        "rows": total["rows"],
        "bad": total["bad"],
        "stages": stages,
        "splits": {s: splits[s] for s in decisions.SPLITS if s in splits},
        "lengths": lengths,
        "languages": _languages(languages),
        "contamination": decisions.summary(work).get("contamination", []),
    }


def _add(total, more):
    """Adds the numbers of a unit to those of the units before it."""
    for split, numbers in more.items():
        sums = total.setdefault(split, dict.fromkeys(numbers, 0))
        for name, value in numbers.items():
            sums[name] += value


def _languages(found):
    """The sample of each language, the largest first."""
    order = sorted(found, key=lambda code: (-found[code][0], code))
    return {
        code: {
            "documents": found[code][0],
            "bytes": found[code][1],
            "tokens": found[code][2],
            "bytes_per_token": round(found[code][1] / max(found[code][2], 1), 4),
        }
        for code in order
    }


def _lines(before, units, recipe) -> dict[str, Any]:
    """The lines that went as a stage."""
    documents = sum(unit["documents"] for unit in units)
    characters = sum(unit["characters"] for unit in units)
    samples = [sample for unit in units for sample in unit["samples"]]
    return {
        "stage": "lines",
        "documents_in": before["documents_out"],
        "characters_in": before["characters_out"],
        "documents_out": before["documents_out"] - documents,
        "characters_out": before["characters_out"] - characters,
        "changed": sum(unit["changed"] for unit in units),
        "dropped": {"no line left": documents} if documents else {},
        "samples": {"no line left": samples[: recipe.samples]} if samples else {},
    }


def _tokenizer(recipe, output, splits) -> dict[str, Any]:
    """What the card says of the tokenizer."""
    found = shards.read(output)
    size = sum(numbers["bytes"] for numbers in splits.values())
    tokens = sum(numbers["tokens"] for numbers in splits.values())
    return {
        "from": recipe.tokenizer or f"{recipe.algorithm}, trained on the split train",
        "sha256": found.tokenizer_sha256,
        "bytes_per_token": round(size / max(tokens, 1), 4),
    }


def _outputs(output, written) -> dict[str, Any]:
    """The size and the SHA-256 of each file but card.json."""
    known = {
        entry["file"]: entry["sha256"]
        for unit in written
        for entry in unit["shards"].values()
    }
    found: dict[str, Any] = {}
    for path in sorted([*output.glob("[!.]*.*"), *(output / _TOKENIZER).iterdir()]):
        name = path.relative_to(output).as_posix()
        if name in known:
            found[name] = {"size": path.stat().st_size, "sha256": known[name]}
        elif name != JSON:
            found |= fingerprints.of_files({name: str(path)})
    return found


def _write_bytes(path, data: bytes) -> None:
    """Writes a file, in the place of one that a killed process left."""
    path.unlink(missing_ok=True)
    with files.staged_file(path) as new:
        new.write_bytes(data)
