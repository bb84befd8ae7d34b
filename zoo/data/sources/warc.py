"""Web archives (WARC and WET) as examples, a page an example.

The package `warcio` reads the records, each of which is compressed on its own in a
.warc.gz. A page is the body of an answer of HTTP with status 200, or a record of the
types `conversion` (the text files of Common Crawl) and `resource`. What is no text,
such as an image, is left out.
"""

import codecs
import re
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO

from zoo.data import compressed
from zoo.data.compressed import shown
from zoo.data.sources.examples import Example, Numbered

_TYPES = ("response", "conversion", "resource")
_TEXT = re.compile(r"text/|application/(xhtml\+xml|xml|json|[\w.-]+\+(xml|json))\b")
_CHARSET = re.compile(rb"charset\s*=\s*[\"']?\s*([\w.:-]+)", re.IGNORECASE)
_MARKS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
# What browsers read under these names: encoding.spec.whatwg.org.
_WIDER = {
    "iso8859-1": "cp1252",
    "ascii": "cp1252",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "shift_jis": "cp932",
    "euc_kr": "cp949",
    "iso8859-9": "cp1254",
}
# Python's codecs that are charsets of pages; others, such as utf-7 and hex, are not.
_KNOWN = re.compile(
    "utf-8|utf-16|iso|cp|koi8|gb|big5|euc|shift_jis|mac|tis|ascii|johab"
)
_SINGLE = re.compile("iso8859|cp125|cp8[0-7]|koi8|mac|tis")
_HEAD = 1024  # bytes at the start of a page that may name its charset
_LONGEST = 2**28  # bytes of a page


def rows(path: str, field: str = "") -> Iterator[Numbered]:
    """Yields {"text", "url", "date", "content_type"} of each page.

    Args:
      path: of a .warc, .warc.gz, .warc.wet.gz, ... file.
      field: unused.

    Yields:
      The file, the byte where the record starts (of the unpacked file) and its address,
      and the page; or the error about a page whose body is damaged, or in none of the
      charsets that it may have: of its byte order mark, its header, its own text, or
      UTF-8.

    Raises:
      ValueError: `warcio` is not installed; or the file is missing, damaged, cut off,
        or no WARC.
    """
    del field
    try:
        from warcio.archiveiterator import ArchiveIterator
    except ImportError:
        raise ValueError(
            f"{shown(path)}: a WARC needs the package warcio: pip install warcio."
        ) from None
    with compressed.opened(path) as opened:
        stream = _Stream(opened)
        records = ArchiveIterator(stream)
        where = shown(path)
        while True:
            page: Example | ValueError | None
            try:
                record = next(records, None)
                if record is None:
                    stream.check_end()
                    break
                where = f"{shown(path)}, offset {records.offset}"
                if url := record.rec_headers.get_header("WARC-Target-URI"):
                    where += f", {shown(url)}"
                try:
                    page = _page(record)
                except (ValueError, zlib.error) as error:
                    page = ValueError(f"{where}: {error}.")
                _check_end(record, records)
            except Exception as error:  # of warcio, of a decompressor, of a store
                reason = (str(error).strip() or type(error).__name__).splitlines()[0]
                raise ValueError(
                    f"{where}: no WARC file, or a damaged one ({shown(reason)})."
                ) from error
            if page is not None:
                yield where, page
    if where == shown(path):
        raise ValueError(f"{where}: the file has no record.")


class _Stream:
    """What warcio reads of a file. warcio takes one that is cut off for one that ends.

    Args:
      file: the unpacked file.
    """

    def __init__(self, file: BinaryIO):
        self._file, self._read, self._end = file, 0, b""

    def read(self, size: int) -> bytes:
        """The next bytes; for a cut-off file no EOFError, which warcio would hide."""
        try:
            data = self._file.read(size)
        except EOFError as error:
            raise OSError(str(error)) from None
        self._read += len(data)
        self._end = (self._end + data)[-4:]
        return data

    def tell(self) -> int:
        """How many bytes were read."""
        return self._read

    def check_end(self) -> None:
        """Refuses a file whose last record has no end: a blank line and another."""
        if self._read and not self._end.endswith((b"\r\n\r\n", b"\n\n")):
            raise ValueError("the last record is cut off")


