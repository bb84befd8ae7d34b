"""Stop strings: found across tokens, cut off the text, each row by its own."""

import dataclasses
import functools
import random

import pytest
import tensorflow as tf

from zoo import models
from zoo.decode import generate
from zoo.decode.stop_strings import Stops
from zoo.directory import GenerationConfig

# one token a letter, and some that hold several bytes, a half character, or none
PIECES = [b"", *(bytes([c]) for c in b"abcdefgh"), b"xyz", b"\xe2\x82", b"\xac", b"a\n"]


def pieces(tokens):
    return tf.gather(tf.constant(PIECES), tokens)


def ids(*texts):
    return [[PIECES.index(piece) for piece in text] for text in texts]


def letters(text):
    return [letter.encode() for letter in text]


@functools.partial(
    tf.function,
    input_signature=[
        tf.TensorSpec([None, None], tf.int32),
        tf.TensorSpec([None], tf.int32),
        tf.TensorSpec([None, None], tf.string),
    ],
)
def completed(tokens, counts, stop):
    return Stops(stop, pieces)(tokens, counts)


def stopped(rows, stop):
    """After how many tokens each row stops, or None."""
    longest = max(map(len, rows))
    tokens = tf.constant([row + [0] * (longest - len(row)) for row in rows])
    found = [None] * len(rows)
    for count in range(1, longest + 1):
        counts = tf.minimum(count, [len(row) for row in rows])
        hits = completed(tokens, counts, tf.constant(stop))
        for i, hit in enumerate(hits.numpy().tolist()):
            if hit and found[i] is None and count <= len(rows[i]):
                found[i] = count
    return found


@pytest.mark.parametrize(
    "text, stop, wanted",
    [
        (letters("abcabd"), ["abd"], 6),
        (letters("abcabd"), ["c"], 3),
        (letters("abcabd"), ["d", "bc"], 3),
        (letters("aaab"), ["aab"], 4),
        (letters("abc"), ["abcd", "", ""], None),
        (letters("ab"), ["", ""], None),
        ([b"a", b"xyz"], ["y"], 2),
        ([b"a", b"xyz"], ["axyz"], 2),
        ([b"a", b"xyz", b"b"], ["zb"], 3),
        ([b"\xe2\x82", b"\xac"], ["€"], 2),
        ([b"\xe2\x82", b"a"], ["€"], None),
        ([b"a\n", b"a\n"], ["\na"], 2),
        ([b"a", b"", b"", b"b"], ["ab"], 4),
    ],
)
def test_when(text, stop, wanted):
    assert stopped(ids(text), [stop]) == [wanted]


def test_each_row_has_its_own():
    rows = ids(letters("abcdef"), letters("abcdef"), letters("ab"), letters("abcdef"))
    stop = [["cd", ""], ["", ""], ["b", "a"], ["ef", "fe"]]
    assert stopped(rows, stop) == [4, None, 1, 6]


def test_against_a_plain_search():
    rng = random.Random(0)
    for _ in range(40):
        text = [rng.choice("abc").encode() for _ in range(12)]
        stop = ["".join(rng.choices("abc", k=rng.randint(1, 5))) for _ in range(3)]
        joined = b"".join(text).decode()
        ends = [
            n for n in range(1, 13) if any(joined[:n].endswith(one) for one in stop)
        ]
        assert stopped(ids(text), [stop]) == [ends[0] if ends else None]


def test_cut():
    rows = ids(letters("abcd") + [b""], [b"", b"", b"", b"a", b"xyz"])
    stops = Stops(tf.constant([["cd"], ["y"]]), pieces)
    text = tf.constant(["abcd", "axyz"])
    cut = stops.cut(text, tf.constant(rows), tf.constant([4, 5]))
    assert cut.numpy().tolist() == [b"ab", b"ax"]
    none = Stops(tf.constant([[""], [""]]), pieces)
    kept = none.cut(text, tf.constant(rows), tf.constant([4, 5])).numpy().tolist()
    assert kept == [b"abcd", b"axyz"]


def test_generate(tokenizer):
    model = models.build("gru_lm", vocab_size=300, width=16, units=16)
    free = GenerationConfig(max_new_tokens=30, temperature=1.0, seed=3)
    (whole,) = generate(model, tokenizer, ["abc"], free)
    stop = next(letter for letter in whole.text[5:] if letter.isascii())
    bound = dataclasses.replace(free, stop=("never there", stop))
    (cut,) = generate(model, tokenizer, ["abc"], bound)
    assert cut.text == whole.text[: whole.text.index(stop)]
    assert cut.finish_reason == "stop" and cut.tokens == whole.tokens[: len(cut.tokens)]
    (unbound,) = generate(model, tokenizer, ["abc"], dataclasses.replace(free, stop=()))
    assert unbound == whole
