"""Text files as examples, a document a file."""

from collections.abc import Iterator

from zoo.data import compressed
from zoo.data.sources.examples import Numbered


def rows(path: str, field: str = "") -> Iterator[Numbered]:
    """Yields {"path": ..., "text": ...} of a UTF-8 file, or of each member of a zip.

    Args:
      path: of the file.
      field: unused.

    Yields:
      The name of the file, and the example; or the error that an empty or damaged file
      gave, or one with bytes that are not UTF-8.

    Raises:
      ValueError: the file is missing, or is not what its ending promises.
    """
    del field
    for file in compressed.files_in(path):
        try:
            text = compressed.decode(file.read(), file.name)
        except ValueError as error:
            yield file.name, error
            continue
        yield file.name, {"path": path, "text": text}
