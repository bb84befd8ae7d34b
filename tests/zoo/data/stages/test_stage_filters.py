"""Filters keep what they should: the peer's decisions, and texts without spaces."""

import json
import pathlib
import random

import pytest

from zoo.data import stages

CASES = json.loads(
    pathlib.Path(__file__).with_name("datatrove.json").read_text(encoding="utf8")
)
REAL = {
    "zh": (
        "北京是中华人民共和国的首都,位于华北平原的北部。这座城市有三千多年的历史,曾经"
        "是辽、金、元、明、清几个朝代的都城。城里有故宫、天坛、颐和园等著名的古迹,每"
        "年有许多游客从世界各地来到这里参观。随着经济的发展,北京的地铁和公路也变得越"
        "来越方便。"
    ),
    "ja": (
        "富士山は静岡県と山梨県にまたがる日本で最も高い山である。古くから信仰の対象と"
        "され、多くの和歌や絵画の題材にもなってきた。夏には登山客でにぎわい、頂上から"
        "眺める日の出は「ご来光」と呼ばれて親しまれている。2013年には世界文化遺産に登"
        "録された。"
    ),
    "ko": (
        "한글은 조선의 세종대왕이 백성들이 쉽게 글을 읽고 쓸 수 있도록 만든 문자이다"
        ". 처음에는 훈민정음이라고 불렸으며, 자음과 모음을 조합하여 소리를 정확하게 "
        "적을 수 있다. 오늘날 한국에서는 해마다 10월 9일을 한글날로 정하여 그 뜻을 기"
        "리고 있다."
    ),
    "de": (
        "Die Donau ist nach der Wolga der zweitlängste Fluss in Europa. Sie "
        "entspringt im Schwarzwald und fließt durch zehn Länder, bevor sie ins "
        "Schwarze Meer mündet. An ihren Ufern liegen vier Hauptstädte, nämlich Wien, "
        "Bratislava, Budapest und Belgrad. Schon die Römer nutzten den Fluss als "
        "Grenze und als Weg für ihren Handel mit dem Osten."
    ),
}
SPAM = {
    "zh": "点击这里免费领取红包," * 20,
    "ja": "今すぐクリックして無料で登録!" * 20,
    "ko": "지금 클릭하고 무료로 받으세요! " * 20,
    "de": "Jetzt kaufen und sofort sparen! " * 20,
    "signs": "★☆★ 100% >>> $$$ !!! " * 30,
}


@pytest.mark.parametrize("name", ["gopher_quality", "gopher_repetition", "c4_quality"])
def test_same_decisions_as_datatrove(name):
    stage = stages.make(name)
    decisions = [not isinstance(stage(case["text"]), stages.Dropped) for case in CASES]
    expected = [case[name] for case in CASES]
    assert len(set(expected)) == 2
    assert decisions == expected


@pytest.mark.parametrize("entry", ["gopher_repetition", "gopher_repetition:dup_5=0.02"])
def test_many_texts_are_decided_as_each_alone(entry):
    """Texts that no bound clears are among them, and some of white space or none."""
    rng = random.Random(0)
    words = [case["text"] for case in CASES][0].split()[:60]
    texts = [case["text"] for case in CASES] + [*REAL.values(), *SPAM.values(), " ", ""]
    for size in range(2, 60):
        given = rng.choices(words[:size], k=rng.randint(1, 150))
        texts += [" ".join(given), "\n".join(given * 2), "\t".join(given[:5])]
    stage = stages.make(entry)
    found = stage.many(texts)
    assert found == [stage(text) for text in texts]
    assert {type(result) for result in found} == {str, stages.Dropped}


@pytest.mark.parametrize("entries", [stages.DEFAULT, ("c4_quality", "bad_lines")])
@pytest.mark.parametrize("language", REAL)
def test_real_text_stays(language, entries):
    text = REAL[language]
    assert stages.Pipeline(entries).run(text) == (text, None, None)


@pytest.mark.parametrize("kind", SPAM)
def test_spam_goes(kind):
    text, stage, reason = stages.Pipeline().run(SPAM[kind])
    assert text is None and stage and reason


@pytest.mark.parametrize(
    "entry, reason",
    [
        ("gopher_quality:min_words=200", "too few words"),
        ("gopher_quality:max_words=60", "too many words"),
    ],
)
@pytest.mark.parametrize("language", ["zh", "ja", "ko"])
def test_characters_are_words(language, entry, reason):
    assert stages.make(entry)(REAL[language]) == stages.Dropped(reason)


def test_repetition_without_spaces():
    # A phrase of 12 characters, each time with other text in between.
    zh = REAL["zh"]
    text = "".join(zh[i : i + 8] + "有限责任公司欢迎您的光临" for i in range(0, 120, 8))
    assert isinstance(stages.make("gopher_repetition")(text), stages.Dropped)
