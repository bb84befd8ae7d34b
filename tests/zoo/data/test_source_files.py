"""Sources of files: what is streamed part by part, and what bad files say.

The files in `recorded` are of `datasets` and pandas; see `recorded/make.py`.
"""

import bz2
import gzip
import io
import json
import lzma
import pathlib
import random
import shutil
import struct
import types
import zipfile

import fsspec
import huggingface_hub
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from zoo.data import fingerprints, formats, sources, tables
from zoo.data.sources import hub_layout, huggingface

RECORDED = pathlib.Path(__file__).parent / "recorded"
LINES = b"".join(
    json.dumps({"text": f"line {i * i}"}).encode() + b"\n" for i in range(3000)
)
HEAD, TAIL = LINES[: LINES.index(b"\n") + 1], LINES[LINES.index(b"\n") + 1 :]
ROW = b'{"text": "a"}\n'


def read(spec, split="train", field=""):
    """The texts of all parts, and the messages of all bad rows."""
    found = [
        pair
        for part in sources.parts(spec, split)
        for pair in sources.texts(part, field)
    ]
    bad = [str(text) for _, text in found if isinstance(text, ValueError)]
    return [text for _, text in found if isinstance(text, str)], bad


def zipped(members):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return packed.getvalue()


def zstd(data):
    return pa.Codec("zstd").compress(data, asbytes=True)


# ---- parts ----


def test_parts_are_read_alone_and_in_order(tmp_path):
    for name in ("b.jsonl", "a,#%41.jsonl", "c[1].jsonl"):
        (tmp_path / name).write_text(json.dumps({"t": name}))
    found = sources.parts(f"jsonl:{tmp_path}/*.jsonl#t")
    assert [type(part.spec) for part in found] == [str] * 3
    texts = [list(sources.texts(part)) for part in found]
    assert [text for ((_, text),) in texts] == sorted(
        ["b.jsonl", "a,#%41.jsonl", "c[1].jsonl"]
    )
    assert texts[1][0][0] == f"{tmp_path}/b.jsonl, line 1"


def test_small_text_files_share_a_part_and_large_ones_do_not(tmp_path, monkeypatch):
    for i in range(5):
        (tmp_path / f"{i},.txt").write_text(f"{i}" * 10)
    spec = f"text:{tmp_path}/*.txt"
    assert len(sources.parts(spec)) == 1
    monkeypatch.setattr("zoo.data.sources.file_parts._PART_BYTES", 20)
    assert len(sources.parts(spec)) == 3
    assert read(spec) == (sources.documents(spec), [])


def test_a_field_of_the_spec_comes_first_and_bad_rows_do_not_end_a_part(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"a": "1"}\n{}\n\n{"a": 3}\n{"a": "\\ufeff2", "b": "x"}\n')
    texts, bad = read(f"jsonl:{path}#a", field="b")
    assert texts == ["1", "2"]
    assert [message.split(": ")[0] for message in bad] == [
        f"{path}, line 2",
        f"{path}, line 4",
    ]
    assert read(f"jsonl:{path}", field="b")[0] == ["x"]


# ---- compressed files, and archives ----


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


# ---- lines ----


def test_a_line_is_a_document(tmp_path):
    (tmp_path / "a.txt").write_bytes("a\u2028b\r\n\n  \nc".encode() + b"\n\xff\n")
    texts, bad = read(f"lines:{tmp_path}/a.txt")
    assert texts == ["a\u2028b", "c"]
    assert bad == [f"{tmp_path}/a.txt, line 5: byte 0 (0xff) is not UTF-8."]


PAIRS = [{"source": "a house", "target": "ein Haus"}, {"source": "x", "target": ""}]


