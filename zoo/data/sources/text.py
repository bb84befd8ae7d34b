"""Text files as examples, a document a file."""

from collections.abc import Iterator

from zoo.data import compressed
from zoo.data.sources.examples import Example, only_train


def read(patterns: str, split: str, field: str) -> Iterator[Example]:
    """Yields {"path": ..., "text": ...} for each UTF-8 file.

    Args:
      patterns: comma-separated paths or globs.
      split: "train".
      field: unused.

    Raises:
      ValueError: another split or a missing file (at once); an empty or damaged
        file, or bytes that are not UTF-8 (when the reader reaches the file).
    """
    only_train("text", split)
    paths = compressed.find(patterns)
    return ({"path": path, "text": compressed.text(path)} for path in paths)