def _page(record: Any) -> Example | None:
    """The page of a record; None where the record is no page or no text."""
    if record.rec_type not in _TYPES:
        return None
    kind = record.content_type or ""
    if record.rec_type == "response":
        http = record.http_headers
        if http is None or http.get_statuscode() != "200":
            return None
        kind = http.get_header("Content-Type") or "text/html"
    if not _TEXT.match(kind.strip().lower()):
        return None
    headers = record.rec_headers
    return {
        "text": _decode(_body(record), kind),
        "url": headers.get_header("WARC-Target-URI") or "",
        "date": headers.get_header("WARC-Date") or "",
        "content_type": kind,
    }


def _check_end(record: Any, records: Any) -> None:
    """Reads the rest of a record; refuses a length that is not what it says."""
    while record.raw_stream.read(2**16):
        pass
    if getattr(record.raw_stream, "limit", 0):
        raise ValueError("a record is cut off")
    if records.err_count:
        raise ValueError("a record is longer than its Content-Length")


def _body(record: Any) -> bytes:
    """The bytes of a page, without the encodings of their transfer."""
    from warcio.bufferedreaders import ChunkedDataReader

    http, stream = record.http_headers, record.raw_stream
    encoding = ""
    if http is not None:
        if (http.get_header("Transfer-Encoding") or "").lower() == "chunked":
            stream = ChunkedDataReader(stream)  # which also reads what is not chunked
        encoding = (http.get_header("Content-Encoding") or "").strip().lower()
    data = stream.read(_LONGEST + 1)
    if len(data) > _LONGEST:
        raise ValueError(f"longer than {_LONGEST // 2**20} MiB")
    # Crawlers unpack some bodies and keep the header that says how they were packed.
    if encoding in ("gzip", "x-gzip") and data.startswith(b"\x1f\x8b"):
        return _unpacked(data, 16 + zlib.MAX_WBITS)
    if encoding == "deflate" and data:
        raw = data[0] & 15 != 8 or int.from_bytes(data[:2]) % 31 != 0  # no zlib header
        return _unpacked(data, -zlib.MAX_WBITS if raw else zlib.MAX_WBITS)
    if encoding in ("br", "zstd"):
        raise ValueError(f"content-encoding {encoding!r}, gzip and deflate are read")
    return data


def _unpacked(data: bytes, window: int) -> bytes:
    """A body without its compression; refuses one that is cut off or too long."""
    unpacker = zlib.decompressobj(window)
    unpacked = unpacker.decompress(data, _LONGEST)
    if unpacker.unconsumed_tail:
        raise ValueError(f"longer than {_LONGEST // 2**20} MiB")
    if not unpacker.eof:
        raise ValueError("the compressed body is cut off")
    return unpacked


def _decode(data: bytes, kind: str) -> str:
    """The text of a page, by the first of its charsets that fits every byte.

    UTF-8 comes before charsets of one byte a character, which fit nearly any bytes.
    """
    names = [name for mark, name in _MARKS.items() if data.startswith(mark)]
    names += map(_codec, _charsets(kind.encode("utf-8", "replace")))
    # A page that one can read byte by byte, to find the name, is not UTF-16.
    found = map(_codec, _charsets(data[:_HEAD]))
    names += ["utf-8" if name.startswith("utf-16") else name for name in found]
    tried = sorted(dict.fromkeys([*filter(None, names), "utf-8"]), key=_is_single)
    for name in tried:
        try:
            return data.decode(name).removeprefix(compressed.BYTE_ORDER_MARK)
        except UnicodeDecodeError:
            continue
    raise ValueError(f"not text in {' or '.join(tried)}")


def _charsets(data: bytes) -> list[str]:
    """The charsets that a header or the start of a page names."""
    return [name.decode("ascii", "replace") for name in _CHARSET.findall(data)]


def _is_single(codec: str) -> bool:
    """Whether a codec has one byte a character."""
    return bool(_SINGLE.match(codec))


def _codec(charset: str) -> str:
    """The codec that reads a charset as browsers do; "" if there is none."""
    try:
        name = codecs.lookup(charset).name
    except (LookupError, ValueError):
        return ""
    return _WIDER.get(name, name) if _KNOWN.match(name) else ""
