import json
import random

import graph_cases
import pytest
import tensorflow as tf
from tokenizers import Tokenizer, models, trainers

from zoo.text.in_graph.bpe import merges as bpe_merges
from zoo.text.in_graph.bpe import windows as bpe_windows


def vocabulary(seed):
    """Tokens and merges of a few letters, made in one of four ways."""
    rng = random.Random(seed)
    letters = "abcd"[: rng.randint(1, 4)]
    words = ["".join(rng.choices(letters, k=rng.randint(1, 14))) for _ in range(300)]
    if rng.random() < 0.4:
        words += [rng.choice(letters) * rng.randint(2, 40) for _ in range(200)]
    tokenizer = Tokenizer(models.BPE())
    trainer = trainers.BpeTrainer(
        vocab_size=rng.randint(5, 120),
        initial_alphabet=list(letters),
        show_progress=False,
    )
    tokenizer.train_from_iterator(words, trainer)
    ids = tokenizer.get_vocab()
    tokens = sorted(ids, key=ids.get)
    kind = rng.choice(["trained", "shuffled", "all cuts", "late tokens"])
    if kind == "late tokens":
        for _ in range(5):
            tokens.append(tokens.pop(rng.randrange(len(tokens))))
    known = set(tokens)
    merges = [
        (token[:cut], token[cut:])
        for token in tokens
        for cut in range(1, len(token))
        if token[:cut] in known and token[cut:] in known
    ]
    if kind in ("trained", "shuffled"):
        found = models_merges(tokenizer)
        if kind == "shuffled":
            start = rng.randrange(len(found) + 1)
            part = found[start : start + 6]
            rng.shuffle(part)
            found[start : start + 6] = part
        merges = found
    return letters, tokens, merges, rng


def models_merges(tokenizer):
    return [tuple(merge) for merge in json.loads(tokenizer.to_str())["model"]["merges"]]


def check(seed):
    """Asserts that a vocabulary gives the ids of the library."""
    letters, tokens, merges, rng = vocabulary(seed)
    pair = graph_cases.Pair(graph_cases.with_merges(tokens, merges))
    texts = ["".join(rng.choices(letters, k=rng.randint(1, 40))) for _ in range(200)]
    texts += [letter * rng.randint(1, 99) for letter in letters]
    texts += ["".join(rng.choices(letters, k=rng.randint(1, 5))) * 60 for _ in range(4)]
    texts += ["".join(rng.choices(letters, k=600))]
    assert pair.differing(texts) == [], seed
    return bool(pair.graph._family._pairs._ordered is not None)


@pytest.mark.long
def test_words_of_few_letters():
    assert sum(check(seed) for seed in range(12)) > 1


@pytest.mark.long
def test_many_words_of_few_letters():
    assert sum(check(seed) for seed in range(100, 1100)) > 200


def test_a_merge_that_follows_at_once_on_a_later_one():
    # "ab" is made last, and "abc" ranks before it, as some tokens of Llama 3 do.
    tokens = ["a", "b", "c", "d", "cd", "abc", "ab"]
    merges = [("c", "d"), ("ab", "c"), ("a", "b")]
    pair = graph_cases.Pair(graph_cases.with_merges(tokens, merges))
    texts = ["abc", "abcd", "aabc", "abcabc", "cabcab", "abcdabc"]
    assert pair.differing(texts) == []
    assert pair.encode(["abc"]) == [[5]]


def test_merges_whose_order_depends_on_the_text():
    # Behind the first "ab", two merges want the same "a".
    tokens = ["a", "b", "aba", "ab"]
    merges = [("ab", "a"), ("a", "b")]
    pair = graph_cases.Pair(graph_cases.with_merges(tokens, merges))
    texts = ["ababab", "aab", "abaab", "b" + "ab" * 9, "ab" * 400 + "a"]
    assert pair.differing(texts) == []
    assert pair.encode(["abab", "ababa"]) == [[2, 1], [2, 1, 0]]


def longest_first(letter, longest):
    """Tokens of one letter, and merges that make the longest ones first."""
    tokens = [letter * size for size in range(1, longest + 1)]
    merges = [
        (letter * left, letter * (size - left))
        for size in range(longest, 1, -1)
        for left in range(size - 1, 0, -1)
    ]
    return tokens, merges


