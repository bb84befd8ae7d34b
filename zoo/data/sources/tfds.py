"""Examples of TensorFlow Datasets."""

import contextlib
import os
import re
from collections.abc import Iterator
from typing import Any

from zoo.data.compressed import decode, shown
from zoo.data.sources.examples import Example, Numbered, only_train
from zoo.fields import one_of


def rows(name_and_split: str, split: str, field: str = "") -> Iterator[Numbered]:
    """The examples of one split; downloads and prepares the data set if needed.

    Args:
      name_and_split: NAME or NAME:split; NAME may hold a version, `NAME:1.0.0`, and
        the split may be a slice, `train[:90%]`.
      split: of the data set, where `name_and_split` has none; `valid` is also a name
        for the split that TensorFlow Datasets call `validation`.
      field: bytes of this field must be UTF-8; those of others may be of an image.

    Returns:
      The place of each example, and the example; or the error about its field.

    Raises:
      ValueError: an unknown data set or split, or one that cannot be prepared.
    """
    builder, name, split = _find(name_and_split, split)

    import tensorflow as tf
    import tensorflow_datasets as tfds

    # With autotuning, TensorFlow 2.21 ends a finite pass up to twice as late.
    options = tf.data.Options()
    options.autotune.enabled = False
    dataset = builder.as_dataset(split=split, shuffle_files=False)
    found = tfds.as_numpy(dataset.with_options(options))
    return (
        _numbered(row, field, f"tfds:{name}:{split}, example {i}")
        for i, row in enumerate(found)
    )


def splits(name_and_split: str) -> tuple[str, ...]:
    """The names that `read` takes for its split.

    Raises:
      ValueError: an unknown data set, or one that cannot be prepared.
    """
    name, own_split = _parse(name_and_split)
    if own_split:
        return ("train",)
    known = tuple(_builder(name).info.splits)
    return (*known, "valid") if "validation" in known else known


def label_names(name_and_split: str, field: str) -> tuple[str, ...]:
    """The names of the classes that a field of integers stands for; empty if none.

    Raises:
      ValueError: an unknown data set or field, or one that cannot be prepared.
    """
    name, _ = _parse(name_and_split)
    features = _builder(name).info.features
    one_of(f"tfds:{name} field", field, features)
    return tuple(getattr(features[field], "names", None) or ())


def files(name_and_split: str, split: str) -> dict[str, str]:
    """The files that hold a split: a name that no folder changes, to the path.

    Raises:
      ValueError: an unknown data set or split, or one that cannot be prepared.
    """
    builder, _, split = _find(name_and_split, split)
    info = builder.info
    paths = [str(path) for path in info.splits[split].filepaths]
    return {f"{info.full_name}/{os.path.basename(path)}": path for path in paths}


def _parse(name_and_split: str) -> tuple[str, str]:
    """The name with its version, and the split or ""."""
    match = re.fullmatch(r"([^:]+(?::\d+\.\d+\.\d+)?)(?::(.+))?", name_and_split)
    if not match or not name_and_split.isprintable():
        raise ValueError(
            f"tfds:{shown(name_and_split)}: expected tfds:NAME or tfds:NAME:split."
        )
    return match[1], match[2] or ""


def _builder(name: str) -> Any:
    """The builder of a data set, downloaded and prepared."""
    import tensorflow_datasets as tfds  # takes seconds, so only where needed

    try:
        builder: Any = tfds.builder(name)
        builder.download_and_prepare()
    except Exception as error:  # the network, the disk, the data set's own code
        reason = (str(error).strip() or repr(error)).splitlines()[0]
        raise ValueError(f"tfds:{name}: cannot be prepared: {reason}") from error
    return builder


def _find(name_and_split: str, split: str) -> tuple[Any, str, str]:
    """The builder, its name, and the split by the builder's own names."""
    name, own_split = _parse(name_and_split)
    if own_split:
        only_train(f"tfds:{name_and_split}", split)
    builder = _builder(name)
    known = list(builder.info.splits)
    parts = split.split("+")
    if "valid" not in known:
        parts = ["validation" if part == "valid" else part for part in parts]
    if not own_split:
        for part in parts:
            one_of(f"tfds:{name} split", part, known)
    wanted = own_split or "+".join(parts)
    try:
        builder.info.splits[wanted]
    except (KeyError, ValueError) as error:  # an unknown name, or a wrong slice
        reason = str(error.args[0]).splitlines()[0]
        raise ValueError(
            f"tfds:{name}: split {wanted!r}: {reason} Known: {', '.join(known)}."
        ) from None
    return builder, name, wanted


def _numbered(row: dict[str, Any], field: str, where: str) -> Numbered:
    """Turns bytes into strings and scalar arrays into numbers."""
    example: Example = {}
    for key, value in row.items():
        if key == field and isinstance(value, bytes):
            try:
                value = decode(value, f"{where}, field {key!r}")
            except ValueError as error:
                return where, error
        elif isinstance(value, bytes):
            with contextlib.suppress(UnicodeDecodeError):  # of an image, a sound
                value = value.decode("utf-8")
        elif getattr(value, "shape", None) == ():
            value = value.item()
        example[key] = value
    return where, example
