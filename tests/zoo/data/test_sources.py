"""Sources: what they read, and what they say about what they cannot read."""

import gzip
import hashlib
import json
import lzma
import os

import numpy as np
import pytest

from zoo.data import fingerprints, sources, splits
from zoo.data.sources import kjv


def test_kjv_test_split_is_the_known_text():
    text = "\n".join(sources.documents("kjv", "test")).encode()
    assert len(text) == 216_137
    assert hashlib.sha256(text).hexdigest()[:16] == "c4b1ebe17e143429"


def test_kjv_splits_share_no_book_and_cover_all():
    titles = {
        split: [row["title"] for row in sources.read("kjv", split)]
        for split in ("train", "valid", "test", "train+valid")
    }
    assert [len(t) for t in titles.values()] == [56, 5, 5, 61]
    assert set(titles["valid"]) == set(kjv.VALID)
    assert set(titles["train"]) | set(titles["valid"]) == set(titles["train+valid"])
    assert not set(titles["train+valid"]) & set(titles["test"])
    assert titles["train+valid"][:2] == ["Genesis", "Exodus"]  # the Bible's order
    valid = sum(len(text.encode()) for text in sources.documents("kjv", "valid"))
    assert 20_000 < valid < 40_000


def test_kjv_has_no_brackets_or_verse_numbers():
    genesis = sources.documents("kjv")[0]
    assert genesis.startswith("In the beginning God created")
    assert "[" not in genesis and "]" not in genesis and "2. " not in genesis
    assert genesis.count("\n") == 1533 - 1  # verses


def test_parts_of_kjv_are_its_splits():
    (part,) = sources.parts("kjv", "valid")
    texts = [text for _, text in sources.texts(part)]
    assert texts == sources.documents("kjv", "valid")
    with pytest.raises(ValueError, match="kjv split: 'dev'"):
        sources.parts("kjv", "dev")


def test_text_reads_globs_sorted_each_file_once(tmp_path):
    for name, text in (("b.txt", "zwei\r\n"), ("a.txt", "eins é"), ("c.md", "drei")):
        (tmp_path / name).write_bytes(text.encode())
    spec = f"text:{tmp_path}/*.txt,{tmp_path}/c.md,{tmp_path}/a.txt"
    assert sources.documents(spec) == ["eins é", "zwei\r\n", "drei"]


def test_text_names_file_and_byte_of_broken_utf8(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"gr\xc3\xbc\xdf")
    with pytest.raises(ValueError, match=r"a\.txt: byte 4 \(0xdf\) is not UTF-8"):
        sources.documents(f"text:{path}")


def test_byte_order_marks_are_dropped(tmp_path):
    mark, rows = b"\xef\xbb\xbf", b'{"text": "a"}\n'
    (tmp_path / "a.txt").write_bytes(mark + b"In the beginning")
    (tmp_path / "two.jsonl").write_bytes(2 * (mark + rows) + b'{"text": "\\ufeffa"}')
    assert sources.documents(f"text:{tmp_path}/a.txt") == ["In the beginning"]
    assert sources.documents(f"jsonl:{tmp_path}/two.jsonl") == ["a", "a", "a"]
    (tmp_path / "a.txt").write_bytes(mark + b"ab\xff")
    with pytest.raises(ValueError, match="byte 5 .0xff. is not UTF-8"):
        sources.documents(f"text:{tmp_path}/a.txt")
    (tmp_path / "a.txt").write_bytes("gr\u00fc\u00df".encode("utf-16"))
    with pytest.raises(ValueError, match="looks like UTF-16"):
        sources.documents(f"text:{tmp_path}/a.txt")


@pytest.mark.parametrize(
    "kind, content",
    [
        ("text", None),
        ("text", b""),
        ("text", b"\xff"),
        ("jsonl", None),
        ("jsonl", b"\xff"),
        ("jsonl", b"[]"),
    ],
)
def test_messages_escape_the_bytes_of_a_path(tmp_path, kind, content):
    path = os.path.join(os.fsencode(tmp_path), b"gr\xfc\xdf")
    if content is not None:
        with open(path, "wb") as file:
            file.write(content)
    with pytest.raises(ValueError) as error:
        sources.documents(f"{kind}:{os.fsdecode(path)}")
    assert "gr\\xfc\\xdf" in str(error.value)
    assert str(error.value).isprintable()  # also: nothing that UTF-8 cannot encode