@pytest.mark.parametrize("longest", [2, 3, 8])
def test_runs_of_spaces_as_gemma_has_them(longest):
    spaces, merges = longest_first("a", longest)
    tokens = [*spaces, "b", "c", "ab", "aab", "bc", "cab"]
    merges += [("b", "c"), ("a", "b"), ("aa", "b"), ("c", "ab")]
    pair = graph_cases.Pair(graph_cases.with_merges(tokens, merges))
    rng = random.Random(0)
    texts = ["a" * count for count in range(70)]
    texts += [
        "".join(rng.choices("aaaaaabc", k=rng.randint(1, 90))) for _ in range(300)
    ]
    assert pair.differing(texts) == []
    # long enough for several windows
    pair.graph._family._pairs._window = 16 * longest
    long = "".join("a" * rng.randint(1, 40) + rng.choice("bc") for _ in range(200))
    assert pair.differing([long, "a" * 5000, "b" + "a" * 2000 + long]) == []


def test_a_run_that_another_merge_comes_before_is_merged_one_by_one():
    # "ab" comes before the runs, so that the last "a" of "aaab" is not of the run.
    runs, merges = longest_first("a", 3)
    tokens = [*runs, "b", "ab"]
    pair = graph_cases.Pair(graph_cases.with_merges(tokens, [("a", "b"), *merges]))
    assert pair.graph._family._pairs._runs is None
    texts = ["a" * count + "b" + "a" * more for count in range(9) for more in range(9)]
    assert pair.differing(texts) == []


def test_only_used_merges_are_kept():
    ids = {"a": 0, "b": 1, "c": 2, "ab": 3, "bc": 4, "abc": 5}
    symbols = {number: [ids[c] for c in token] for token, number in ids.items()}
    merges = [(0, 1, 3), (1, 2, 4), (3, 2, 5), (0, 4, 5)]
    prepared = bpe_merges.prepare(symbols, merges)
    assert prepared.ids == [3, 4, 5]
    assert (0, 4) not in prepared.preempting_ranks
    assert prepared.sizes == [2, 2, 3]
    assert prepared.max_symbols == 3
    assert prepared.single_token_words == set(ids.values())


WORDS = {
    "one letter": lambda rng, n: "a" * n,
    "two in turn": lambda rng, n: "ab" * (n // 2),
    "letters": lambda rng, n: "".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=n)),
    "lines": lambda rng, n: "".join(rng.choices("-=", k=n)),
    "chinese": lambda rng, n: "".join(
        chr(0x4E00 + rng.randrange(3000)) for _ in range(n // 3)
    ),
    "python": lambda rng, n: (graph_cases.text(400_000).replace(" ", "") * 4)[-n:],
}


@pytest.mark.parametrize("kind", list(WORDS))
def test_one_long_word(kind):
    word = WORDS[kind](random.Random(0), 20_000)
    for family in ("gpt2", "llama2"):
        assert graph_cases.pair(family).differing([word]) == []


def small_windows(seed):
    """Long words, merged in windows that are as small as may be."""
    letters, tokens, merges, rng = vocabulary(seed)
    pair = graph_cases.Pair(graph_cases.with_merges(tokens, merges))
    pairs = pair.graph._family._pairs
    pairs._window = 16 * pairs.max_symbols
    texts = ["".join(rng.choices(letters, k=1000)) for _ in range(4)]
    texts += [letter * 999 for letter in letters]
    texts += [rng.choice(letters) + "".join(rng.choices(letters, k=2)) * 500]
    texts += ["".join(rng.choices(letters, k=rng.randint(1, 9))) * 100]
    for text in texts:
        assert pair.differing([text]) == [], seed


def test_windows_give_the_same():
    for seed in range(3):
        small_windows(seed)


@pytest.mark.long
def test_windows_of_many_vocabularies_give_the_same():
    for seed in range(100, 250):
        small_windows(seed)


def from_the_end(symbol_N):
    """Merges two and two, beginning at the end, as no list of merges can."""
    edge = tf.cast(symbol_N[0] == 0, tf.int32)
    count = tf.size(symbol_N) - edge
    one, two = tf.ones([count % 2], tf.int64), tf.fill([count // 2], 2)
    return tf.concat([symbol_N[:edge], one, tf.cast(two, tf.int64)], 0)


@pytest.mark.parametrize("size", [500, 501])
def test_windows_that_do_not_fit_are_found_out(size):
    symbols = tf.constant([0, *[1] * size], tf.int64)
    sizes = tf.constant([1, 1, 2], tf.int64)
    good, merged = bpe_windows.merge(symbols, from_the_end, sizes, 0, 64)
    assert bool(good) == (size == 501)
    wanted = from_the_end(symbols) if good else symbols
    assert merged.numpy().tolist() == wanted.numpy().tolist()