@pytest.mark.parametrize("names", ["a.en,a.de.gz", "a.tsv"])
def test_a_parallel_corpus_is_two_files_or_one_with_tabs(tmp_path, names):
    (tmp_path / "a.en").write_text("a house\n\nx\n")
    (tmp_path / "a.de.gz").write_bytes(gzip.compress(b"ein Haus\r\n\n\n", mtime=0))
    (tmp_path / "a.tsv").write_text("a house\tein Haus\tCC-BY\n\nx\t\n")
    spec = "parallel:" + ",".join(f"{tmp_path}/{name}" for name in names.split(","))
    assert list(sources.read(spec)) == PAIRS
    assert set(sources.files(spec)) == {f"{tmp_path}/{n}" for n in names.split(",")}
    assert sources.parts(spec) == [sources.Part(spec, "train")]


@pytest.mark.parametrize(
    "names, message",
    [
        ("a.en,b.de", "line 2: .*b.de ends at line 1; as many lines"),
        ("a.en", "a.en, line 1: no tab between a source and a target"),
        ("a.en,a.en,b.de,c.de", "no such file"),
        ("*", "4 files, 1 or 2 allowed"),
    ],
)
def test_a_corpus_whose_sides_differ_is_refused(tmp_path, names, message):
    for name in ("a.en", "b.de", "x", "y"):
        (tmp_path / name).write_text("one\n" if name == "b.de" else "one\ntwo\n")
    spec = ",".join(f"{tmp_path}/{name}" for name in names.split(","))
    with pytest.raises(ValueError, match=message):
        list(sources.read(f"parallel:{spec}"))


# ---- csv ----


@pytest.mark.parametrize("mark", "\t;")
def test_tabs_and_semicolons_part_cells_too(tmp_path, mark):
    text = mark.join(['"text"', "label"]) + "\n" + mark.join(["a, b", "1"]) + "\n"
    (tmp_path / "a.csv").write_text(text)
    assert read(f"csv:{tmp_path}/a.csv") == (["a, b"], [])
    (tmp_path / "b.csv").write_text(text.replace("a, b", "2.5"))
    found = tables.table(f"csv:{tmp_path}/b.csv#label")
    assert found.features_NF.tolist() == [[2.5]]


def test_csv_reads_cells_of_any_length_over_lines(tmp_path):
    path, long = tmp_path / "a.csv", "y" * 200_000
    path.write_bytes(
        b'\xef\xbb\xbf"text", n\r\n"a, ""b""\r\nc",1\r\n\r\n'
        + f"{long},2\n".encode()
        + b'gr\xff,3\n"x"y,4\nd\0,5\ne,6,7\n"open,8\n'
    )
    texts, bad = read(f"csv:{path}")
    assert texts == ['a, "b"\r\nc', long, "d\0"]
    assert [message.removeprefix(f"{path}, ") for message in bad] == [
        "line 6: column 'text': byte 0xff is not UTF-8.",
        "line 7: ',' expected after '\"'.",
        "line 9: 3 columns, expected 2.",
        "line 10: unexpected end of data.",
    ]
    assert next(sources.numbered(f"csv:{path}")) == (
        f"{path}, line 2",
        {"text": 'a, "b"\r\nc', "n": "1"},
    )


@pytest.mark.parametrize(
    "data, message",
    [
        (b"text,a,text\n", "line 1: the column 'text' appears twice"),
        (b"txet\na\n", "line 1: no column 'text'. Did you mean txet"),
        ("text\na".encode("utf-16"), "line 1: byte 0 (0xff) is not UTF-8"),
        (b"text,a\rb,c\r", "line 1: new-line character"),
        (b"", "the file is empty"),
    ],
)
def test_a_csv_without_its_header_is_refused(tmp_path, data, message):
    (tmp_path / "a.csv").write_bytes(data)
    with pytest.raises(ValueError) as error:
        read(f"csv:{tmp_path}/a.csv")
    assert f"{tmp_path}/a.csv" in str(error.value) and message in str(error.value)


# ---- Parquet and Arrow ----


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


# ---- Hugging Face ----


