"""The King James Bible out of the package `pythonbible[kjv]`, split by whole books."""

from zoo.registry import one_of

# Whole books, so that no sentence of the test is a neighbour of a training one.
TEST = ("Ruth", "Proverbs", "Jonah", "Mark", "Hebrews")
VALID = ("Nahum", "Haggai", "2 Thessalonians", "Philemon", "3 John")
BOOKS = 66


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

    chosen = list(pythonbible.Book)[:BOOKS]
    return {b.title: _text(b) for b in chosen if _split_of(b.title) in wanted}


def _split_of(title: str) -> str:
    return "test" if title in TEST else "valid" if title in VALID else "train"


def _text(book) -> str:
    import pythonbible as bible

    version = bible.Version.KING_JAMES
    verses = (
        bible.get_verse_text(bible.get_verse_id(book, chapter, verse), version)
        for chapter in range(1, bible.get_number_of_chapters(book, version) + 1)
        for verse in range(1, bible.get_number_of_verses(book, chapter, version) + 1)
    )
    return "\n".join(verses).replace("[", "").replace("]", "")
