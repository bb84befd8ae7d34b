"""Files whose lines are texts: a document a line, or the two sides of a translation."""

import itertools
from collections.abc import Iterator

from zoo.data import compressed
from zoo.data.compressed import shown
from zoo.data.sources.examples import Example, Numbered, only_train


def rows(path: str, field: str = "") -> Iterator[Numbered]:
    """Yields {"text": ...} of each line that is not blank.

    Args:
      path: of the UTF-8 file, or of a zip of such files.
      field: unused.

    Yields:
      The file and the line, and the example; or the error about bytes that are not
      UTF-8.

    Raises:
      ValueError: the file is missing, empty or damaged.
    """
    del field
    for file in compressed.files_in(path):
        for number, line in enumerate(file.lines(), 1):
            if line.strip():
                where = f"{file.name}, line {number}"
                try:
                    yield where, {"text": _text(line, where)}
                except ValueError as error:
                    yield where, error


def parallel(paths: str, split: str = "train", field: str = "") -> Iterator[Numbered]:
    """Yields {"source": ..., "target": ...} of each line of a parallel corpus.

    The corpus is two files with as many lines, such as those of OPUS and WMT, or one
    file whose lines have the source, a tab, the target, and maybe more behind another
    tab, such as those of Tatoeba. Lines that are blank on both sides are left out.

    Args:
      paths: of one or two UTF-8 files.
      split: "train".
      field: unused.

    Yields:
      The place, and the example; or the error about a line without a tab, or with bytes
      that are not UTF-8.

    Raises:
      ValueError: a file is missing, empty or damaged; three files or more; or one file
        has more lines than the other.
    """
    del field
    only_train("parallel", split)
    found = compressed.find(paths)
    if len(found) > 2:
        raise ValueError(f"'{shown(paths)}': {len(found)} files, 1 or 2 allowed.")
    if len(found) == 1:
        with compressed.opened(found[0]) as stream:
            file = compressed.File(shown(found[0]), stream)
            for number, line in enumerate(file.lines(), 1):
                if line.strip():
                    where = f"{file.name}, line {number}"
                    yield where, _of_tabs(line, where)
        return
    with compressed.opened(found[0]) as first, compressed.opened(found[1]) as second:
        sides = [
            compressed.File(shown(path), stream)
            for path, stream in zip(found, (first, second), strict=True)
        ]
        pairs = itertools.zip_longest(*(side.lines() for side in sides))
        for number, pair in enumerate(pairs, 1):
            where = f"{sides[0].name} and {sides[1].name}, line {number}"
            if None in pair:
                shorter = sides[pair.index(None)].name
                raise ValueError(
                    f"{where}: {shorter} ends at line {number - 1}; as many lines "
                    "allowed as the other file has."
                )
            if any(line.strip() for line in pair):
                yield where, _of_two(pair, where)


def _of_tabs(line: bytes, where: str) -> Example | ValueError:
    """The example of a line with tabs, or what is wrong with it."""
    try:
        cells = _text(line, where).split("\t")
    except ValueError as error:
        return error
    if len(cells) < 2:
        return ValueError(f"{where}: no tab between a source and a target.")
    return {"source": cells[0], "target": cells[1]}


def _of_two(pair: tuple[bytes, ...], where: str) -> Example | ValueError:
    """The example of the two sides, or what is wrong with them."""
    try:
        source, target = (_text(line, where) for line in pair)
    except ValueError as error:
        return error
    return {"source": source, "target": target}


def _text(line: bytes, where: str) -> str:
    """The text of a line, without its end."""
    return compressed.decode(line, where).rstrip("\r\n")
