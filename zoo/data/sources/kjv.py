"""The King James Bible of the package `pythonbible[kjv]`, split by whole books."""

import functools
from collections.abc import Iterator

from zoo.data.compressed import shown
from zoo.data.sources.examples import Example, Numbered
from zoo.fields import one_of

SPLITS = ("train", "valid", "test")
# Whole books, so that no test sentence stands beside a training sentence.
TEST = ("Ruth", "Proverbs", "Jonah", "Mark", "Hebrews")
VALID = ("Nahum", "Haggai", "2 Thessalonians", "Philemon", "3 John")


def rows(rest: str, split: str, field: str = "") -> Iterator[Numbered]:
    """The books, or the pairs of neighbouring verses, each with its place.

    A book is {"title": ..., "text": ...}. A pair of neighbours is {"text": verse,
    "positive": the next verse}. Each verse is in one pair at most, and both verses of a
    pair are of one chapter. So a search for the positive never finds the text itself.

    Args:
      rest: empty for books, in the order of the Bible, or "neighbours".
      split: as in `books`.
      field: unused.

    Raises:
      ValueError: `rest` is something else, or an unknown split.
    """
    del field
    if rest not in ("", "neighbours"):
        raise ValueError(
            f"kjv:{shown(rest)}: kjv takes nothing after its name, or neighbours."
        )
    found: list[Example] = (
        neighbours(split)
        if rest
        else [{"title": title, "text": text} for title, text in books(split).items()]
    )
    name = f"kjv:{rest}" if rest else "kjv"
    return (
        (f"{name}, {split} example {i}", example) for i, example in enumerate(found)
    )


def neighbours(split: str) -> list[Example]:
    """The pairs of neighbouring verses of a split, see `read`.

    Raises:
      ValueError: an unknown split.
    """
    chapters: dict[tuple[str, int], list[str]] = {}
    for title, chapter, _, text in verses(split):
        chapters.setdefault((title, chapter), []).append(text)
    return [
        {"text": first, "positive": second}
        for texts in chapters.values()
        for first, second in zip(texts[::2], texts[1::2], strict=False)
    ]


@functools.cache
def books(split: str) -> dict[str, str]:
    """The books of a split in the order of the Bible, title to text.

    The text has no square brackets, which mark the translators' additions, and no
    verse numbers. A newline joins the verses.

    Args:
      split: train, valid, test, or several joined by a plus sign.

    Raises:
      ValueError: an unknown split.
    """
    found: dict[str, list[str]] = {}
    for title, _, _, verse in verses(split):
        found.setdefault(title, []).append(verse)
    return {title: "\n".join(lines) for title, lines in found.items()}


def verses(split: str) -> Iterator[tuple[str, int, int, str]]:
    """Yields the book, chapter, number and text of each verse of a split, as `books`.

    Raises:
      ValueError: an unknown split.
    """
    wanted = split.split("+")
    for part in wanted:
        one_of("kjv split", part, SPLITS)

    import pythonbible

    version = pythonbible.Version.KING_JAMES
    for verse_id in pythonbible.get_bible(version, "plain_text").get_verse_ids():
        title = pythonbible.Book(verse_id // 1_000_000).title  # BBCCCVVV
        if _split_of(title) in wanted:
            text = pythonbible.get_verse_text(verse_id, version)
            chapter, number = divmod(verse_id % 1_000_000, 1000)
            yield title, chapter, number, text.replace("[", "").replace("]", "")


def _split_of(title: str) -> str:
    return "test" if title in TEST else "valid" if title in VALID else "train"
