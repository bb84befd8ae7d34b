"""The words of a text in the graph: their places, and the first token of each."""

import functools
import random

import graph_cases
import pytest
import tensorflow as tf

from zoo.saved_model.request_checks import require
from zoo.text.in_graph.word_tokens import WordTokens

SPACES = (" ", "  ", "\n", "\t ", "\xa0", "\u3000", "\x1c", "\u2009\r\n")
WORDS = (
    "the unhappy man hi hi x= don't 12,345 é\u0323y éß 你好 😀! ▁a▁ Ġx ##a"
    " A\u0323\u0301 "
    "_(x)_ [MASK] <s> \u0301 \u200d가 ΣΑΣ 0x41 \ufeff <|im_end|> 가나 \u1161"
).split(" ")
QUICK = ("prefix", "qwen2", "mistral", "uncased")
# "llama-added" puts a space behind each added token, which is refused below
SLOW = sorted({*graph_cases.FAMILIES} - {*QUICK, "llama-added"})


@functools.cache
def finder(family):
    words = WordTokens(graph_cases.pair(family).graph)
    return tf.function(
        lambda text_B: words(text_B, require),
        input_signature=[tf.TensorSpec([None], tf.string)],
        autograph=False,
    )


def cases(seed, count=40):
    """Lists of words, and texts with them that have other white space."""
    rng = random.Random(seed)
    lists = [[], *(rng.choices(WORDS, k=rng.randint(1, 12)) for _ in range(count))]
    texts = []
    for words in lists:
        text = rng.choice(("", *SPACES))
        for word in words:
            text += word + rng.choice(SPACES)
        texts.append(text.rstrip() if rng.random() < 0.5 else text)
    return lists, texts


def first_tokens(library, words):
    """The tokens, and the first of each word by the library's offsets."""
    encoding = library.encode(" ".join(words), add_special_tokens=False)
    found, start, place = [], 0, 0
    for word in words:
        while place < len(encoding) and encoding.offsets[place][1] <= start:
            place += 1
        end = start + len(word)
        missing = place == len(encoding) or encoding.offsets[place][0] >= end
        found.append(-1 if missing else place)
        start = end + 1
    return encoding.ids, found


@pytest.mark.parametrize(
    "family", [*QUICK, *(pytest.param(name, marks=pytest.mark.long) for name in SLOW)]
)
def test_first_tokens_are_those_of_the_library(family):
    library = graph_cases.pair(family).library
    library.encode_special_tokens = True
    lists, texts = cases(sum(map(ord, family)))
    found = finder(family)(tf.constant(texts))
    ids, first = found.ids.to_list(), found.first.to_list()
    for row, words in enumerate(lists):
        wanted = first_tokens(library, words)
        assert (ids[row], first[row]) == wanted, words


def test_places_are_bytes_of_the_text_given():
    lists, texts = cases(1)
    found = finder("prefix")(tf.constant(texts))
    places = zip(found.start.to_list(), found.end.to_list(), strict=True)
    for text, words, (starts, ends) in zip(texts, lists, places, strict=True):
        raw = text.encode()
        cut = [raw[a:b].decode() for a, b in zip(starts, ends, strict=True)]
        assert cut == words == text.split()


@pytest.mark.long
def test_refuses_a_text_that_its_tokens_do_not_spell():
    with pytest.raises(tf.errors.InvalidArgumentError, match="text: row 1 has"):
        finder("llama-added")(tf.constant(["hi", "a <x> b"]))
