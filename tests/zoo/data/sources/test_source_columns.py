"""Parquet and Arrow files, whole and damaged.

The files in `recorded` are of `datasets` and pandas; see `recorded/make.py`.
"""

import gzip
import json
import random
import struct

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from source_texts import RECORDED, read

from zoo.data import formats, sources


def test_parquet_of_pandas():
    path = RECORDED / "pandas.parquet"
    texts, bad = read(f"parquet:{path}")
    assert texts == ["a", "b", "d"]
    assert bad == [f"{path}, row 3: field 'text' is a NoneType, expected a string."]
    assert read(f"parquet:{path}#cat") == (["x", "y", "x", "y"], [])
    texts, bad = read(f"parquet:{path}", field="raw")
    assert texts == ["ok", "", "z"]
    assert bad == [f"{path}, row 1, field 'raw': byte 0 (0xff) is not UTF-8."]
    rows = [row for _, row in sources.numbered(f"parquet:{path}")]
    assert rows[0]["raw"] == b"\xff" and rows[1]["raw"] == "ok" and rows[1]["f"] == 2


@pytest.fixture
def nested(tmp_path):
    """A Parquet file with lists, structs, many batches, and bytes that are no UTF-8."""
    buffers = [pa.py_buffer(struct.pack("<3i", 0, 1, 3)), pa.py_buffer(b"a\xff\xfe")]
    broken = pa.Array.from_buffers(pa.string(), 2, [None, *buffers])
    messages = [[{"role": "user", "content": "x"}]] * 2
    table = pa.table({"text": ["a", "b"], "messages": messages, "broken": broken})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=1)
    return tmp_path / "a.parquet"


def test_parquet_has_nested_columns_and_bad_bytes(nested):
    rows = list(sources.numbered(f"parquet:{nested}"))
    assert isinstance(rows[1][1], ValueError)
    assert rows[0][1] == {
        "text": "a",
        "messages": [{"role": "user", "content": "x"}],
        "broken": "a",
    }
    _, bad = read(f"parquet:{nested}#broken")
    assert bad == [f"{nested}, row 2, field 'broken': byte 0 (0xff) is not UTF-8."]
    _, bad = read(f"parquet:{nested}#messages")
    assert "row 1: field 'messages' is a list, expected a string" in bad[0]
    with pytest.raises(ValueError, match="no column 'txet'. Did you mean text"):
        read(f"parquet:{nested}#txet")


@pytest.mark.parametrize("kind", ["parquet", "arrow"])
@pytest.mark.parametrize(
    "name, cut, message",
    [
        ("x", lambda data: data[:-20], "file, or a damaged one"),
        ("x", lambda data: data[:90], "file, or a damaged one"),
        ("x", lambda data: b"", "the file is empty"),
        ("x", lambda data: b"text\na\nb\nc\n" * 9, "file, or a damaged one"),
        ("x.gz", gzip.compress, "file is not read through .gz"),
    ],
)
def test_damaged_columns_are_named(tmp_path, kind, name, cut, message):
    whole = {
        "parquet": RECORDED / "pandas.parquet",
        "arrow": RECORDED / "saved/train/data-00000-of-00002.arrow",
    }[kind]
    (tmp_path / name).write_bytes(cut(whole.read_bytes()))
    with pytest.raises(ValueError) as error:
        read(f"{kind}:{tmp_path}/{name}")
    assert str(error.value).startswith(f"{tmp_path}/{name}")
    assert message in str(error.value)


@pytest.mark.parametrize(
    "kind, name", [("parquet", "pandas.parquet"), ("arrow", "saved/validation/data-")]
)
def test_random_damage_is_a_message_or_leaves_texts(tmp_path, kind, name):
    (whole,) = RECORDED.glob(f"{name}*")
    path, rng = tmp_path / "damaged", random.Random(0)
    raised = 0
    for _ in range(100):
        data = bytearray(whole.read_bytes())
        for _ in range(rng.choice([1, 5])):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        path.write_bytes(data)
        try:
            for place, text in sources.texts(sources.Part(f"{kind}:{path}", "train")):
                assert place.startswith(f"{path}, row ")
                assert isinstance(text, str) or str(text).startswith(place)
        except ValueError as error:
            assert str(error).startswith(str(path)) and "\n" not in str(error)
            raised += 1
    assert raised > 20


def test_formats_read_tables_like_json_lines(tmp_path, tokenizer):
    rows = [
        {"instruction": "do", "input": "this", "output": "done"},
        {"instruction": "go", "input": None, "output": "gone"},
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    lines = [",".join(row[name] or "" for name in row) for row in rows]
    (tmp_path / "a.csv").write_text("\n".join([",".join(rows[0]), *lines]))
    made = [
        formats.rows.read(
            sources.numbered(f"{kind}:{tmp_path}/a.{kind}"),
            formats.BY_NAME["instruction"],
            tokenizer,
            length=1000,
        )
        for kind in ("jsonl", "parquet", "csv")
    ]
    assert made[0].counts["read"] == 2
    for other in made[1:]:
        assert other.tokens.tolist() == made[0].tokens.tolist()
        assert other.counts == made[0].counts
