"""Each built-in reward on texts as models write them."""

import importlib.util
import json
import lzma
import pathlib
import subprocess
import sys
from fractions import Fraction

import pytest

from trainers.rewards import Sample
from trainers.rewards.functions import BUILT_IN, number

DATA = pathlib.Path(__file__).parents[3] / "../shared/data"
GSM8K = [DATA / f"gsm8k_{part}.jsonl.xz" for part in ("train", "test")]


def scored(name, argument, text, tokens=(1, 2, 3), ended=True, start=1, **example):
    sample = Sample("q", text, list(tokens), ended, example, start)
    return BUILT_IN[name](argument)(sample)


@pytest.mark.parametrize(
    "text, value",
    [
        ("72", 72),
        (" 1,234.50", Fraction(2469, 2)),
        (" $109,200,000", 109200000),
        ("-$5", -5),
        ("$-5", -5),
        ("− 3", -3),
        ("+7", 7),
        (": **18** eggs", 18),
        ("18.", 18),
        (".5", Fraction(1, 2)),
        ("1/2", Fraction(1, 2)),
        ("1/0", None),
        ("5/month", 5),
        ("50%", 50),
        ("1.2.3", None),
        ("1,5", None),
        ("12,34", None),
        ("1/2/3", None),
        ("--3", None),
        ("eggs 18", None),
        ("", None),
        ("9" * 400, None),
    ],
)
def test_number(text, value):
    assert number(text) == value


def test_number_after():
    def score(answer, right="9 duck eggs a day.\n#### 1,450,000"):
        return scored("number_after", "####", answer, answer=right)

    assert score("so #### 1450000") == 1
    assert score("so ####$1,450,000.00 a year") == 1
    assert score("#### 1450000 #### 3") == 1  # as the metric, the first one
    assert score("#### 3 #### 1450000") == 0
    assert score("1450000") == score("####") == score("") == 0
    assert score("#### -1450000") == 0
    assert score("#### 18", right=18) == score("#### 18", right="18") == 1
    assert scored("number_after", "A:|target", "A: 7", target="7") == 1
    with pytest.raises(ValueError, match="'a dozen' has no number after '####'"):
        score("#### 12", right="a dozen")
    with pytest.raises(ValueError, match="no column 'answer'.*target"):
        scored("number_after", "####", "#### 1", target="1")


@pytest.mark.skipif(not GSM8K[0].exists(), reason="the data are not here")
@pytest.mark.parametrize("path", GSM8K, ids=lambda path: path.name)
def test_every_solution_of_gsm8k_is_right(path):
    score = BUILT_IN["number_after"]("####")
    with lzma.open(path, "rt", encoding="utf8") as file:
        rows = [json.loads(line) for line in file]
    for row in rows:
        assert score(Sample(row["question"], row["answer"], [], True, row)) == 1
    others = zip(rows, rows[1:], strict=False)
    same = [score(Sample("", a["answer"], [], True, b)) for a, b in others]
    assert 0 < sum(same) / len(same) < 0.05


def test_exact_answer():
    assert scored("exact_answer", "", " Paris.\n", answer="paris") == 1
    assert scored("exact_answer", "", "In Paris", answer="Paris") == 0
    assert scored("exact_answer", "gold", "ＡＢ  c", gold=["x", "ab C"]) == 1
    assert scored("exact_answer", "", "-5", answer="5") == 0
    assert scored("exact_answer", "", "1.5", answer="15") == 0


def test_regex_and_contains():
    pattern = r"(?s)\A<think>.+</think>\s*\d+\Z"
    assert scored("regex", pattern, "<think>a\nb</think> 12") == 1
    assert scored("regex", pattern, "<think></think> 12") == 0
    assert scored("contains", "a: b", "xa: by") == 1
    assert scored("contains", "a: b", "xA: by") == 0


def test_json_valid():
    assert scored("json_valid", "", ' {"a": [1, null]}\n') == 1
    assert scored("json_valid", "", '{"a": NaN}') == 0
    assert scored("json_valid", "", '{"a": 1} and so on') == 0
    assert scored("json_valid", "", "[" * 100000) == 0
    assert scored("json_valid", "a, b", '{"b": 1, "a": 2, "c": 3}') == 1
    assert scored("json_valid", "a,b", '{"b": 1}') == 0
    assert scored("json_valid", "a", '["a"]') == 0


def test_length():
    # two tokens of the prompt, three of the answer, and its end
    tokens = dict(tokens=range(6), start=2, ended=True)
    assert scored("length", "3", "abc", **tokens) == 0
    assert scored("length", "4", "abc", **tokens) == -0.25
    assert scored("length", "4 tokens", "abc", **{**tokens, "ended": False}) == 0
    assert scored("length", "2 characters", "abc", **tokens) == -0.5


def test_repetition():
    assert scored("repetition", "", "to be or not to be") == 0
    assert scored("repetition", "1", "a A a b") == -0.5
    assert scored("repetition", "2", "a b a b a") == -0.5
    assert scored("repetition", "", "") == 0


@pytest.mark.skipif(
    importlib.util.find_spec("py3langid") is None, reason="py3langid is not installed"
)
def test_language():
    german = "Der Hund läuft schnell durch den großen Wald und freut sich."
    assert scored("language", "de", german) == 1
    assert scored("language", "en", german) == 0
    with pytest.raises(ValueError, match="'english'. .*Allowed: .*en"):
        BUILT_IN["language"]("english")


@pytest.mark.parametrize(
    "name, argument, message",
    [
        ("number_after", "", "empty"),
        ("number_after", " |x", "empty"),
        ("regex", "(", "no pattern: missing"),
        ("regex", "", "empty"),
        ("contains", "", "empty"),
        ("length", "x", "'x', a length such as 50"),
        ("length", "0", "'0', a length such as 50"),
        ("length", "5 lines", "'lines'.*Allowed: characters, tokens"),
        ("repetition", "0", "at least 1"),
    ],
)
def test_wrong_arguments(name, argument, message):
    with pytest.raises(ValueError, match=message):
        BUILT_IN[name](argument)


def test_workers_import_no_tensorflow():
    code = (
        "import sys, trainers.rewards.worker; "
        "assert not {'tensorflow', 'keras', 'numpy'} & set(sys.modules)"
    )
    root = pathlib.Path(__file__).parents[3]
    subprocess.run([sys.executable, "-c", code], check=True, cwd=root)