@pytest.mark.parametrize("folder", ["saved", "hub"])
def test_hf_folders_have_splits_and_names_of_classes(folder):
    spec = f"hf:{RECORDED}/{folder}"
    assert sources.splits(spec) == ("train", "validation", "valid")
    assert read(spec)[0] == [f"text é {i}" for i in range(5)]
    assert sources.documents(spec, "valid") == ["text é 5", "text é 6"]
    assert len(sources.documents(f"{spec}:validation+train")) == 7
    assert sources.label_names(spec) == ("neg", "pos")
    assert sources.label_names(spec, "tags") == ("O", "B")
    assert sources.label_names(spec, "n") == ()
    place, row = next(sources.numbered(spec))
    assert place.endswith(", row 1")
    assert row == {"text": "text é 0", "label": 0, "tags": [0, 1], "n": 0}
    assert len(fingerprints.of_run(spec)) == (3 if folder == "saved" else 2)
    with pytest.raises(ValueError, match="split: 'test'. Allowed: train, validation"):
        sources.parts(spec, "test")
    with pytest.raises(ValueError, match="lable"):
        sources.label_names(spec, "lable")


def test_one_saved_split_is_train_and_its_state_is_checked(tmp_path):
    shutil.copytree(RECORDED / "saved/validation", tmp_path / "one")
    assert read(f"hf:{tmp_path}/one")[0] == ["text é 5", "text é 6"]
    state = tmp_path / "one/state.json"
    for text, message in [
        ("{", "state.json: not JSON"),
        ("{}", "state.json: no '_data_files'"),
        (
            '{"_data_files": [{"filename": "../x"}]}',
            "'../x', a file of the same folder",
        ),
        ('{"_indices_data_files": [{"filename": "i"}]}', "are not read; save"),
    ]:
        state.write_text(text)
        with pytest.raises(ValueError, match=message):
            sources.parts(f"hf:{tmp_path}/one")
    with pytest.raises(ValueError, match="no data set; a folder with dataset_dict"):
        sources.parts(f"hf:{tmp_path}")


@pytest.fixture
def hub(monkeypatch):
    """A Hub with one data set, by the two calls of its library that are used."""
    huggingface._on_hub.cache_clear()
    asked = []

    def dataset_info(self, name, revision=None):
        asked.append((name, revision))
        if name != "someone/texts":
            raise ConnectionError("no network\nsecond line")
        names = ["README.md", "load.py"]
        if revision == huggingface._CONVERTED:
            names = sorted(
                path.relative_to(RECORDED / "hub").as_posix()
                for path in (RECORDED / "hub").rglob("*.parquet")
            )
        files = [types.SimpleNamespace(rfilename=name) for name in names]
        return types.SimpleNamespace(sha="abc123", siblings=files)

    def snapshot_download(name, repo_type, revision, allow_patterns):
        assert (name, repo_type, revision) == ("someone/texts", "dataset", "abc123")
        asked.append(allow_patterns)
        return str(RECORDED / "hub")

    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", dataset_info)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    yield asked
    huggingface._on_hub.cache_clear()


def test_hub_gives_the_files_of_one_split_of_one_commit(hub):
    assert read("hf:someone/texts:validation")[0] == ["text é 5", "text é 6"]
    wanted = "data/validation-00000-of-00001.parquet"
    assert hub == [
        ("someone/texts", None),
        ("someone/texts", "refs/convert/parquet"),
        [wanted],
    ]
    assert list(sources.files("hf:someone/texts", "valid")) == [
        f"hf:someone/texts/{wanted}"
    ]
    with pytest.raises(ValueError, match="the revision has no Parquet"):
        sources.parts("hf:someone/texts@v1")


def test_without_network_the_message_says_what_to_do(hub):
    with pytest.raises(ValueError) as error:
        sources.parts("hf:someone/else")
    assert str(error.value) == (
        "hf:someone/else: is no folder, and cannot be fetched from the Hugging Face "
        "Hub (ConnectionError: no network). Without network, download the data set "
        "elsewhere and name its folder."
    )


README = """---
license: mit
configs:
- config_name: en
  data_files:
  - split: train
    path: en/part-*
  - split: test
    path: [en/held.parquet]
- config_name: de
  default: true
  data_files: "de/**/*.parquet"
---
# Texts
"""


