"""Shards: a folder of tokens on disk, which training reads without loading it.

    DIR/shards.json                  what is there, and its checksums
    DIR/train-00000.tfrecord         tokens, in records of one length
    DIR/train-00000.documents.npy    where each document starts
    DIR/train-00000.crc32c.npy       the checksum of each record
    DIR/tokenizer/                   made the tokens

A writer calls `write` for each shard, in any order and process, and `finish` once.
The stream of a split has the tokens that `zoo.data.formats.language_model` gives for
its documents in order. Nothing here imports TensorFlow.
"""

from zoo.data.damage import Damage, DamagedRecord
from zoo.data.shards.folder import INDEX, Entry, Shards, digest_of, finish, read
from zoo.data.shards.layout import RECORD
from zoo.data.shards.writer import write

KIND = "shards"  # of a spec: "shards:DIR"

__all__ = [
    "INDEX",
    "KIND",
    "RECORD",
    "Damage",
    "DamagedRecord",
    "Entry",
    "Shards",
    "digest_of",
    "finish",
    "folder_of",
    "read",
    "write",
]


def folder_of(spec: str) -> str:
    """The folder of a spec "shards:DIR"; "" of any other spec."""
    kind, _, folder = spec.partition(":")
    return folder if kind == KIND else ""
