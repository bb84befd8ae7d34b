"""The objects of shards.json."""

import dataclasses
import re

from zoo.fields import at_least

_NAME = re.compile(r"[\w][\w.-]*\.tfrecord", re.ASCII)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Entry:
    """What shards.json says of a shard.

    Attributes:
      file: its name in the folder.
      tokens: with those around its documents.
      documents: how many.
      bytes: UTF-8 bytes of the documents' texts.
      sha256: of the file.
      documents_crc32c: of the file with the starts of the documents.
      records_crc32c: of the file with the checksums of the records.
    """

    file: str
    tokens: int
    documents: int
    bytes: int
    sha256: str
    documents_crc32c: int
    records_crc32c: int

    def __post_init__(self):
        if not _NAME.fullmatch(self.file):
            raise ValueError(f"file: {self.file!r} is no name of a .tfrecord file.")
        at_least("documents", self.documents, 1)
        at_least("tokens", self.tokens, self.documents)  # each has an end token
        at_least("bytes", self.bytes, 0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TokenizerEntry:
    """What shards.json says of the tokenizer.

    Attributes:
      sha256, config_sha256: of its two files.
      vocab_size: as in `Tokenizer`.
      first, start, end: as in `zoo.data.document_tokens.Around`.
    """

    sha256: str
    config_sha256: str
    vocab_size: int
    first: tuple[int, ...]
    start: tuple[int, ...]
    end: int