@pytest.mark.parametrize(
    "paths, readme, config, expected",
    [
        (
            [
                "data/test-00000-of-00001.parquet",
                "data/train-00000-of-00001-ab.parquet",
            ],
            "",
            "",
            {"train": [1], "test": [0]},
        ),
        (
            ["en/partial-train/0000.parquet", "en/test/0000.parquet"],
            "",
            "en",
            {"train": [0], "test": [1]},
        ),
        (
            ["a.parquet", "dev/b.parquet", "my_test.parquet"],
            "",
            "",
            {"validation": [1]},
        ),
        (["a.parquet", "my_test.parquet"], "# no header", "", {"test": [1]}),
        (
            ["test/train.parquet", "train/b.parquet"],
            "",
            "",
            {"train": [1], "test": [0]},
        ),
        (["a.parquet", "mytrain.parquet"], "", "", {"train": [0, 1]}),
        (
            ["de/x/a.parquet", "en/held.parquet", "en/part-0.parquet", "en/y.parquet"],
            README,
            "en",
            {"train": [2], "test": [1]},
        ),
        (
            ["de/x/a.parquet", "en/held.parquet", "en/part-0"],
            README,
            "",
            {"train": [0]},
        ),
    ],
)
def test_files_have_the_splits_that_datasets_gives_them(
    paths, readme, config, expected
):
    found = hub_layout.splits(paths, readme, config, "hf:x")
    assert found == {split: [paths[i] for i in of] for split, of in expected.items()}
    assert list(found) == list(expected)


def test_several_configurations_need_a_name():
    paths = ["de/train/0000.parquet", "en/train/0000.parquet"]
    with pytest.raises(ValueError, match=r"hf:NAME/CONFIG\. Allowed: de, en"):
        hub_layout.splits(paths, "", "", "hf:x")
    with pytest.raises(ValueError, match=r"'en/held\.parquet' names no Parquet file"):
        hub_layout.splits(["en/part-0.parquet"], README, "en", "hf:x")
    with pytest.raises(ValueError, match="header is no YAML"):
        hub_layout.splits(paths, "---\nconfigs: [\n---\n", "", "hf:x")


# ---- stores ----


def test_stores_of_fsspec_are_read_like_folders():
    store = fsspec.filesystem("memory")
    for name in ("b", "a"):
        store.pipe(f"/texts/{name}.jsonl.gz", gzip.compress(ROW.replace(b"a", b"b")))
    store.pipe("/texts/p.parquet", (RECORDED / "pandas.parquet").read_bytes())
    store.pipe("/texts/x.zip", zipped({"a.txt": b"zipped"}))
    for path in (RECORDED / "saved").rglob("*.*"):
        name = path.relative_to(RECORDED).as_posix()
        store.pipe(f"/{name}", path.read_bytes())
    found = sources.parts("jsonl:memory://texts/**/*.gz")
    assert [part.spec.rpartition("/")[2] for part in found] == [
        "a.jsonl.gz",
        "b.jsonl.gz",
    ]
    assert [text for part in found for _, text in sources.texts(part)] == ["b", "b"]
    assert read("parquet:memory://texts/p.parquet")[0] == ["a", "b", "d"]
    assert read("text:memory://texts/x.zip")[0] == ["zipped"]
    assert read("hf:memory://saved", "valid")[0] == ["text é 5", "text é 6"]
    (entry,) = fingerprints.of_run("text:memory://texts/x.zip").values()
    assert entry["size"] == store.size("/texts/x.zip")


@pytest.mark.parametrize(
    "spec, message",
    [
        ("text:memory://none/*.txt", "'memory://none/*.txt': no such file"),
        ("text:memory://none", "'memory://none': no such file"),
        ("text:foo://a/b.txt", "foo://a/b.txt: Protocol not known"),
        ("rows.parquet", "Did you mean parquet:rows.parquet?"),
        ("hf:x:y:z", "hf:x:y: no data set"),
    ],
)
def test_what_no_store_has_is_refused(spec, message):
    with pytest.raises(ValueError) as error:
        sources.parts(spec)
    assert message in str(error.value)
