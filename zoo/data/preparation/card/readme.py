"""The data card in words: README.md, as Hugging Face reads it.

The front matter has the fields of https://huggingface.co/docs/hub/datasets-cards.
"""

import json
from collections.abc import Sequence
from typing import Any

from zoo.data.preparation.recipe import Recipe, to_json

_SIZES = (
    (10**3, "n<1K"),
    (10**4, "1K<n<10K"),
    (10**5, "10K<n<100K"),
    (10**6, "100K<n<1M"),
    (10**7, "1M<n<10M"),
    (10**8, "10M<n<100M"),
    (10**9, "100M<n<1B"),
    (10**10, "1B<n<10B"),
    (10**11, "10B<n<100B"),
    (10**12, "100B<n<1T"),
)
_SHARE = 0.01  # of the sample's bytes that makes a language one of the data set


def text(card: dict[str, Any], recipe: Recipe) -> str:
    """README.md of a card.

    Args:
      card: card.json, without the outputs.
      recipe: what was done.
    """
    name = recipe.name or recipe.source
    return "\n".join(
        [
            *_front(card, recipe, name),
            "",
            f"# {_plain(name)}",
            "",
            *_about(card, recipe),
            "",
            "![Lengths and languages](card.png)",
            "",
            *_splits(card),
            *_stages(card),
            *_dropped(card),
            *_bad(card),
            *_contamination(card, recipe),
            *_languages(card),
            *_recipe(recipe),
            *_files(card),
        ]
    )


def _front(card, recipe, name) -> list[str]:
    """The YAML that Hugging Face reads; JSON strings are YAML, too."""
    documents = sum(numbers["documents"] for numbers in card["splits"].values())
    size = next((name for top, name in _SIZES if documents < top), "n>1T")
    lines = ["---", f"pretty_name: {json.dumps(name)}"]
    if recipe.licence:
        lines.append(f"license: {json.dumps(recipe.licence)}")
    total = sum(found["bytes"] for found in card["languages"].values())
    codes = [
        code
        for code, found in card["languages"].items()
        if found["bytes"] >= _SHARE * total
    ]
    if codes:
        lines += ["language:", *(f"- {json.dumps(code)}" for code in codes)]
    return [
        *lines,
        "task_categories:",
        "- text-generation",
        "size_categories:",
        f"- {size}",
        "---",
    ]


def _about(card, recipe) -> list[str]:
    """What the data are and from where."""
    before, after = card["stages"][0], card["stages"][-1]
    return [
        f"- Source: `{_code(recipe.source)}`",
        f"- Provenance: {_plain(recipe.provenance) or 'not stated'}",
        f"- Licence: {_plain(recipe.licence) or 'not stated'}",
        f"- Read: {card['rows']:,} rows, {card['bad']['rows']:,} of them bad, with "
        f"{before['characters_in']:,} characters.",
        f"- Kept: {after['documents_out']:,} documents with "
        f"{after['characters_out']:,} characters.",
        f"- Tokenizer: {_plain(card['tokenizer']['from'])}; "
        f"{card['tokenizer']['bytes_per_token']} bytes a token.",
    ]


def _splits(card) -> list[str]:
    """The table of the splits."""
    rows = [
        [split, *(f"{numbers[name]:,}" for name in _SPLIT)]
        for split, numbers in card["splits"].items()
    ]
    return ["## Splits", "", *_table(["split", *_SPLIT], rows), ""]


_SPLIT = ("documents", "characters", "bytes", "tokens", "shards")


def _stages(card) -> list[str]:
    """The table of the stages."""
    names = ("documents_in", "documents_out", "characters_in", "characters_out")
    rows = [
        [f"`{_code(stage['stage'])}`", *(f"{stage[name]:,}" for name in names)]
        for stage in card["stages"]
    ]
    heads = ["stage", *(name.replace("_", " ") for name in names)]
    return ["## Stages", "", *_table(heads, rows), ""]


