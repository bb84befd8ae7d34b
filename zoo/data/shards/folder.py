"""The folder of shards: shards.json, which is written last and read first."""

import dataclasses
import functools
import hashlib
import json
import os
import pathlib
import resource
import stat
from collections.abc import Iterable, Mapping
from typing import Any

from zoo import files
from zoo.data.damage import Damage
from zoo.data.document_tokens import Around, around
from zoo.data.shards import layout, reader, writer
from zoo.data.shards.entries import Entry, TokenizerEntry
from zoo.data.token_stream import TokenStream
from zoo.fields import from_fields, one_of
from zoo.text import tokenizer as tokenizers
from zoo.text.tokenizer import Tokenizer

INDEX = "shards.json"
_VERSION = 1
_LARGEST = 2**28  # bytes of shards.json; a shard needs 400
_SUMS = 8192  # shards whose checksums stay in memory, 8 kB each


@dataclasses.dataclass(frozen=True, kw_only=True)
class Shards:
    """A folder whose shards.json and sizes are right; the data were not read yet.

    Attributes:
      folder: its path.
      dtype: of the tokens, "uint16" or "uint32".
      tokenizer_sha256: of the content of the tokenizer.json.
      vocab_size: of the tokenizer.
      around: the tokens around the documents.
      splits: the shards of each split, in order.
    """

    folder: pathlib.Path
    dtype: str
    tokenizer_sha256: str
    vocab_size: int
    around: Around
    splits: dict[str, tuple[Entry, ...]]

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer that made the tokens."""
        return tokenizers.load(str(self.folder / "tokenizer"))

    def check_tokenizer(self, tokenizer: Tokenizer, where: str) -> None:
        """Refuses another tokenizer than that of the shards.

        Args:
          tokenizer: of a run.
          where: what the message calls it.

        Raises:
          ValueError: it has another tokenizer.json, or other tokens around documents.
        """
        own = digest_of(tokenizer)
        if own != self.tokenizer_sha256:
            raise ValueError(
                f"{where}: the tokenizer has the SHA-256 {own:.12}, and the shards of "
                f"{self.folder} were made by {self.tokenizer_sha256:.12}; take "
                f"{self.folder}/tokenizer, or prepare the shards again."
            )
        given = around(tokenizer)
        if given != self.around:
            raise ValueError(
                f"{where}: the tokenizer puts {given} around documents, and the "
                f"shards of {self.folder} have {self.around}; take "
                f"{self.folder}/tokenizer, or prepare the shards again."
            )

    def stream(self, split: str, damage: Damage | None = None) -> TokenStream:
        """The documents of a split as one stream, as `formats.language_model` gives it.

        Args:
          split: one of `splits`.
          damage: what happens to records that are damaged; None is an error.

        Raises:
          ValueError: the folder has no such split.
        """
        entries = self.entries(split)
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        opened = functools.lru_cache(max(soft // 2, 16))(reader.Descriptor)
        sums = functools.lru_cache(_SUMS)(reader.read_npy)
        made = layout.layout_of(self.dtype)
        pieces = [
            reader.Shard(
                path=self.folder / entry.file,
                tokens=entry.tokens,
                documents=entry.documents,
                documents_crc32c=entry.documents_crc32c,
                records_crc32c=entry.records_crc32c,
                layout=made,
                start=len(self.around.start),
                opened=opened,
                read_npy=sums,
            )
            for entry in entries
        ]
        return TokenStream(
            pieces,
            first=self.around.first,
            weighted=bool(self.around.start),
            bytes=sum(e.bytes for e in entries) + sum(e.documents for e in entries) - 1,
            documents=sum(e.documents for e in entries),
            damage=damage,
        )

    def entries(self, split: str) -> tuple[Entry, ...]:
        """The shards of a split.

        Raises:
          ValueError: the folder has no such split.
        """
        one_of(f"{self.folder}: split", split, self.splits)
        return self.splits[split]

    def digest(self, split: str) -> dict[str, int | str]:
        """The size and SHA-256 that stand for a split, out of shards.json alone."""
        entries, made = self.entries(split), layout.layout_of(self.dtype)
        text = "".join(f"{entry.sha256}\n" for entry in entries)
        size = sum(layout.records_of(e.tokens) * made.stride for e in entries)
        return {"size": size, "sha256": hashlib.sha256(text.encode()).hexdigest()}


def finish(
    folder, splits: Mapping[str, Iterable[Mapping[str, Any]]], tokenizer: Tokenizer
) -> None:
    """Makes a folder of shards that `read` reads: writes tokenizer/ and shards.json.

    Args:
      folder: with the files of `write`.
      splits: the entries of each split in order, as `write` gave them. A split without
        entries is left out.
      tokenizer: made the token ids.

    Raises:
      ValueError: no split has an entry, an entry is wrong, or a file is missing.
      FileError: the system cannot write.
    """
    folder = pathlib.Path(folder)
    place, around_ids = folder / "tokenizer", around(tokenizer)
    with files.system_errors(folder):
        for left in folder.glob(".*.new"):  # of a process that was killed
            left.unlink()
        tokenizer.save(str(place))
        files.flush(place)
        config = (place / tokenizers.CONFIG_FILE).read_bytes()
    told = TokenizerEntry(
        sha256=digest_of(tokenizer),
        config_sha256=hashlib.sha256(config).hexdigest(),
        vocab_size=tokenizer.vocab_size,
        first=tuple(around_ids.first),
        start=tuple(around_ids.start),
        end=around_ids.end,
    )
    value: dict[str, Any] = {
        "version": _VERSION,
        "record": layout.RECORD,
        "dtype": layout.dtype_for(tokenizer.vocab_size),
        "tokenizer": dataclasses.asdict(told),
        "splits": {
            split: [dict(entry) for entry in given]
            for split, given in ((s, list(e)) for s, e in splits.items())
            if given
        },
    }
    value = json.loads(json.dumps(value))
    value["sha256"] = _digest(value)
    new = folder / f".{INDEX}.{os.getpid()}.new"
    _parsed(folder, value)
    files.write_json(new, value)
    files.flush_one(new)
    new.replace(folder / INDEX)
    files.flush_one(folder)


def read(folder, sizes: bool = True) -> Shards:
    """Checks shards.json, the tokenizer, and the size of each file; reads no data.

    Args:
      folder: that `finish` made.
      sizes: False lets shards pass that have another size; their missing records are
        then damaged ones.

    Raises:
      ValueError: shards.json is missing or damaged, or a file is missing or has another
        size; the message names the file.
    """
    folder = pathlib.Path(folder)
    path = folder / INDEX
    if not path.is_file():
        raise ValueError(
            f"{path}: there is no such file; the folder is no folder of shards, or its "
            "preparation has not ended."
        )
    value = files.read_json(path, largest=_LARGEST)
    found = value.pop("sha256", None)
    if found != _digest(value):
        raise ValueError(f"{path}: its checksum is wrong; the file is damaged.")
    return _parsed(folder, value, sizes)


def digest_of(tokenizer: Tokenizer) -> str:
    """The SHA-256 of the tokenizer.json."""
    return hashlib.sha256(tokenizer.json.encode()).hexdigest()


def _parsed(folder: pathlib.Path, value: dict[str, Any], sizes=True) -> Shards:
    """The Shards of shards.json; checks each field, and the files that it names."""
    path = folder / INDEX
    try:
        if (value["version"], value["record"]) != (_VERSION, layout.RECORD):
            raise ValueError(
                f"version {value['version']} with records of {value['record']} tokens; "
                f"version {_VERSION} with {layout.RECORD} allowed."
            )
        one_of("dtype", value["dtype"], layout.DTYPES)
        told = from_fields(TokenizerEntry, value["tokenizer"], "tokenizer")
        splits = {
            split: tuple(
                from_fields(Entry, entry, f"splits.{split}[{i}]")
                for i, entry in enumerate(entries)
            )
            for split, entries in value["splits"].items()
        }
        if not splits or not all(splits.values()):
            raise ValueError("splits: there is no shard.")
    except KeyError as error:
        raise ValueError(f"{path}: has no field {error}.") from None
    except (AttributeError, TypeError) as error:
        raise ValueError(f"{path}: a field has another type: {error}.") from None
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    made = layout.layout_of(value["dtype"])
    for entries in splits.values():
        for entry in entries:
            file = folder / entry.file
            size = layout.records_of(entry.tokens) * made.stride
            _check_size(file, size if sizes else None)
            _check_size(writer.documents_path(file))
            _check_size(writer.records_path(file))
    for name, expected in (
        (tokenizers.TOKENIZER_FILE, told.sha256),
        (tokenizers.CONFIG_FILE, told.config_sha256),
    ):
        file = folder / "tokenizer" / name
        _check_size(file)
        with files.system_errors(file):
            if hashlib.sha256(file.read_bytes()).hexdigest() != expected:
                raise ValueError(f"{file}: its checksum is wrong; the file is damaged.")
    return Shards(
        folder=folder,
        dtype=value["dtype"],
        tokenizer_sha256=told.sha256,
        vocab_size=told.vocab_size,
        around=Around(list(told.first), list(told.start), told.end),
        splits=splits,
    )


def _check_size(path: pathlib.Path, expected: int | None = None) -> None:
    """Refuses a file that is missing, no regular file, or of another size."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        raise ValueError(
            f"{path}: there is no such file; shards.json names it."
        ) from None
    except OSError as error:
        raise files.FileError(f"{path}: {error.strerror or error}.") from None
    if not stat.S_ISREG(found.st_mode):
        raise ValueError(f"{path}: is not a regular file.")
    if expected is not None and found.st_size != expected:
        raise ValueError(
            f"{path}: {found.st_size} bytes, {expected} expected; the file is damaged "
            f"from byte {min(found.st_size, expected)} on."
        )


def _digest(value: dict[str, Any]) -> str:
    """The SHA-256 of the content of shards.json, whatever its spaces."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
