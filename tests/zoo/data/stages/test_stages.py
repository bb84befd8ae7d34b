"""Stages: what each changes or drops, and how a list of them runs."""

import importlib.util

import pytest

from zoo.data import stages


def run(entry, text):
    return stages.make(entry)(text)


@pytest.mark.parametrize(
    "entry, before, after",
    [
        ("nfkc", "\ufb01\u2460 e\u0301", "fi1 \u00e9"),
        (
            "width",
            "\uff21\uff11\u3000\uff8a\uff9e\uff01\u4e2d\u2460",
            "A1 \u30d0!\u4e2d\u2460",
        ),
        ("whitespace", " a\u00a0 \tb \n\n\n\n  c ", "a b\n\nc"),
        (
            "html",
            "<p>a<b>b</b>&amp;<br>c</p><ul><li>1<li>2</ul>d",
            "ab&\nc\n\n1\n2\n\nd",
        ),
        ("html", "<tr><td>1</td><td>2</td></tr><pre>x\n  y</pre>", "1\t2\n\nx\n  y"),
        ("html", "<script>x</script><style>y</style>1 < 2 \x00&lt;s&gt;", "1 < 2 <s>"),
        (
            "boilerplate",
            "Home | News | About\nThe cat sat here.\n\u00a9 2020 Cats Ltd.\nRead more",
            "The cat sat here.",
        ),
        (
            "bad_lines:max_share=0.9",
            "BUY IT NOW\n12 / 13\n3 likes\nalone\nThe cat sat on a mat.",
            "The cat sat on a mat.",
        ),
        ("pii", "a.b+c@d-e.co.uk, x@y", "[EMAIL], x@y"),
        (
            "pii",
            "192.168.1.1. ::1 2001:db8::7 12:30:45 300.1.1.1",
            "[IP]. [IP] [IP] 12:30:45 300.1.1.1",
        ),
        (
            "pii",
            "4111 1111 1111 1111, 4111-1111-1111-1112",
            "[CARD], 4111-1111-1111-1112",
        ),
        (
            "pii",
            "+49 30 1234567, (415) 555-2671, 03-1234-5678",
            "[PHONE], [PHONE], [PHONE]",
        ),
        ("pii", "138 1234 5678, 030/1234567", "[PHONE], [PHONE]"),
        (
            "pii",
            "2020-01-02, 1 000 000, 3.14159265358979",
            "2020-01-02, 1 000 000, 3.14159265358979",
        ),
        ("pii:ip", "a@b.de 1.2.3.4", "a@b.de [IP]"),
        ("stop_words", "The dog is on the mat.\nAnd it barks", "dog mat.\nbarks"),
        ("stem:english", "Running houses", "run hous"),
    ],
)
def test_clean(entry, before, after):
    assert run(entry, before) == after


def test_combining_marks():
    text = "e\u0301" + "\u0301\u0316" * 50 + "e\u0301"
    assert run("nfc", text) == text[:-2] + "\u00e9"  # a long run stays
    assert run("nfc", "e\u0316\u0301") == "\u00e9\u0316"
    high = "e\u0301" + "\U00010a0d" * 30  # marks above U+10000, 31 in a row
    assert run("nfc", high) == high
    assert run("nfc", high[:-1]) == "\u00e9" + high[2:-1]


@pytest.mark.parametrize(
    "entry, kept, dropped",
    [
        ("bad_lines", "A cat sat. " * 40 + "\nTOP", "A cat sat.\nBUY IT NOW\n1\n2"),
        ("c4_quality", "One two three four five. Yes.\nNo way to go on!", "One.\nTwo."),
        ("c4_quality:min_words=1", "One.\nTwo.\nThree.", "One.\nTwo.\nThree"),
    ],
)
def test_filter(entry, kept, dropped):
    assert isinstance(run(entry, kept), str)
    assert isinstance(run(entry, dropped), stages.Dropped)


def test_c4_changes_lines():
    line = "This line has quite some words[12]."
    text = f"{line}\nMenu\n{line}\nWe use cookies on this page.\n{line}"
    assert run("c4_quality", text) == "\n".join([line.replace("[12]", "")] * 3)


