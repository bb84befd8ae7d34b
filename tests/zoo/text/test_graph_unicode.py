import random

import graph_cases
import pytest
import tensorflow as tf
from tokenizers import (
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
)

from zoo.text.in_graph import nfc

BASES = "aeiouAEO你かक\u1100\u1161\u11a8가갂\u1b05\u1b35\u0dd9\u0dcf\u0ddc"


@pytest.fixture(scope="module")
def composed():
    return tf.function(
        nfc.Composed().__call__,
        input_signature=[tf.TensorSpec([None], tf.string)],
        autograph=False,
    )


def random_texts(count):
    """Texts of what composes, what decomposes and marks, in any order."""
    decomposed, pairs, order = nfc.tables()
    kinds = [
        sorted(decomposed),
        sorted(order),
        sorted({first for first, _ in pairs}),
        sorted({second for _, second in pairs}),
        list(map(ord, BASES)),
        [0x300, 0x301, 0x302, 0x304, 0x308, 0x31B, 0x323, 0x327, 0x328, 0x345],
    ]
    rng = random.Random(0)
    return [
        "".join(chr(rng.choice(rng.choice(kinds))) for _ in range(rng.randint(0, 10)))
        for _ in range(count)
    ]


def test_the_tables():
    decomposed, pairs, order = nfc.tables()
    assert decomposed[ord("ế")] == (ord("e"), 0x302, 0x301)
    assert pairs[ord("ê"), 0x301] == ord("ế")
    assert pairs[0x1100, 0x1161] == ord("가")
    assert 0 < order[0x334] < order[0x323] < order[0x301] == order[0x302]
    assert ord("a") not in order
    # The algorithm relies on it: what a starter takes in starts nothing itself.
    seconds = {second for _, second in pairs if second not in order}
    assert seconds.isdisjoint(first for first, _ in pairs)
    assert set(order).isdisjoint(first for first, _ in pairs)


def test_form_c_is_that_of_the_library(composed):
    texts = random_texts(8000)
    wanted = [normalizers.NFC().normalize_str(text) for text in texts]
    assert sum(text != form for text, form in zip(texts, wanted, strict=True)) > 2000
    assert [text.decode() for text in composed(tf.constant(texts)).numpy()] == wanted


def test_long_runs_of_marks(composed):
    texts = ["e\u0301" * 3000, "e" + "\u0301" * 5000, "\u0301\u0323" * 3000]
    wanted = [normalizers.NFC().normalize_str(text) for text in texts]
    assert [text.decode() for text in composed(tf.constant(texts)).numpy()] == wanted


@pytest.mark.long
def test_form_c_of_all_characters(composed):
    points = [*range(0xD800), *range(0xE000, 0x110000)]
    for form in ("{}", "a{}\u0301", "\u0915{}\u0323\u0301"):
        texts = [form.replace("{}", chr(point)) for point in points]
        wanted = [normalizers.NFC().normalize_str(text) for text in texts]
        got = composed(tf.constant(texts)).numpy()
        assert [text.decode() for text in got] == wanted


@pytest.mark.parametrize("lower, strip", [(True, None), (False, True), (False, False)])
def test_marks_that_are_no_accents_stay_in_order(lower, strip):
    # Each character is a token, so that the ids tell all of the normalized text.
    marks = [chr(m) for m in sorted(nfc.tables()[2])]
    letters = ["a", "b", "\u1d158", *marks[::7], "\U0001d165", "\U0001d16e", "\u302e"]
    letters += ["\ua953", "\U0001d16d", "\u0301", "\u094d"]
    tokens = list(dict.fromkeys(["[UNK]", *letters, *(f"##{c}" for c in letters)]))
    tokenizer = Tokenizer(models.WordPiece({t: i for i, t in enumerate(tokens)}))
    tokenizer.normalizer = normalizers.BertNormalizer(
        lowercase=lower, strip_accents=strip
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    rng = random.Random(0)
    texts = ["".join(rng.choices(letters, k=rng.randint(1, 9))) for _ in range(3000)]
    assert graph_cases.Pair(tokenizer.to_str()).differing(texts) == []
