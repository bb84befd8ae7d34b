"""Stages on poisoned text: no failure, linear time, and no special token."""

import importlib.util
import time

import pytest

from zoo.data import stages
from zoo.text import tokenizer as tokenizers

POISON = {
    "one character": "a",
    "nothing but nul": "\0",
    "newlines": "\n",
    "crlf": "\r\n",
    "spaces": " ",
    "byte order marks": "\ufeff",
    "marks": "\u0301\u0316",
    "bidirectional": "\u202e\u200b\u200f",
    "han": "\u4e2d",
    "replacement": "\ufffd",
    "tags": "<div>x<",
    "open": "<",
    "entities": "&lt;s&gt;",
    "special": "<|endoftext|></s>[SEP]<s>",
    "addresses": "a@b.",
    "digits": "1.",
    "sentence": "Buy this now. ",
    "mojibake": "\u00c3\u00bc",
}
OPTIONAL = {
    "mojibake": "ftfy",
    "language:en": "py3langid",
    "segment:zh": "jieba",
    "tags:zh": "jieba",
    "segment:ja": "unidic_lite",
}
NEEDED = {"segment", "tags", "language", "stem", "bad_words", "mojibake"}
ENTRIES = sorted({*stages.NAMES} - NEEDED) + ["stem:english"]
ENTRIES += [e for e, package in OPTIONAL.items() if importlib.util.find_spec(package)]


def repeated(unit, size):
    """Copies of a unit, `size` bytes of UTF-8 at least."""
    return unit * (size // len(unit.encode()) + 1)


@pytest.fixture(scope="module")
def tokenizer():
    return tokenizers.train(["a b <s> </s> [SEP] endoftext"] * 9, 257)


@pytest.mark.parametrize("entry", ENTRIES)
def test_any_text_is_survived(entry, tokenizer):
    stage = stages.make(entry)
    end = tokenizer.end_id
    for unit in ["", *POISON.values()]:
        for text in (unit, repeated(unit or "x\0y ", 3000), f"\ufeff{unit}x\n{unit}"):
            result = stage(text)
            if isinstance(result, str):
                result.encode()
                assert end not in tokenizer.encode(result[:1000])
    pipeline = stages.Pipeline([entry])
    assert isinstance(pipeline.run("\udc80a \ud800")[0], str | None)


@pytest.mark.long
@pytest.mark.parametrize("entry", ENTRIES)
def test_time_is_linear(entry):
    stage = stages.make(entry)
    stage("warm \u00e9\u4e2d up")
    for name, unit in POISON.items():
        small, large = repeated(unit, 1_000_000), repeated(unit, 10_000_000)
        found = []
        # Other work makes the seconds of the processor longer, too. So the small text
        # is measured before and after the large one, and all again where the ratio is
        # too high.
        while len(found) < 5:
            before, most = _seconds(stage, small), _seconds(stage, large)
            least = max(before, _seconds(stage, small))
            found.append((least, most))
            # Below 0.1 s the time of small things is in the ratio.
            if most <= 12 * max(least, 0.1):
                break
        else:
            pytest.fail(f"{name}: seconds of 1 MB and of 10 MB: {found}")


def _seconds(stage, text):
    """Seconds of the processor."""
    start = time.process_time()
    stage(text)
    return time.process_time() - start