def test_bad_words(tmp_path):
    path = tmp_path / "words"
    path.write_text("# a list\nrotten\nfree Money\n\u574f\u8bdd\n", encoding="utf8")
    stage = stages.make(f"bad_words:{path}")
    for kept in ("rottenness", "free the money", "\u574f \u8bdd", ""):
        assert stage(kept) == kept
    for dropped in ("so Rotten!", "some FREE\nmoney.", "\u8bf4\u574f\u8bdd\u3002"):
        assert stage(dropped) == stages.Dropped("a bad word")


@pytest.mark.skipif(
    importlib.util.find_spec("py3langid") is None, reason="py3langid is not installed"
)
def test_language():
    german = "Das ist ein ganz gew\u00f6hnlicher Satz in deutscher Sprache."
    assert run("language:de,fr", german) == german
    assert run("language:en", german) == stages.Dropped("language de")


@pytest.mark.skipif(
    importlib.util.find_spec("ftfy") is None, reason="ftfy is not installed"
)
def test_mojibake():
    assert (
        run("mojibake", "sch\u00c3\u00b6n \u201cA\uff21\u201d")
        == "sch\u00f6n \u201cA\uff21\u201d"
    )


@pytest.mark.long  # reads a dictionary of 5 MB
@pytest.mark.skipif(
    importlib.util.find_spec("jieba") is None, reason="jieba is not installed"
)
def test_chinese_words():
    text = "\u6211\u6765\u5230\u5317\u4eac\u6e05\u534e\u5927\u5b66\u3002\n\u4f60"
    assert run("segment:zh", text).replace(" ", "") == text
    assert "\u5317\u4eac \u6e05\u534e\u5927\u5b66" in run("segment:zh", text)
    assert "\u5317\u4eac/ns" in run("tags:zh", text)


@pytest.mark.skipif(
    importlib.util.find_spec("unidic_lite") is None, reason="unidic-lite is missing"
)
def test_japanese_words():
    text = "\u6771\u4eac\u90fd\u306b\u4f4f\u3080\u3002"
    assert run("segment:ja", text).split()[0] == "\u6771\u4eac"
    assert run("segment:ja", text).replace(" ", "") == text


@pytest.mark.parametrize(
    "entry, message",
    [
        ("htmk", "'htmk'. Did you mean html"),
        ("html:x", "'html:x': argument 'x', none"),
        ("gopher_quality:min_word=3", "Did you mean min_words"),
        ("gopher_quality:min_words=few", "'few' is no number"),
        ("gopher_quality:min_words=1,min_words=2", "given twice"),
        ("c4_quality:min_words=-1", "at least 0"),
        ("pii:mail", "'mail'. Did you mean email"),
        ("bad_words:/no/file", "'/no/file'"),
        ("segment:ko", "'ko'.*ja, zh"),
        ("stem", "language ''"),
    ],
)
def test_refusals(entry, message):
    with pytest.raises(ValueError, match=message):
        stages.check(["control", entry])


def test_a_missing_library_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "ftfy", None)
    with pytest.raises(ValueError, match="pip install ftfy"):
        stages.make("mojibake")


def test_pipeline():
    pipeline = stages.Pipeline(["newlines", "trim", "c4_quality:min_sentences=1"])
    text = "One two three four five. \r\nSix"
    assert pipeline.run(text) == ("One two three four five.", None, None)
    assert pipeline.run("a\n") == (
        None,
        "c4_quality:min_sentences=1",
        "too few sentences",
    )
    assert pipeline.run(" \n") == (None, "trim", "no character left")
    assert pipeline.run("") == (None, "empty", "no character")
    counts = pipeline.take_counts()
    assert counts[0] == (3, 30 + 2 + 2, 3, 29 + 2 + 2)
    assert [count.documents_in for count in counts] == [3, 3, 2]
    assert [count.documents_out for count in counts] == [3, 2, 1]
    assert pipeline.take_counts()[0] == (0, 0, 0, 0)


def test_surrogates():
    pipeline = stages.Pipeline([])
    assert pipeline.run("a\ud83d\ude00\ud800b")[0] == "a\U0001f600\ufffdb"
