"""Reads the files of a source, plain or compressed, as bytes, lines or text.

The ending decides: .gz, .bz2, .xz, .zst, and .zip, whose members are read one by one.
Nothing is unpacked to the disk, so the names in an archive never become paths.
"""

import bz2
import codecs
import contextlib
import functools
import gzip
import io
import lzma
import os
import re
import zipfile
from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple, cast

from zoo.data import storage
from zoo.data.storage import find, shown

__all__ = [
    "BYTE_ORDER_MARK",
    "LONGEST_LINE",
    "File",
    "decode",
    "files_in",
    "find",
    "is_path",
    "opened",
    "shown",
    "text",
]

BYTE_ORDER_MARK = "\ufeff"
LONGEST_LINE = 2**28  # bytes; a file without line ends must not fill the memory
_BUFFER = 2**18
# What each ending promises: its name, and the first bytes of such a file.
_STARTS = {
    ".gz": ("gzip", b"\x1f\x8b"),
    ".bz2": ("bzip2", b"BZh"),
    ".xz": ("xz", b"\xfd7zXZ\x00"),
    ".zst": ("Zstandard", b"\x28\xb5\x2f\xfd"),
    ".zip": ("zip", b"PK"),
    ".parquet": ("Parquet", b"PAR1"),
}
_TAR = re.compile(r"\.(tar(\.\w+)?|tgz|tbz2?|txz)", re.IGNORECASE)
_SKIPPABLE = re.compile(rb"[\x50-\x5f]\x2a\x4d\x18")  # a frame of zstd without data


class File(NamedTuple):
    """A file, or a member of a zip, that is open for reading.

    Attributes:
      name: for messages; of a member "a.zip, member b.txt".
      stream: its bytes, decompressed.
    """

    name: str
    stream: BinaryIO

    def read(self) -> bytes:
        """All bytes of the file.

        Raises:
          ValueError: the file is empty, or its compression is damaged.
        """
        try:
            data = self.stream.read()
        except Exception as error:  # of a decompressor, a zip, a store
            raise _problem(self.name, error) from error
        if not data:
            raise ValueError(f"{self.name}: the file is empty.")
        return data

    def lines(self) -> Iterator[bytes]:
        """The lines, split at newlines only, each with its newline.

        Raises:
          ValueError: the file is empty, its compression is damaged, or a line has more
            than 256 MiB. The message says behind which line.
        """
        number = 0
        read = functools.partial(self.stream.readline, LONGEST_LINE)
        try:
            for number, line in enumerate(iter(read, b""), 1):
                if len(line) == LONGEST_LINE:
                    most = LONGEST_LINE // 2**20
                    raise ValueError(
                        f"{self.name}, line {number}: longer than {most} MiB."
                    )
                yield line
        except Exception as error:  # of a decompressor, a zip, a store
            raise _problem(self.name, error, number) from error
        if not number:
            raise ValueError(f"{self.name}: the file is empty.")


def files_in(path: str) -> Iterator[File]:
    """The file of a path, or the members of a zip, in the order of the archive.

    Each is open until the next one is asked for.

    Raises:
      ValueError: the file is missing, or is not what its ending promises. A member
        that is damaged or encrypted raises when it is read.
    """
    if _ending(path) != ".zip":
        with opened(path) as stream:
            yield File(shown(path), stream)
        return
    with storage.open_bytes(path) as raw:
        _check_start(path, raw)
        try:
            archive = zipfile.ZipFile(raw)
        except Exception as error:
            raise _problem(shown(path), error) from error
        for info in archive.infolist():
            # A Mac adds a member of this folder, which is no text, for each file.
            hidden = info.filename.startswith("__MACOSX/")
            hidden |= os.path.basename(info.filename).startswith(".")
            if not info.is_dir() and not hidden:
                yield from _member(archive, info, shown(path))


@contextlib.contextmanager
def opened(path: str) -> Iterator[BinaryIO]:
    """A file that is open for reading, decompressed by its ending (not .zip).

    Raises:
      ValueError: the file is missing, or is not what its ending promises.
    """
    with storage.open_bytes(path) as raw:
        _check_start(path, raw)
        with _decompressed(_ending(path), raw) as stream:
            yield stream


