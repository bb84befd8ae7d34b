"""Examples of TensorFlow Datasets."""

import re
from collections.abc import Iterator
from typing import Any

from zoo.data.sources.examples import Example, check_text, only_train
from zoo.fields import one_of


def read(name_and_split: str, split: str, field: str) -> Iterator[Example]:
    """The examples of one split; downloads and prepares the data set if needed.

    Args:
      name_and_split: NAME or NAME:split; NAME may hold a version, `NAME:1.0.0`, and
        the split may be a slice, `train[:90%]`.
      split: of the data set, where `name_and_split` has none; `valid` is the split
        that TensorFlow Datasets call `validation`.
      field: must hold a string in every example; "" checks nothing.

    Raises:
      ValueError: an unknown data set or split, or one that cannot be prepared (at
        once); an example without the field (when the reader reaches it).
    """
    match = re.fullmatch(r"([^:]+(?::\d+\.\d+\.\d+)?)(?::(.+))?", name_and_split)
    if not match:
        raise ValueError(
            f"tfds:{name_and_split}: expected tfds:NAME or tfds:NAME:split."
        )
    name, own_split = match.groups()
    if own_split:
        only_train(f"tfds:{name_and_split}", split)

    import tensorflow_datasets as tfds  # takes seconds, so only where needed

    try:
        builder: Any = tfds.builder(name)
        builder.download_and_prepare()
    except Exception as error:  # the network, the disk, the data set's own code
        reason = (str(error).strip() or repr(error)).splitlines()[0]
        raise ValueError(f"tfds:{name}: cannot be prepared: {reason}") from error
    known = list(builder.info.splits)
    if not own_split:
        parts = ["validation" if p == "valid" else p for p in split.split("+")]
        for part in parts:
            one_of(f"tfds:{name} split", part, known)
        own_split = "+".join(parts)
    try:
        dataset = builder.as_dataset(split=own_split, shuffle_files=False)
    except ValueError as error:
        raise ValueError(
            f"tfds:{name}: split {own_split!r}: {error} Known: {', '.join(known)}."
        ) from None
    return (
        check_text(_plain(row), field, f"tfds:{name}:{own_split}, example {i}")
        for i, row in enumerate(tfds.as_numpy(dataset))
    )


def _plain(row: Example) -> Example:
    """Turns bytes into strings and scalar arrays into numbers."""
    return {
        key: value.decode("utf-8")
        if isinstance(value, bytes)
        else value.item()
        if getattr(value, "shape", None) == ()
        else value
        for key, value in row.items()
    }