@pytest.mark.parametrize("spec", ["\udcff", "a\udcff/b", "kjv:\udcff", "tfds:\udcff"])
def test_messages_escape_the_bytes_of_a_spec(spec):
    with pytest.raises(ValueError) as error:
        sources.documents(spec)
    assert "\\xff" in str(error.value) and str(error.value).isprintable()
    with pytest.raises(ValueError, match="ud800"):
        sources.documents("text:\ud800")


@pytest.mark.parametrize("ending, opener", [("", open), (".gz", gzip.open)])
def test_jsonl_reads_the_field(tmp_path, ending, opener):
    path = tmp_path / f"a.jsonl{ending}"
    rows = [{"text": "a", "body": "line\u2028one"}, {"text": "c", "body": "d"}]
    with opener(path, "wb") as file:
        file.write("\n\n".join(map(json.dumps, rows)).encode())
    assert sources.documents(f"jsonl:{path}") == ["a", "c"]
    assert sources.documents(f"jsonl:{path}#body") == ["line\u2028one", "d"]
    assert list(sources.read(f"jsonl:{path}")) == rows


def test_jsonl_xz_and_its_damage(tmp_path):
    whole = lzma.compress(b'{"text": "a"}\n' * 1000)
    (tmp_path / "a.xz").write_bytes(whole)
    assert len(sources.documents(f"jsonl:{tmp_path}/a.xz")) == 1000
    (tmp_path / "cut.xz").write_bytes(whole[:-20])
    with pytest.raises(ValueError, match=r"cut\.xz: damaged"):
        sources.documents(f"jsonl:{tmp_path}/cut.xz")


@pytest.mark.parametrize(
    "line, message",
    [
        (b"{text}", "line 2: not JSON"),
        (b'["a"]', "line 2: a list, expected a JSON object"),
        (b'{"txet": "a"}', "line 2: no field 'text'. Did you mean txet"),
        (b'{"text": 3}', "line 2: field 'text' is a int, expected a string"),
        (b'{"text": "\xff"}', "line 2: byte 10 (0xff) is not UTF-8"),
        (b'{"\\ud800": "a"}', "line 2: field '\\ud800' holds half a surrogate"),
        (b'{"text": "\\ud800"}', "line 2: field 'text' holds half a surrogate"),
        (b'{"text": "a", "n": ' + b"1" * 5000 + b"}", "line 2: not JSON (Exceeds"),
        (b"[" * 100_000, "line 2: not JSON"),
    ],
)
def test_jsonl_names_file_and_line(tmp_path, line, message):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"text": "ok"}\n' + line + b"\n")
    with pytest.raises(ValueError) as error:
        sources.documents(f"jsonl:{path}")
    assert str(error.value).startswith(f"{path}, ") and message in str(error.value)


@pytest.mark.parametrize(
    "spec, split, message",
    [
        ("kjb", "train", "Unknown source 'kjb'. Did you mean kjv"),
        ("corpus.txt", "train", "Did you mean text:corpus.txt?"),
        ("a/rows.jsonl.gz", "train", "Did you mean jsonl:a/rows.jsonl.gz?"),
        ("FOLDER", "train", "/**/*.txt? Allowed: arrow, csv, hf, jsonl"),
        ("BLANK", "train", "Did you mean text:/"),
        ("https://a/b.txt", "train", "'https://a/b.txt'. Allowed: arrow"),
        ("text:", "train", "must follow text:"),
        ("text:no/such.txt", "train", "'no/such.txt': no such file"),
        ("text:no/*.txt", "train", "'no/*.txt': no such file"),
        ("text:EMPTY", "train", "the file is empty"),
        ("text:FOLDER", "train", "is a directory"),
        ("jsonl:BLANK", "train", "has no text"),
        ("text:BLANK", "valid", "split 'valid', only 'train' allowed"),
        ("kjv", "dev", "kjv split: 'dev'"),
        ("kjv:x", "train", "takes nothing"),
        ("sklearn:iris", "train", "no text"),
    ],
)
def test_errors_are_clear(tmp_path, spec, split, message):
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "blank").write_bytes(b"\n \n")
    for name in ("empty", "blank"):
        spec = spec.replace(name.upper(), str(tmp_path / name))
    with pytest.raises(ValueError) as error:
        sources.documents(spec.replace("FOLDER", str(tmp_path)), split)
    assert message in str(error.value)


