"""The recipe: everything that decides what a preparation writes, to JSON and back."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from zoo.data import sources, stages
from zoo.fields import at_least, check_fraction, from_fields, one_of

# The least tokens of each: the bytes and the end token. Unigram also needs an unknown
# token, 22 characters that are pieces in any case, and as many others.
ALGORITHMS = {"bpe": 257, "unigram": 302}


# Not frozen: the overrides of the command line set fields.
@dataclasses.dataclass(kw_only=True, slots=True)
class Recipe:
    """What a preparation reads, does and writes.

    Attributes:
      source: a spec of `zoo.data.sources`.
      field: of the examples, which holds the text; empty means that of the spec, or
        "text".
      stages: entries of `zoo.data.stages`, in order: "name" or "name:argument".
      exact: whether a document that equals an earlier one is dropped. White space of
        ASCII does not count.
      near: the Jaccard similarity of word 5-grams from which a document is dropped for
        an earlier one; 0 is off. Candidates come from 14 bands of 8 MinHash values;
        below 0.08 every candidate is dropped.
      lines: drop a line that is in so many earlier documents; 0 is off.
      against: specs of evaluation sources. The card tells how many of their documents
        have n-grams that are in the training documents, too.
      ngram: words of these n-grams.
      valid: the share of the documents for the split `valid`, by a hash of the text;
        where the source has such a split, that one is used.
      test: as `valid`, of the split `test`.
      tokenizer: a folder with tokenizer files; empty trains one on the training
        documents.
      vocab_size: tokens of the trained tokenizer, 256 bytes and the end included.
      algorithm: of the trained tokenizer: "bpe" on bytes, or "unigram", where a
        character without a piece becomes its bytes. A SavedModel takes both.
      tokenizer_chars: characters that the tokenizer is trained on at most; a larger
        corpus gives a sample of its documents.
      max_bad_rows: how many bad rows are dropped and counted before one is an error.
      unit_chars: characters of a unit of work, and so of a shard. Each document counts
        64 more.
      name: of the data set, for the card.
      licence: as Hugging Face names it, such as "cc0-1.0", for the card.
      provenance: where the text is from, for the card.
      samples: how many examples of each kind the card shows; 0 shows no text.
      seed: of the splits.
    """

    source: str = "kjv"
    field: str = ""
    stages: tuple[str, ...] = stages.DEFAULT
    exact: bool = True
    near: float = 0.0
    lines: int = 0
    against: tuple[str, ...] = ()
    ngram: int = 13
    valid: float = 0.0
    test: float = 0.0
    tokenizer: str = ""
    vocab_size: int = 4096
    algorithm: str = "bpe"
    tokenizer_chars: int = 100_000_000
    max_bad_rows: int = 0
    unit_chars: int = 32 * 2**20
    name: str = ""
    licence: str = ""
    provenance: str = ""
    samples: int = 3
    seed: int = 0


def check(recipe: Recipe) -> None:
    """Raises ValueError for values that no recipe can have; reads no data."""
    stages.check(recipe.stages)
    at_least("recipe.near", recipe.near, 0)
    if recipe.near > 1:
        raise ValueError(f"recipe.near: {recipe.near}, 0 to 1 allowed.")
    for field in ("lines", "max_bad_rows", "samples", "seed"):
        at_least(f"recipe.{field}", getattr(recipe, field), 0)
    for field in ("ngram", "unit_chars", "tokenizer_chars"):
        at_least(f"recipe.{field}", getattr(recipe, field), 1)
    check_fraction("recipe.valid", recipe.valid)
    check_fraction("recipe.test", recipe.test)
    check_fraction("recipe.valid + recipe.test", recipe.valid + recipe.test)
    one_of("recipe.algorithm", recipe.algorithm, ALGORITHMS)
    if not recipe.tokenizer:
        least = ALGORITHMS[recipe.algorithm]
        at_least("recipe.vocab_size", recipe.vocab_size, least)
    for spec in (recipe.source, *recipe.against):
        sources.parts(spec)


def refuse_bad_rows(recipe: Recipe, count: int, messages: Sequence[str]) -> None:
    """Raises ValueError for too many bad rows; it has the first of their messages."""
    if count > recipe.max_bad_rows:
        raise ValueError(
            f"{count} bad rows, recipe.max_bad_rows {recipe.max_bad_rows} allowed; "
            f"the first: {messages[0]}"
        )


def to_json(recipe: Recipe) -> dict[str, Any]:
    """The recipe as JSON-able values: tuples as lists."""
    values = dataclasses.asdict(recipe)
    return {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}


def from_json(value: dict[str, Any]) -> Recipe:
    """The recipe that `to_json` wrote, every field checked again.

    Raises:
      ValueError: an unknown field, a wrong type or value.
    """
    recipe = from_fields(Recipe, value, "recipe")
    check(recipe)
    return recipe


def of_config(value: Any) -> Recipe:
    """What `get_config()` of a config gave, every field checked.

    Raises:
      ValueError: it is no Recipe, or a field is wrong.
    """
    if not isinstance(value, Recipe):
        raise ValueError(f"--config: get_config() gave {type(value)}, not a Recipe.")
    return from_json(to_json(value))


def differences(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """The fields in which two recipes, as JSON, differ: "field: a -> b"."""
    return [
        f"recipe.{name}: {before.get(name)!r} -> {after.get(name)!r}"
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name)
    ]
