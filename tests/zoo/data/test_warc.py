"""Web archives, as the writer of warcio makes them."""

import gzip
import io
import sys
import zlib

import pytest

from zoo.data import sources

warcwriter = pytest.importorskip("warcio.warcwriter")
statusandheaders = pytest.importorskip("warcio.statusandheaders")

HTML = "text/html"
# warcio's writer leaves its buffers to the garbage collector.
pytestmark = pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)
PACKED = gzip.compress("<p>packed</p>".encode() * 9)
PAGES = [  # body, content type, other headers, and the text or the message
    ("<p>grüß</p>".encode(), f"{HTML}; charset=utf-8", {}, "<p>grüß</p>"),
    ("grüß €".encode("cp1252"), f"{HTML}; charset=ISO-8859-1", {}, "grüß €"),
    ("grüß".encode(), f"{HTML};charset=latin1", {}, "grüß"),
    ("日本語".encode("cp932"), f"{HTML}; charset='Shift_JIS'", {}, "日本語"),
    (
        '<meta charset="gb2312">中文'.encode("gbk"),
        HTML,
        {},
        '<meta charset="gb2312">中文',
    ),
    ("é".encode("utf-16"), HTML, {}, "é"),
    (b"414243", f"{HTML}; charset=hex", {}, "414243"),
    (b"gr\xfc", HTML, {}, ValueError("not text in utf-8.")),
    (PACKED, HTML, {"Content-Encoding": "gzip"}, "<p>packed</p>" * 9),
    (PACKED[:-12], HTML, {"Content-Encoding": "gzip"}, ValueError("cut off.")),
    (zlib.compress(b"deflated"), HTML, {"Content-Encoding": "deflate"}, "deflated"),
    (b"was gzip", HTML, {"Content-Encoding": "gzip"}, "was gzip"),
    (b"\x0b", HTML, {"Content-Encoding": "br"}, ValueError("'br', gzip and deflate")),
    (b"2\r\nab\r\n1\r\nc\r\n0\r\n\r\n", HTML, {"Transfer-Encoding": "chunked"}, "abc"),
    (b'{"a": 1}', "application/ld+json", {}, '{"a": 1}'),
    (b"", HTML, {}, ""),
]


def archive(gzipped):
    """A file with all pages, and with records that are no pages."""
    file = io.BytesIO()
    writer = warcwriter.WARCWriter(file, gzip=gzipped)
    writer.write_record(writer.create_warcinfo_record("a.warc", {"software": "x"}))

    def write(url, body, kind="response", status="200 OK", **headers):
        http = None
        if kind == "response":
            http = statusandheaders.StatusAndHeaders(
                status, list(headers.items()), protocol="HTTP/1.1"
            )
        writer.write_record(
            writer.create_warc_record(
                url,
                kind,
                io.BytesIO(body),
                http_headers=http,
                warc_content_type="text/plain" if kind == "conversion" else "",
            )
        )

    write("http://a/request", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "request")
    write("http://a/image", b"\x89PNG", **{"Content-Type": "image/png"})
    write("http://a/gone", b"gone", status="404 Not Found")
    for i, (body, kind, headers, _) in enumerate(PAGES):
        write(f"http://a/{i}", body, **{"Content-Type": kind}, **headers)
    write("http://a/wet", "texte é".encode(), "conversion")
    return file.getvalue()


def read(path, data):
    path.write_bytes(data)
    (part,) = sources.parts(f"warc:{path}")
    return list(sources.texts(part))


@pytest.mark.parametrize("name", ["a.warc", "a.warc.gz"])
def test_pages_are_text_by_their_charset(tmp_path, name):
    found = read(tmp_path / name, archive(gzipped=name.endswith(".gz")))
    expected = [text for *_, text in PAGES] + ["texte é"]
    assert len(found) == len(expected)
    for i, ((place, text), wanted) in enumerate(zip(found, expected, strict=True)):
        assert place.startswith(f"{tmp_path}/{name}, offset ")
        assert place.endswith(
            ", http://a/wet" if i == len(PAGES) else f", http://a/{i}"
        )
        if isinstance(wanted, str):
            assert text == wanted
        else:
            assert str(text).startswith(place) and str(wanted) in str(text)
    rows = list(sources.numbered(f"warc:{tmp_path}/{name}"))
    assert rows[0][1] == {
        "text": "<p>grüß</p>",
        "url": "http://a/0",
        "date": rows[0][1]["date"],
        "content_type": "text/html; charset=utf-8",
    }


@pytest.mark.parametrize("gzipped", [False, True])
def test_every_cut_is_seen(tmp_path, gzipped):
    data = archive(gzipped)
    name = "a.warc.gz" if gzipped else "a.warc"
    for end in range(1, len(data) - 1, len(data) // 40):
        if data[:end].endswith(b"\r\n\r\n") or data[end:].startswith(b"\x1f\x8b\x08"):
            continue  # a file of fewer records is whole
        with pytest.raises(ValueError, match=r"a\.warc"):
            read(tmp_path / name, data[:end])


@pytest.mark.parametrize(
    "name, data, message",
    [
        ("a.warc", b"", "the file has no record"),
        ("a.warc", b"hello\n\n", "no WARC file, or a damaged one (Unknown archive"),
        ("a.warc.gz", b"hello", "the ending .gz, no gzip file"),
        (
            "a.warc.gz",
            gzip.compress(b"x" * 99, mtime=0),
            "no WARC file, or a damaged one",
        ),
    ],
)
def test_what_is_no_archive_is_refused(tmp_path, name, data, message):
    with pytest.raises(ValueError) as error:
        read(tmp_path / name, data)
    assert str(error.value).startswith(str(tmp_path / name))
    assert message in str(error.value)


def test_without_its_package_the_message_names_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "warcio.archiveiterator", None)
    with pytest.raises(ValueError, match="needs the package warcio: pip install"):
        read(tmp_path / "a.warc", b"")