def text(path: str) -> str:
    """The text of one UTF-8 file, decompressed by its ending.

    Raises:
      ValueError: the file is missing, empty or a zip, its compression is damaged, or a
        byte is not UTF-8.
    """
    if _ending(path) == ".zip":
        raise ValueError(f"{shown(path)}: a zip, where one file is needed.")
    with opened(path) as stream:
        return decode(File(shown(path), stream).read(), shown(path))


def is_path(spec: str) -> bool:
    """Whether a spec without the name of a source looks like a file or a folder."""
    kind = spec.partition(":")[0]
    return "/" in kind or "." in kind or os.path.exists(spec)


def decode(data: bytes, where: str) -> str:
    """UTF-8 bytes as text, without the byte order mark that some programs write.

    Args:
      data: of a file, a line or a field.
      where: what the message calls it.

    Raises:
      ValueError: a byte is not UTF-8; the message names its place and value.
    """
    try:
        return data.decode("utf-8").removeprefix(BYTE_ORDER_MARK)
    except UnicodeDecodeError as error:
        byte = f"byte {error.start} (0x{data[error.start]:02x})"
        hint = ""
        if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            hint = " This looks like UTF-16; save it as UTF-8."
        for ending, (name, start) in _STARTS.items():
            if data.startswith(start):
                hint = f" This looks like a {name} file ({ending})."
        raise ValueError(f"{where}: {byte} is not UTF-8.{hint}") from None


def _ending(path: str) -> str:
    return os.path.splitext(path)[1].lower()


def _decompressed(ending: str, raw: BinaryIO) -> BinaryIO:
    """A stream of the decompressed bytes of another stream."""
    if ending == ".gz":
        unpacked: Any = gzip.GzipFile(fileobj=raw)
    elif ending == ".bz2":
        unpacked = bz2.BZ2File(raw)
    elif ending == ".xz":
        unpacked = lzma.LZMAFile(raw)
    elif ending == ".zst":
        import pyarrow

        unpacked = pyarrow.CompressedInputStream(raw, "zstd")
    else:
        return raw
    # The buffer finds line ends far faster than the decompressors' own readers.
    return cast(BinaryIO, io.BufferedReader(unpacked, _BUFFER))


def _check_start(path: str, raw: BinaryIO) -> None:
    """Refuses a file whose first bytes are not those that its ending promises."""
    ending = _ending(path)
    if any(_TAR.fullmatch(path, i) for i, c in enumerate(path) if c == "."):
        raise ValueError(f"{shown(path)}: a tar archive; unpack it and name its files.")
    if ending not in _STARTS:
        return
    name, start = _STARTS[ending]
    first = raw.read(8)
    raw.seek(0)
    if not first:
        raise ValueError(f"{shown(path)}: the file is empty.")
    if first.startswith(start) or ending == ".zst" and _SKIPPABLE.match(first):
        return
    others = [f", but {n}" for n, s in _STARTS.values() if first.startswith(s)]
    found = (others or [f": it starts with {first!r}"])[0]
    raise ValueError(f"{shown(path)}: the ending {ending}, no {name} file{found}.")


def _member(
    archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str
) -> Iterator[File]:
    """One member of a zip, decompressed by its own ending too."""
    ending = _ending(info.filename)
    name = f"{name}, member {shown(info.filename)}"
    if ending == ".zip":
        raise ValueError(f"{name}: a zip in a zip is not read.")
    if info.flag_bits & 1:
        raise ValueError(f"{name}: is encrypted.")
    try:
        raw = archive.open(info)
    except Exception as error:
        raise _problem(name, error) from error
    with raw, _decompressed(ending, cast(BinaryIO, raw)) as stream:
        yield File(name, stream)


def _problem(name: str, error: Exception, line: int = 0) -> ValueError:
    """What a reader raised, as one message with the name of the file.

    Args:
      line: the last line that was read; 0 if none was.
    """
    if isinstance(error, ValueError) and str(error).startswith(name):
        return error
    where = f"{name}, after line {line}" if line else name
    if isinstance(error, OSError) and error.errno:  # of the system
        return ValueError(f"{where}: {error.strerror or error}.")
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    return ValueError(f"{where}: damaged compressed file ({shown(reason)}).")
