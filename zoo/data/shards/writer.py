"""Writes one shard: its tokens, the starts of its documents, and its checksums."""

import hashlib
import io
import pathlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import google_crc32c
import numpy as np

from zoo import files
from zoo.data.document_tokens import around
from zoo.data.shards import layout
from zoo.data.shards.layout import RECORD, Layout
from zoo.text.tokenizer import Tokenizer

_RECORDS = 64  # written at a time, a bound on memory


def write(
    folder,
    name: str,
    documents: Iterable[Sequence[int] | np.ndarray],
    tokenizer: Tokenizer,
    size: int = 0,
) -> dict[str, Any]:
    """Writes one shard; equal documents give equal bytes.

    Three files appear, each by one rename, the tokens last. A shard of the same name is
    replaced, so a process that was killed writes its shard again.

    Args:
      folder: of the shards; made where it does not exist.
      name: of the shard, such as "train-00000".
      documents: the token ids of each document, without tokens around it.
      tokenizer: made the token ids.
      size: UTF-8 bytes of the documents' texts. A caller that knows them later sets
        "bytes" of the result.

    Returns:
      The entry of the shard for `finish`: file, tokens, documents, bytes, sha256,
      documents_crc32c, records_crc32c.

    Raises:
      ValueError: there is no document, or a token id is not the tokenizer's.
      FileError: the system cannot write.
    """
    folder = pathlib.Path(folder)
    with files.system_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    made = layout.layout_of(layout.dtype_for(tokenizer.vocab_size))
    starts, crcs, count = [0], [], 0
    digest, path = hashlib.sha256(), folder / f"{name}.tfrecord"
    with files.staged_file(path, replace=True) as new, open(new, "wb") as file:
        parts, held, done = [], 0, 0
        for tokens in _framed(documents, tokenizer):
            many = sum(map(len, tokens))
            starts.append(starts[-1] + many)
            parts += tokens
            held += many
            if held >= _RECORDS * RECORD:
                joined = _joined(parts, done, tokenizer, path)
                whole = held // RECORD * RECORD
                _put(file, joined[:whole], made, crcs, digest)
                parts, held = [joined[whole:]], held - whole
                done = len(starts) - 1
        if len(starts) == 1:
            raise ValueError(f"{path}: there is no document to write.")
        if held:
            _put(file, _joined(parts, done, tokenizer, path), made, crcs, digest)
        count = starts.pop()
        sums = {
            "documents_crc32c": _save(documents_path(path), np.array(starts, "<i8")),
            "records_crc32c": _save(records_path(path), np.array(crcs, "<u4")),
        }
    return {
        "file": path.name,
        "tokens": count,
        "documents": len(starts),
        "bytes": size,
        "sha256": digest.hexdigest(),
        **sums,
    }


def documents_path(path: pathlib.Path) -> pathlib.Path:
    """The file with the place of each document's first token, int64 [documents]."""
    return path.with_name(f"{path.stem}.documents.npy")


def records_path(path: pathlib.Path) -> pathlib.Path:
    """The file with the CRC32C of each whole record, uint32 [records].

    A record of another place or shard has a right checksum of its own, but not this.
    """
    return path.with_name(f"{path.stem}.crc32c.npy")


def _framed(documents, tokenizer) -> Iterator[tuple[np.ndarray, ...]]:
    """The tokens before each document, its own, and the end token."""
    _, start, end = around(tokenizer)
    first, last = np.array(start, np.int64), np.array([end], np.int64)
    for ids in documents:
        own = ids if isinstance(ids, np.ndarray) else np.array(ids, np.int64)
        yield first, own, last


def _joined(parts: Sequence[np.ndarray], done: int, tokenizer, path) -> np.ndarray:
    """The tokens of some documents, each of them checked, int64.

    Args:
      parts: three of each document, as `_framed` gives them; before them perhaps one
        of tokens that were checked.
      done: the number of the first document.
      tokenizer: made the token ids.
      path: for the message.
    """
    joined = np.concatenate(parts, dtype=np.int64)
    size = tokenizer.vocab_size
    if not 0 <= joined.min() <= joined.max() < size:
        for number, tokens in enumerate(parts[len(parts) % 3 + 1 :: 3], done):
            wrong = tokens[(tokens < 0) | (tokens >= size)]
            if len(wrong):
                raise ValueError(
                    f"{path}: document {number} has the token id {wrong[0]}, 0 to "
                    f"{size - 1} allowed."
                )
    return joined


def _put(file, tokens: np.ndarray, made: Layout, crcs: list[int], digest) -> None:
    """Writes tokens as records, the last one filled up with 0."""
    block = np.zeros(layout.records_of(len(tokens)), made.record)
    flat = np.zeros(len(block) * RECORD, np.int64)
    flat[: len(tokens)] = tokens
    block["tokens"] = flat.reshape(-1, RECORD)
    block["length"], block["length_crc"] = np.frombuffer(made.head, "<u8,<u4")[0]
    rows = [google_crc32c.value(row.tobytes()) for row in block["tokens"]]
    block["crc"] = [layout.masked(crc) for crc in rows]
    crcs += [google_crc32c.value(record.tobytes()) for record in block]
    data = block.tobytes()
    digest.update(data)
    file.write(data)


def _save(path: pathlib.Path, values: np.ndarray) -> int:
    """Writes an array as a .npy file; returns the CRC32C of the file."""
    data = io.BytesIO()
    np.save(data, values)
    with files.staged_file(path, replace=True) as new, open(new, "wb") as file:
        file.write(data.getvalue())
    return google_crc32c.value(data.getvalue())
