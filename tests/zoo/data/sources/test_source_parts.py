"""Sources of files: parts, lines, tables of text, and stores of fsspec."""

import gzip
import json

import fsspec
import pytest
from source_texts import RECORDED, ROW, read, zipped

from zoo.data import fingerprints, sources, tables

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
