"""A progress bar with the time that is left."""

import contextlib
import os
from collections.abc import Iterator, Sequence

import rich.console
import rich.progress

from zoo.data import sources, storage
from zoo.data.sources.file_parts import paths_of


def size_of(parts: Sequence[sources.Part]) -> int:
    """The bytes of the files of parts; 1 for a part without files."""
    return sum(map(_size, parts))


class Bar:
    """The bar of a preparation; hidden, it does nothing.

    Args:
      shown: whether there is one, on a terminal.
    """

    def __init__(self, shown: bool):
        self._bar = rich.progress.Progress(
            rich.progress.TextColumn("{task.description:11}"),
            rich.progress.BarColumn(),
            rich.progress.TaskProgressColumn(),
            rich.progress.TextColumn("{task.fields[speed]}"),
            rich.progress.TimeElapsedColumn(),
            rich.progress.TimeRemainingColumn(),
            console=rich.console.Console(stderr=True),
            disable=not shown,
        )
        self._task = rich.progress.TaskID(0)
        self._before = self._characters = 0

    def __enter__(self) -> "Bar":
        self._bar.start()
        return self

    def __exit__(self, *error) -> None:
        self._bar.stop()

    def begin(self, name: str, total: int | None) -> None:
        """Begins a step; without a total, only its time is shown."""
        self._task = self._bar.add_task(name, total=total, speed="")
        self._before = self._characters = 0

    def advance(self, count: int) -> None:
        """Goes on by a count of the total."""
        self._bar.advance(self._task, count)

    def end(self) -> None:
        """Ends a step."""
        self._bar.update(self._task, completed=1, total=1)

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[None]:
        """A step whose length nobody knows."""
        self.begin(name, None)
        yield
        self.end()

    def passed(self, part: sources.Part) -> None:
        """Goes on by a part that is read."""
        self._before += _size(part)
        self._bar.update(self._task, completed=self._before)

    def reads(self, part: sources.Part) -> None:
        """Goes on to the place where a part is read at present."""
        self._bar.update(self._task, completed=self._before + place_of(part))

    def read(self, characters: int) -> None:
        """Counts the characters of a unit that is clean."""
        self._characters += characters
        seconds = self._bar.tasks[self._task].elapsed or 0
        if seconds:
            speed = f"{self._characters / seconds / 1e6:.1f} M characters/s"
            self._bar.update(self._task, speed=speed)


def _size(part) -> int:
    """The bytes of the files of a part, or 1."""
    size = 0
    for path in _paths(part):
        with contextlib.suppress(ValueError):
            size += storage.size(path)
    return size or 1


def _paths(part) -> list[str]:
    """The files of a part; none of data that have a name."""
    kind, _, rest = part.spec.partition(":")
    return [] if kind in ("kjv", "tfds") else paths_of(rest.partition("#")[0])


def place_of(part: sources.Part) -> int:
    """How far this process has read the files of a part, in bytes as they are stored.

    The system knows it for files that are open; 0 where none is.
    """
    wanted = {}
    for path in _paths(part):
        with contextlib.suppress(OSError):
            found = os.stat(path)
            wanted[found.st_dev, found.st_ino] = found.st_size
    places = [0]
    with contextlib.suppress(OSError):
        for name in os.listdir("/dev/fd"):
            with contextlib.suppress(OSError):
                found = os.fstat(int(name))
                if (found.st_dev, found.st_ino) in wanted:
                    places.append(os.lseek(int(name), 0, os.SEEK_CUR))
    return max(places)