def _dropped(card) -> list[str]:
    """Why documents were dropped, with samples."""
    lines = []
    for stage in card["stages"]:
        for reason, count in stage["dropped"].items():
            if count:
                name = _code(stage["stage"])
                many = "document" if count == 1 else "documents"
                lines.append(f"- `{name}`, {_plain(reason)}: {count:,} {many}")
                for sample in stage["samples"].get(reason, []):
                    earlier = sample.get("earlier")
                    twin = f" (as {_plain(earlier)})" if earlier else ""
                    shown = _code(json.dumps(sample["text"], ensure_ascii=False))
                    lines.append(f"  - {_plain(sample['place'])}{twin}: `{shown}`")
    return ["## Dropped documents", "", *(lines or ["None."]), ""]


def _bad(card) -> list[str]:
    """The first rows that could not be read."""
    messages = card["bad"]["samples"]
    if not messages:
        return []
    return ["## Bad rows", "", *(f"- {_plain(message)}" for message in messages), ""]


def _contamination(card, recipe) -> list[str]:
    """What training documents share with evaluation sources."""
    lines = []
    for found in card["contamination"]:
        lines.append(
            f"- `{_code(found['source'])}`: {found['contaminated']:,} of "
            f"{found['documents'] - found['short']:,} documents "
            f"({100 * found['share']:.2f} %) have an n-gram of {recipe.ngram} words "
            f"that is in {found['training_documents']:,} training documents. "
            f"{found['short']:,} documents are too short, and "
            f"{found['common_ngrams']:,} n-grams are too common to count."
        )
        for sample in found["samples"]:
            shown = _code(json.dumps(sample["ngram"], ensure_ascii=False))
            lines.append(
                f"  - {_plain(sample['place'])}, in {_plain(sample['training'])}: "
                f"`{shown}`"
            )
    return ["## Contamination", "", *lines, ""] if lines else []


def _languages(card) -> list[str]:
    """How many bytes a token has in each language of the sample."""
    names = ("documents", "bytes", "tokens", "bytes_per_token")
    rows = [
        [code, *(f"{numbers[name]:,}" for name in names)]
        for code, numbers in card["languages"].items()
    ]
    if not rows:
        return []
    heads = ["language", *(name.replace("_", " ") for name in names)]
    note = (
        "A sample of the documents of 50 characters or more, by the language that "
        "`py3langid` finds."
    )
    return ["## Languages and fertility", "", note, "", *_table(heads, rows), ""]


def _recipe(recipe) -> list[str]:
    """The fields of the recipe that differ from their defaults."""
    values, usual = to_json(recipe), to_json(Recipe())
    values = {name: v for name, v in values.items() if v != usual[name]}
    lines = json.dumps(values, indent=2, ensure_ascii=False).splitlines()
    return ["## Recipe", "", "```json", *lines, "```", ""]


def _files(card) -> list[str]:
    """The hashes of the inputs; card.json has those of the outputs."""
    rows = [
        [f"`{_code(name)}`", f"{entry['size']:,}", f"`{entry['sha256']}`"]
        for name, entry in card["inputs"].items()
    ]
    return [
        "## Files",
        "",
        *_table(["input", "bytes", "SHA-256"], rows),
        "",
        "`card.json` has the recipe, all numbers, and the SHA-256 of each output.",
        "",
    ]


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A table of Markdown; all but the first column are numbers."""
    line = ["---", *["---:"] * (len(heads) - 1)]
    return [f"| {' | '.join(row)} |" for row in (heads, line, *rows)]


def _plain(value: str) -> str:
    """Text without the marks that Markdown and HTML give a meaning."""
    value = " ".join(value.split())
    for mark in "\\`*_[]<>|#":
        value = value.replace(mark, f"\\{mark}")
    return value


def _code(value: str) -> str:
    """Text for a span of code in a table or a list."""
    return " ".join(value.split()).replace("`", "'").replace("|", "\\|")
