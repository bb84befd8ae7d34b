"""Reads tokens out of a shard; each record is checked whenever it is read.

Files are read by `os.pread` and not mapped into memory: a mapped file that becomes
shorter, or a disk that fails, would end the process by a signal.
"""

import io
import os
import pathlib
from collections.abc import Callable

import google_crc32c
import numpy as np

from zoo.data.damage import Damage, DamagedRecord
from zoo.data.shards import layout as layouts
from zoo.data.shards import writer
from zoo.data.shards.layout import RECORD, Layout

_CHECKED = 256  # records at a time


class Descriptor:
    """An open file, which is closed when nothing refers to it any more.

    Args:
      path: of the file.
    """

    def __init__(self, path: pathlib.Path):
        self.number = os.open(path, os.O_RDONLY)

    def __del__(self):
        number = getattr(self, "number", None)
        if number is not None:
            os.close(number)


def read_npy(path: pathlib.Path, crc32c: int) -> np.ndarray:
    """The array of a .npy file.

    Raises:
      ValueError: the file is missing or damaged.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror or error}") from None
    if google_crc32c.value(data) != crc32c:
        raise ValueError(f"the checksum of {path} is wrong")
    return np.load(io.BytesIO(data))


class Shard:
    """The tokens of a shard, a piece of a `TokenStream`.

    Args:
      path: of the .tfrecord file.
      tokens: how many, with those around documents.
      documents: how many.
      documents_crc32c: of the file with the starts of the documents.
      records_crc32c: of the file with the checksums of the records.
      layout: of the records.
      start: how many tokens at the start of each document are no targets.
      opened: gives the `Descriptor` of a path; may keep some open.
      read_npy: as the function of this name; may keep some arrays.
    """

    def __init__(
        self,
        *,
        path: pathlib.Path,
        tokens: int,
        documents: int,
        documents_crc32c: int,
        records_crc32c: int,
        layout: Layout,
        start: int,
        opened: Callable[[pathlib.Path], Descriptor],
        read_npy: Callable[[pathlib.Path, int], np.ndarray],
    ):
        self.tokens, self.documents = tokens, documents
        self.records = layouts.records_of(tokens)
        self._path, self._layout, self._start = path, layout, start
        self._documents = writer.documents_path(path), documents_crc32c
        self._sums = writer.records_path(path), records_crc32c
        self._opened, self._read_npy = opened, read_npy
        self._dtype = layout.record["tokens"].base
        self._size, self._first = self._dtype.itemsize, len(layout.head)

    def fill(self, first, tokens_T, weights_T) -> None:
        """As `zoo.data.token_stream.Piece.fill`.

        Raises:
          DamagedRecord: a record cannot be read, or is not the one that was written.
        """
        record, skip = divmod(first, RECORD)
        count = layouts.records_of(skip + len(tokens_T))
        data = self.read(record, count)
        for number in range(count):
            room = min(len(tokens_T), RECORD - skip)
            begin = number * self._layout.stride + self._first + skip * self._size
            tokens_T[:room] = np.frombuffer(data, self._dtype, room, begin)
            tokens_T, skip = tokens_T[room:], 0
        if weights_T is not None and self._start:
            self._drop_starts(first, weights_T)

    def read(self, first: int, count: int) -> bytes:
        """The bytes of records, checked.

        Raises:
          DamagedRecord: as `fill`.
        """
        stride = self._layout.stride
        try:
            descriptor = self._opened(self._path)
            data = os.pread(descriptor.number, count * stride, first * stride)
        except OSError as error:
            raise self._damaged(first, error.strerror or str(error)) from None
        sums = self._array(first, *self._sums)
        for number in range(count):
            # one record is no copy
            record = data[number * stride : (number + 1) * stride]
            if len(record) < stride:
                raise self._damaged(first + number, "the file ends in it")
            if google_crc32c.value(record) != sums[first + number]:
                raise self._damaged(first + number, "its checksum is wrong")
        return data

    def check(self, damage: Damage) -> None:
        """Reads all records, and counts those that are damaged.

        Raises:
          ValueError: there are more than the budget.
        """
        for first in range(0, self.records, _CHECKED):
            numbers = range(first, min(first + _CHECKED, self.records))
            try:
                self._check(numbers)
            except DamagedRecord:
                for number in numbers:
                    try:
                        self._check(range(number, number + 1))
                    except DamagedRecord as error:
                        damage.add(error)

    def _check(self, numbers):
        """Reads records, and what belongs to them."""
        self.read(numbers.start, len(numbers))
        if self._start:
            self._array(numbers.start, *self._documents)

    def _array(self, record, path, crc32c) -> np.ndarray:
        """The array of a file beside this one; an error is that of the record."""
        try:
            return self._read_npy(path, crc32c)
        except ValueError as error:
            raise self._damaged(record, str(error)) from None

    def _damaged(self, record, reason) -> DamagedRecord:
        """The error about a record."""
        return DamagedRecord(self._path, record, record * self._layout.stride, reason)

    def _drop_starts(self, first, weights_T):
        """Sets the weights of the tokens that start documents to 0."""
        starts_D = self._array(first // RECORD, *self._documents)
        low = np.searchsorted(starts_D, first - self._start, "right")
        high = np.searchsorted(starts_D, first + len(weights_T))
        for place in (starts_D[low:high] - first).tolist():
            weights_T[max(place, 0) : place + self._start] = 0
