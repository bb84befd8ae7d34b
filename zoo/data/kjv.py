"""The King James Bible out of the package `pythonbible[kjv]`, split by whole books."""

from zoo.fields import one_of

# Whole books, so that no sentence of the test is a neighbour of a training one.
TEST = ("Ruth", "Proverbs", "Jonah", "Mark", "Hebrews")
VALID = ("Nahum", "Haggai", "2 Thessalonians", "Philemon", "3 John")


def books(split: str) -> dict[str, str]:
    """The books of a split in the order of the Bible, title to text.

    Square brackets, which mark the translators' additions, are stripped; verses
    carry no numbers and are joined by a newline.

    Args:
      split: train, valid, test, or several joined by a plus sign.

    Raises:
      ValueError: an unknown split.
    """
    wanted = split.split("+")
    for part in wanted:
        one_of("kjv split", part, ("train", "valid", "test"))

    import pythonbible

    version = pythonbible.Version.KING_JAMES
    verses: dict[str, list[str]] = {}
    for verse_id in pythonbible.get_bible(version, "plain_text").get_verse_ids():
        title = pythonbible.Book(verse_id // 1_000_000).title  # BBCCCVVV
        if _split_of(title) in wanted:
            verse = pythonbible.get_verse_text(verse_id, version)
            verses.setdefault(title, []).append(verse)
    return {title: _stripped("\n".join(lines)) for title, lines in verses.items()}


def _split_of(title: str) -> str:
    return "test" if title in TEST else "valid" if title in VALID else "train"


def _stripped(text: str) -> str:
    return text.replace("[", "").replace("]", "")
