"""Compressed files and archives, and what stands in the place of a file."""

import bz2
import gzip
import json
import lzma

import pytest
from source_texts import ROW, read, zipped, zstd

from zoo.data import sources

LINES = b"".join(
    json.dumps({"text": f"line {i * i}"}).encode() + b"\n" for i in range(3000)
)
HEAD, TAIL = LINES[: LINES.index(b"\n") + 1], LINES[LINES.index(b"\n") + 1 :]


@pytest.mark.parametrize(
    "name, data",
    [
        ("a.jsonl", LINES),
        (
            "a.jsonl.gz",
            gzip.compress(LINES[:1000], mtime=0) + gzip.compress(LINES[1000:], mtime=0),
        ),
        ("a.JSONL.GZ", gzip.compress(LINES, mtime=0) + b"\0" * 512),
        ("a.jsonl.bz2", bz2.compress(LINES)),
        ("a.jsonl.xz", lzma.compress(LINES)),
        ("a.jsonl.zst", zstd(LINES)),
        (
            "a.zip",
            zipped({"x/y.jsonl": HEAD, "z.jsonl.gz": gzip.compress(TAIL, mtime=0)}),
        ),
    ],
)
def test_the_ending_says_how_a_file_is_packed(tmp_path, name, data):
    (tmp_path / name).write_bytes(data)
    texts, bad = read(f"jsonl:{tmp_path}/{name}")
    assert texts == [json.loads(line)["text"] for line in LINES.splitlines()]
    assert not bad


@pytest.mark.parametrize(
    "name, data, message",
    [
        ("a.jsonl.gz", gzip.compress(LINES, mtime=0)[:-3000], ", after line 2"),
        (
            "a.jsonl.gz",
            gzip.compress(LINES, mtime=0) + b"rest",
            "damaged compressed file",
        ),
        ("a.jsonl.xz", lzma.compress(LINES)[:-99], "damaged compressed file"),
        ("a.jsonl.zst", zstd(LINES)[:-3000], "damaged compressed file (Truncated"),
        ("a.zip", zipped({"a": LINES})[:-9], "a.zip: damaged compressed file"),
        ("a.zip", zipped({"in.zip": ROW}), "member in.zip: a zip in a zip is not read"),
        ("a.gz", ROW, "a.gz: the ending .gz, no gzip file: it starts with b'{\"te"),
        ("a.gz", zstd(ROW), "the ending .gz, no gzip file, but Zstandard"),
        ("a.xz", ROW, "no xz file"),
        ("a.zst", ROW, "no Zstandard file"),
        ("a.zip", ROW, "no zip file"),
        ("a.bz2", ROW, "no bzip2 file"),
        ("a.gz", b"", "a.gz: the file is empty"),
        ("a.gz", gzip.compress(b"", mtime=0), "a.gz: the file is empty"),
    ],
)
def test_damaged_files_are_named(tmp_path, monkeypatch, name, data, message):
    monkeypatch.setattr("zoo.data.compressed._BUFFER", 4096)
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ValueError) as error:
        read(f"jsonl:{tmp_path}/{name}")
    assert str(error.value).startswith(f"{tmp_path}/{name}")
    assert message in str(error.value)
    # a text is a file, so a damaged file is one bad row
    if not name.endswith(".zip") and len(data) > 30:
        assert len(read(f"text:{tmp_path}/{name}")[1]) == 1


@pytest.mark.parametrize("kind", ["text", "jsonl", "parquet"])
def test_what_stands_in_the_place_of_a_file_is_named(tmp_path, kind):
    pointer = tmp_path / "a.parquet"
    pointer.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:ab\n")
    with pytest.raises(ValueError, match=r"a\.parquet: a pointer of Git LFS"):
        read(f"{kind}:{pointer}")
    if kind == "parquet":
        return
    for name in ("a.tar", "a.tar.gz", "a.tgz"):
        (tmp_path / name).write_bytes(gzip.compress(ROW, mtime=0))
        with pytest.raises(ValueError, match=f"{name}: a tar archive; unpack it"):
            read(f"{kind}:{tmp_path}/{name}")


def test_hidden_members_of_a_zip_are_left_out(tmp_path):
    members = {".DS_Store": b"\0", "x/.y.jsonl": ROW, "a.jsonl": ROW}
    (tmp_path / "a.zip").write_bytes(zipped(members))
    assert read(f"jsonl:{tmp_path}/a.zip") == (["a"], [])


def test_no_name_in_a_zip_becomes_a_path(tmp_path):
    data = zipped(
        {
            "__MACOSX/._x": b"\0",
            "../../evil.txt": b"a",
            "c.txt": b"b",
        }
    )
    (tmp_path / "a.zip").write_bytes(data)
    (part,) = sources.parts(f"text:{tmp_path}/a.zip")
    assert list(sources.texts(part)) == [
        (f"{tmp_path}/a.zip, member ../../evil.txt", "a"),
        (f"{tmp_path}/a.zip, member c.txt", "b"),
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["a.zip"]
    encrypted = bytearray(data)
    encrypted[data.index(b"PK\1\2", data.index(b"PK\1\2") + 1) + 8] |= 1
    (tmp_path / "a.zip").write_bytes(encrypted)
    with pytest.raises(ValueError, match=r"member \.\./\.\./evil.txt: is encrypted"):
        read(f"text:{tmp_path}/a.zip")