def test_a_pipe_is_refused_before_it_is_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for kind in ("text", "jsonl"):
        with pytest.raises(ValueError, match="pipe' is not a regular file"):
            sources.documents(f"{kind}:{tmp_path}/pipe")


def test_hold_out_is_deterministic_disjoint_and_by_text():
    texts = [f"text {i % 200}" for i in range(400)]
    kept, held = sources.hold_out(texts, 0.25, seed=3)
    assert (kept, held) == sources.hold_out(texts, 0.25, seed=3)
    assert held != sources.hold_out(texts, 0.25, seed=4)[1]
    assert not set(kept) & set(held)  # the copies of a text stay together
    assert sorted(kept + held) == sorted(texts)
    assert 60 < len(held) < 140
    # Where a document goes does not depend on the others.
    assert set(sources.hold_out(texts[:50], 0.25, seed=3)[1]) <= set(held)


@pytest.mark.parametrize("fraction", [0.001, 0.999])
def test_hold_out_leaves_no_side_empty(fraction):
    kept, held = sources.hold_out(["a", "b", "c"], fraction)
    assert kept and held and sorted(kept + held) == ["a", "b", "c"]


def test_hold_out_cuts_a_single_document_at_a_line_end():
    text = "".join(f"line {i}\n" for i in range(100))
    (kept,), (held,) = sources.hold_out([text], 0.1)
    assert kept + held == text and kept.endswith("\n")
    assert len(held) == pytest.approx(0.1 * len(text), abs=8)


@pytest.mark.parametrize(
    "texts, fraction, message",
    [
        ([], 0.1, "no document"),
        (["one line"], 0.1, "one line"),
        (["one line\n"], 0.1, "one line"),
        (["a", "b"], 0.0, "fraction: 0.0"),
        (["a", "b"], float("nan"), "fraction: nan"),
    ],
)
def test_hold_out_refuses(texts, fraction, message):
    with pytest.raises(ValueError, match=message):
        sources.hold_out(texts, fraction)


@pytest.fixture(scope="module")
def tiny_texts(tmp_path_factory):
    tfds = pytest.importorskip("tensorflow_datasets")

    class TinyTexts(tfds.core.GeneratorBasedBuilder):
        """Eight texts, made here."""

        VERSION = tfds.core.Version("1.0.0")

        def _info(self):
            features = {
                "text": tfds.features.Text(),
                "n": np.int64,
                "raw": tfds.features.Text(),
                "label": tfds.features.ClassLabel(names=["no", "yes"]),
            }
            return tfds.core.DatasetInfo(
                builder=self, features=tfds.features.FeaturesDict(features)
            )

        def _split_generators(self, dl_manager):
            return {"train": self._rows(0, 6), "validation": self._rows(6, 8)}

        def _generate_examples(self):
            raise NotImplementedError

        def _rows(self, first, end):
            for i in range(first, end):
                row = {"text": f"é {i}", "n": i, "raw": b"\xff" * i, "label": i % 2}
                yield i, row

    folder = tmp_path_factory.mktemp("tfds")
    tfds.disable_progress_bar()
    TinyTexts(data_dir=folder).download_and_prepare()
    tfds.core.add_data_dir(folder)
    return "tfds:tiny_texts"


