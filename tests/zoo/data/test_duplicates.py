"""Words as numbers, MinHash, and what is a duplicate of what."""

import itertools
import random
import re

import numpy as np
import pytest

from zoo.data.preparation import duplicates, minhash, units, words

WORDS = [
    791552342201711234,
    1193354131678577796,
    11602083855068779496,
    3930242833959969673,
    5887003943242151975,
]
GRAM = 5276357395428932038
SIGNATURE = [3049944116, 2891291246]


def made(count, size, seed=0, vocabulary=5000):
    """Texts of random words."""
    rng = random.Random(seed)
    return [
        " ".join(f"w{rng.randrange(vocabulary)}" for _ in range(size))
        for _ in range(count)
    ]


@pytest.mark.parametrize(
    "text, expected",
    [
        ("The cat, the CAT!", ["the", "cat", "the", "cat"]),
        ("a1 b-2\tc\n\nd", ["a1", "b", "2", "c", "d"]),
        ("Köln KÖLN é e\u0301", ["köln", "köln", "é", "e\u0301"]),
        ("日本 語abc한글", ["日", "本", "語", "abc", "한", "글"]),
        ("ไทย नमस्ते", ["ไ", "ท", "ย", "नमस्ते"]),
        ("x" * 3000, ["x" * 3000]),
        # the last one stands for no character
        ("\U000310aa\U0002a6d6\U0010ffff", ["\U000310aa", "\U0002a6d6"]),
        ("!? \u200b .", []),
    ],
)
def test_words_are_those_of_a_reader(text, expected):
    found = words.words(["before", text, "", "behind"])
    assert np.diff(found.texts_D).tolist() == [1, len(expected), 0, 1]
    for word, number in zip(expected, found.hashes_W[1:-1], strict=True):
        assert words.words([word]).hashes_W.tolist() == [number]
    assert len(set(found.hashes_W[1:-1].tolist())) == len(set(expected))


def test_numbers_of_words_never_change():
    """Signatures of other machines and later versions must fit."""
    found = words.words(["The king of 日本"])
    assert found.hashes_W.tolist() == WORDS
    assert words.ngrams(found, 5)[0].tolist() == [GRAM]
    assert minhash.signatures(found)[0, :2].tolist() == SIGNATURE


def test_ngrams_are_windows_of_words():
    texts = ["a b c d e f", "", "b c", "x", "c d e f"]
    gram_G, starts_D = words.ngrams(words.words(texts), 3)
    assert starts_D.tolist() == [0, 4, 4, 5, 6, 8]
    assert gram_G[2:4].tolist() == gram_G[6:8].tolist()  # "c d e" and "d e f"
    assert len(set(gram_G.tolist())) == 6


def test_lines_have_the_number_of_their_words():
    texts = ["One, two\n\nthree", "one two\n!\nThree"]
    found = words.words(texts)
    bounds = np.concatenate([[0], found.newlines_N + 1, found.joints_D[-1:]])
    one, none, three, same, marks, again = words.spans(found, bounds).tolist()
    assert one == same and three == again and one != three and none == marks == 0


def test_signatures_estimate_the_similarity_of_sets():
    base = made(1, 400)[0].split()
    for changed in (0, 40, 120, 400):
        other = [*made(1, changed, seed=changed + 1)[0].split(), *base[changed:]]
        sets = [
            {tuple(text[i : i + 5]) for i in range(len(text) - 4)}
            for text in (base, other)
        ]
        true = len(sets[0] & sets[1]) / len(sets[0] | sets[1])
        one, two = minhash.signatures(words.words([" ".join(base), " ".join(other)]))
        estimate = minhash.similarity(one[None], two[None])[0]
        assert abs(estimate - true) < 0.13  # three deviations of 112 draws
    alone = minhash.signatures(words.words([" ".join(base)]))[0]
    assert (alone == one).all()


def test_texts_without_words_are_no_candidates():
    found = minhash.bands(minhash.signatures(words.words(["", "!?", "a", "A."])))
    assert (found[:, :2] == 0).all() and (found[:, 2] != 0).all()
    assert (found[:, 2] == found[:, 3]).all()


def in_units(texts, sizes):
    """The texts cut into units, and the number of each unit's first text."""
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    assert offsets[-1] == len(texts)
    return [texts[a:b] for a, b in itertools.pairwise(offsets)], offsets


@pytest.mark.parametrize("at_once", [3, 1000])
def test_the_first_of_equal_texts_stays(at_once):
    texts = ["a b", "c", "ab", "d", "c ", "A b", "\tc", "e"]
    parts, offsets = in_units(texts, [3, 0, 4, 1])
    found = duplicates.exact(lambda u: units.keys(parts[u]), offsets, at_once)
    assert found.tolist() == [-1, -1, 0, -1, 1, -1, 1, -1]
    assert duplicates.largest(found) == 3


@pytest.mark.parametrize("at_once", [7, 1000])
def test_the_first_of_a_cluster_stays(at_once):
    texts = made(12, 200)
    near = [" ".join([*text.split()[:196], "other", "end"]) for text in texts]
    chain = " ".join([*near[3].split()[4:], "and", "more"])
    half = " ".join([*texts[5].split()[:100], *made(1, 100, 9)[0].split()])
    everything = [*texts, near[7], near[3], half, chain, texts[0].upper(), "", ""]
    parts, offsets = in_units(everything, [5, 9, 5])
    signed = [minhash.signatures(words.words(part)) for part in parts]
    arguments = (
        lambda band, u: minhash.bands(signed[u])[band],
        lambda u: signed[u],
        offsets,
    )
    alive = np.ones(len(everything), bool)
    found = duplicates.near(*arguments, alive, 0.8, at_once)
    assert found.tolist() == [*[-1] * 12, 7, 3, -1, 3, 0, -1, -1]
    alive[0] = False
    assert duplicates.near(*arguments, alive, 0.8, at_once)[16] == -1
    strict = duplicates.near(*arguments, alive | True, 1.0, at_once)
    assert strict.tolist() == [*[-1] * 16, 0, -1, -1]


@pytest.mark.parametrize("at_once", [5, 1000])
@pytest.mark.parametrize("least", [1, 2])
def test_lines_of_earlier_documents_go(least, at_once):
    rng = random.Random(0)
    texts = [
        "\n".join(rng.choice(["a b", "c", "D", "!", ""]) for _ in range(4))
        for _ in range(9)
    ]
    alive = np.array([True] * 4 + [False] + [True] * 4)
    parts, offsets = in_units(texts, [4, 0, 5])

    def hashes(unit):
        if not parts[unit]:
            return np.zeros(0, np.uint64), np.zeros(0, np.int64)
        found = words.words(parts[unit])
        bounds = np.concatenate([[0], found.newlines_N + 1, found.joints_D[-1:]])
        return words.spans(found, bounds), np.full(len(parts[unit]), 4)

    gone = np.concatenate(
        duplicates.lines(hashes, offsets, alive, least, at_once)
    ).reshape(9, 4)
    seen: dict[str, int] = {}
    for number, text in enumerate(texts):
        lines = text.split("\n")
        expected = [
            bool(
                alive[number] and re.search(r"\w", line) and seen.get(line, 0) >= least
            )
            for line in lines
        ]
        assert gone[number].tolist() == expected
        for line in set(lines) if alive[number] else ():
            seen[line] = seen.get(line, 0) + 1
