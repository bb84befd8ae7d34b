"""JSON lines and JSON arrays, and what bad ones say."""

import gzip
import json

import pytest
from source_texts import ROW, read

from zoo.data import sources

LINES = b"".join(
    json.dumps({"text": f"line {i * i}"}).encode() + b"\n" for i in range(3000)
)


@pytest.mark.parametrize(
    "data, good, message",
    [
        ('{"text": "ü"}\n'.encode("utf-16"), 0, "line 1: byte 0 (0xff) is not UTF-8"),
        (gzip.compress(LINES, mtime=0), 0, "This looks like a gzip file (.gz)"),
        (b"\0\0\n" + ROW, 1, "line 1: not JSON"),
        (
            b'{"m": [{"c": "\\udc00"}], "text": "a"}\n',
            0,
            "line 1: field 'm' holds half",
        ),
        (b'{"text": "\\ud83d\\ude00"}\r\n[]\r\n', 1, "line 2: a list, expected"),
        (b'{"text": "' + b"x" * 10_000_000 + b'"}\n{}\n' + ROW, 2, "line 2: no field"),
    ],
)
def test_bad_lines_are_named_and_the_others_read(tmp_path, data, good, message):
    (tmp_path / "a.jsonl").write_bytes(data)
    texts, bad = read(f"jsonl:{tmp_path}/a.jsonl")
    assert len(texts) == good and message in bad[0]


@pytest.mark.parametrize(
    "data, good, message",
    [
        (b'[{"text": "a"}, {"text": "b"}]', 2, ""),
        (b'\xef\xbb\xbf[\n  {"text": "a"},\n  {"text": "b"}\n]\n', 2, ""),
        (b'{\n  "text": "a"\n}\n{\n  "text": "b"\n}\n', 2, ""),
        (b"[]", 0, ""),
        (b'[5, {"text": "\\ud83d"}, {"text": "b"}]', 1, "item 1: a int, expected"),
        (b'[{"text": "a"}, {"text": }]', 1, "item 2: not JSON"),
        (b'[{"text": "a"} {"text": "b"}]', 1, "item 1: neither a comma nor ]"),
        (b'[{"text": "a"}', 1, "item 1: neither a comma nor ]"),
        (b'[{"text": "a"}]\n{"text": "b"}', 1, "a.json: more text follows the array"),
        (b"[" * 100_000, 0, "item 1: not JSON"),
    ],
)
def test_an_array_is_read_like_lines(tmp_path, data, good, message):
    """As the data of Alpaca and ShareGPT are published."""
    (tmp_path / "a.json").write_bytes(data)
    texts, bad = [], []
    try:
        for _, found in sources.texts(*sources.parts(f"jsonl:{tmp_path}/a.json")):
            (texts if isinstance(found, str) else bad).append(found)
    except ValueError as error:
        bad.append(error)
    assert len(texts) == good and message in str((bad or [""])[0])
    assert bool(bad) is bool(message)


def test_a_file_without_line_ends_does_not_fill_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr("zoo.data.compressed.LONGEST_LINE", 2**20)
    with gzip.open(tmp_path / "a.jsonl.gz", "wb") as file:
        file.write(ROW + b"\0" * 2**22)
    with pytest.raises(ValueError, match=r"a\.jsonl\.gz, line 2: longer than 1 MiB"):
        read(f"jsonl:{tmp_path}/a.jsonl.gz")