def test_tfds_reads_splits(tiny_texts):
    rows = list(sources.read(tiny_texts))
    assert sorted(row["n"] for row in rows) == list(range(6))
    assert all(row["text"] == f"é {row['n']}" for row in rows)
    assert rows == list(sources.read(tiny_texts))  # the same order each time
    assert sorted(sources.documents(tiny_texts, "valid")) == ["é 6", "é 7"]
    assert len(sources.documents(f"{tiny_texts}:train[:50%]#text")) == 3
    assert len(sources.documents(f"{tiny_texts}:1.0.0:train+validation")) == 8


def test_tfds_streams_its_splits_as_parts(tiny_texts):
    (part,) = sources.parts(tiny_texts, "valid")
    assert sorted(text for _, text in sources.texts(part)) == ["é 6", "é 7"]
    place, row = next(sources.texts(part, field="n"))
    assert place == "tfds:tiny_texts:validation, example 0"
    assert "field 'n' is a int" in str(row)
    (part,) = sources.parts(f"{tiny_texts}#raw")
    bad = [text for _, text in sources.texts(part) if isinstance(text, ValueError)]
    assert len(bad) == 5  # the reader goes on behind each
    with pytest.raises(ValueError, match="split: 'test'. Allowed"):
        sources.parts(tiny_texts, "test")


@pytest.mark.parametrize(
    "spec, split, message",
    [
        ("", "test", "tfds:tiny_texts split: 'test'. Allowed: train, validation"),
        (":nope", "train", "split 'nope'"),
        (":train[:x]", "train", "split 'train[:x]'"),
        (":train", "valid", "only 'train' allowed"),
        ("#n", "train", "field 'n' is a int"),
        ("#body", "train", "no field 'body'"),
        ("#raw", "train", ", field 'raw': byte 0 (0xff) is not UTF-8"),
    ],
)
def test_tfds_errors(tiny_texts, spec, split, message):
    with pytest.raises(ValueError) as error:
        sources.documents(tiny_texts + spec, split)
    assert message in str(error.value)


def test_tfds_has_its_own_validation_split(tiny_texts):
    assert set(sources.splits(tiny_texts)) == {"train", "validation", "valid"}
    assert sources.splits(f"{tiny_texts}:train[:50%]") == ("train",)
    training, held_out = splits.documents(tiny_texts, hold_out=0.5)
    assert sorted(training) == [f"é {i}" for i in range(6)]
    assert sorted(held_out) == ["é 6", "é 7"]
    training, held_out = splits.documents(f"{tiny_texts}:train", hold_out=0.5)
    assert sorted(training + held_out) == [f"é {i}" for i in range(6)]


def test_tfds_fingerprint_is_of_the_files_of_both_splits(tiny_texts):
    found = fingerprints.of_run(tiny_texts)
    assert len(found) == 2
    assert all(name.startswith("tiny_texts/1.0.0/tiny_texts-") for name in found)
    assert fingerprints.of_run(f"{tiny_texts}:all") == found
    half = fingerprints.of_run(f"{tiny_texts}:train[:50%]")
    assert [name for name in found if "train" in name] == list(half)


def test_tfds_passes_end_in_time(tiny_texts, monkeypatch):
    import tensorflow_datasets as tfds

    given = []
    monkeypatch.setattr(tfds, "as_numpy", lambda dataset: given.append(dataset) or [])
    assert not list(sources.read(tiny_texts))
    assert given[0].options().autotune.enabled is False


def test_tfds_names_classes(tiny_texts):
    assert sources.label_names(tiny_texts) == ("no", "yes")
    assert sources.label_names(tiny_texts, "n") == ()
    assert sources.label_names("kjv") == ()
    with pytest.raises(ValueError, match="field: 'lable'. Did you mean label"):
        sources.label_names(tiny_texts, "lable")


def test_tfds_failing_download_gives_one_message(tiny_texts, monkeypatch):
    import tensorflow_datasets as tfds

    class Unreachable:
        def download_and_prepare(self):
            raise ConnectionError("the network is unreachable\nsecond line")

    monkeypatch.setattr(tfds, "builder", lambda name: Unreachable())
    with pytest.raises(ValueError) as error:
        sources.read("tfds:far_away")
    assert str(error.value) == (
        "tfds:far_away: cannot be prepared: the network is unreachable"
    )
