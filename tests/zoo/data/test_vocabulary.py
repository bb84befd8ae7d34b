"""Tokenizers that are trained on the documents of a preparation."""

import json
import random

import numpy as np
import pytest

from zoo.data.preparation import Recipe, vocabulary, writing
from zoo.data.preparation import recipe as recipes
from zoo.data.preparation.unit_files import UnitFiles

TEXT = "the king said unto the people and they went up to the city by night "
rng = random.Random(0)
WORDS = ["".join(rng.choices("abcdefghij", k=rng.randint(2, 7))) for _ in range(90)]
TEXTS = [TEXT + " ".join(rng.choices(WORDS, k=40)) for _ in range(50)]
STRANGE = [
    "\x00\x7f \u200b\u202e\r\n\t  x",
    "<|endoftext|> the <|endoftext|>",
    "日本語の text 🎉🏽 \U0010ffff",
    "",
]


@pytest.mark.parametrize("algorithm", ["bpe", "unigram"])
def test_every_text_comes_back(algorithm):
    made = vocabulary.train(lambda: iter(TEXTS), 400, algorithm)
    assert made.vocab_size == 400 and made.end_token == "<|endoftext|>"
    pieces = [
        *"  \n\t\0\xe9\u4e2d\U0010ffff<>unk0x41",
        *STRANGE,
        "the",
        "<0x41>",
        "<unk>",
    ]
    mixed = ["".join(rng.choices(pieces, k=rng.randint(1, 30))) for _ in range(500)]
    for text in [*TEXTS[:3], *STRANGE, *mixed]:
        ids = made.encode(text)
        assert made.decode(ids) == text
        assert made.end_id not in ids
    tokens = sum(len(made.encode(text)) for text in TEXTS)
    assert tokens < 0.9 * sum(map(len, TEXTS))


def test_equal_texts_give_equal_pieces():
    """The library's own scores and orders differ from run to run."""
    one, two = (vocabulary.train(lambda: TEXTS, 400, "unigram").json for _ in range(2))
    assert one == two
    pieces = json.loads(one)["model"]["vocab"]
    assert [name for name, _ in pieces[:3]] == ["<unk>", "<0x00>", "<0x01>"]
    scores = [score for _, score in pieces[257:]]
    assert scores == sorted(scores, reverse=True)


def test_rare_characters_and_spaces_are_no_pieces_of_unigram():
    """U+2581 stands for a space, and comes back as one."""
    texts = [*TEXTS, "\u4e2d\u2581the\0"]
    made = vocabulary.train(lambda: texts, 400, "unigram")
    pieces = "".join(piece for piece, _ in json.loads(made.json)["model"]["vocab"])
    assert not set("\u4e2d\0 ") & set(pieces)
    assert made.decode(made.encode(texts[-1])) == "\u4e2d the\0"


def test_a_corpus_that_is_too_small_is_named():
    with pytest.raises(ValueError, match="vocab_size: 5000, but"):
        vocabulary.train(lambda: [TEXT], 5000, "bpe")
    with pytest.raises(ValueError, match="recipe.vocab_size: 5000, but Unigram finds"):
        vocabulary.train(lambda: [TEXT], 5000, "unigram")
    with pytest.raises(ValueError, match="vocab_size: 301, at least 302"):
        recipes.check(Recipe(algorithm="unigram", vocab_size=301))


def test_a_large_corpus_gives_a_sample(tmp_path, monkeypatch):
    """A hash chooses documents; the sample of a lower limit is a part of it."""
    texts = [f"{TEXT}{i}" for i in range(200)]
    rng = np.random.default_rng(0)
    arrays = {
        "sizes": np.array([len(text) for text in texts]),
        "keys": rng.integers(0, 2**63, (200, 2)).astype(np.uint64),
    }
    monkeypatch.setattr(UnitFiles, "array", lambda self, name: arrays[name])
    monkeypatch.setattr(vocabulary, "_training", lambda *_: np.arange(200) % 4 > 0)
    monkeypatch.setattr(
        writing,
        "texts",
        lambda work, number, chosen: [(i, texts[i]) for i in np.flatnonzero(chosen)],
    )
    total = int(arrays["sizes"][np.arange(200) % 4 > 0].sum())
    samples = [
        list(vocabulary.documents(Recipe(tokenizer_chars=limit), tmp_path, 1))
        for limit in (total, total // 2, total // 5)
    ]
    assert samples[0] == [text for i, text in enumerate(texts) if i % 4]
    assert set(samples[2]) < set(samples[1]) < set(samples[0])
    for sample, share in zip(samples, (1, 0.5, 0.2), strict=True):
        assert abs(sum(map(len, sample)) / total - share) < 0.12
