"""TensorBoard's event files, cut to the steps that a resumed run keeps.

A file is a sequence of records: the length of the event in 8 bytes, its checksum in 4,
the event, and its checksum in 4. A process that was killed may leave half a record.
"""

import pathlib
from collections.abc import Iterator

import tensorflow as tf


def cut(folder, step: int) -> None:
    """Removes all events after a step; at step 0 all files, since a run begins anew.

    Args:
      folder: the folder of the event files; it may be absent.
      step: the step of the checkpoint that the run goes on from.
    """
    for path in sorted(pathlib.Path(folder).glob("*tfevents*")):
        if not step:
            path.unlink()
            continue
        new = path.with_name(".cut")
        with open(new, "wb") as file:
            for record in _records(path):
                if tf.compat.v1.Event.FromString(record[12:-4]).step <= step:
                    file.write(record)
        new.rename(path)


def _records(path) -> Iterator[bytes]:
    """The complete records of a file."""
    with open(path, "rb") as file:
        while len(head := file.read(12)) == 12:
            size = int.from_bytes(head[:8], "little") + 4
            rest = file.read(size)
            if len(rest) < size:
                return
            yield head + rest
