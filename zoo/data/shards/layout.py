"""The bytes of a shard: a TFRecord file whose records have one length.

A record is 8 bytes of length, 4 of checksum, the tokens, and 4 of checksum, as
tensorflow/core/lib/io/record_writer.h has it. So record i starts at byte
i * `Layout.stride`, and any `tf.data.TFRecordDataset` reads the file.
"""

import struct
from typing import NamedTuple

import google_crc32c
import numpy as np

RECORD = 4096  # tokens of a record
DTYPES = ("uint16", "uint32")


class Layout(NamedTuple):
    """The places in a record.

    Attributes:
      record: the dtype of a record: length, length_crc, tokens [RECORD], crc.
      head: the bytes before the tokens, the same in every record.
      stride: bytes of a record.
    """

    record: np.dtype
    head: bytes
    stride: int


def dtype_for(vocab_size: int) -> str:
    """The smallest dtype that has room for all token ids."""
    return DTYPES[vocab_size > 2**16]


def layout_of(dtype: str) -> Layout:
    """The layout of a shard whose tokens have this dtype, in little endian."""
    tokens = np.dtype(dtype).newbyteorder("<")
    record = np.dtype(
        [
            ("length", "<u8"),
            ("length_crc", "<u4"),
            ("tokens", tokens, (RECORD,)),
            ("crc", "<u4"),
        ]
    )
    length = struct.pack("<Q", RECORD * tokens.itemsize)
    head = length + struct.pack("<I", masked(google_crc32c.value(length)))
    return Layout(record, head, record.itemsize)


def records_of(tokens: int) -> int:
    """How many records so many tokens fill."""
    return -(-tokens // RECORD)


def masked(crc: int) -> int:
    """The CRC32C as TFRecord files store it (record_writer.h)."""
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
