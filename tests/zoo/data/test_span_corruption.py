"""Span corruption: texts, taken apart and put together again."""

import numpy as np
import pytest

from zoo.data import batches
from zoo.data.batches import spans
from zoo.text import tokenizer as tokenizers
from zoo.text.framing import Frame

SENTINELS, END, START, PADDING = list(range(900, 940)), 990, 991, 992
FRAME = Frame([], [END], [])
CORRUPTION = batches.Corruption(0.15, SENTINELS, FRAME, FRAME, START, PADDING)
LENGTHS = [200, 2, 3, 57, 200, 131, 20, 200, 7]
TOKENS = np.arange(sum(LENGTHS), dtype=np.int32) % 800
STARTS = np.cumsum([0, *LENGTHS])


def taken(dataset, count):
    return [{k: v.numpy() for k, v in b.items()} for b in dataset.take(count)]


def examples(made):
    """The source and the target of each row with a weight."""
    for batch in made:
        for i, weights in enumerate(batch["weights"]):
            if weights.any():
                source = batch["source"][i]
                size, length = batch["source_lengths"][i], batch["lengths"][i]
                assert (source[size:] == PADDING).all() and weights.sum() == length
                target = batch["targets"][i, :length]
                read = batch["tokens"][i, :length]
                assert read[0] == START and (read[1:] == target[:-1]).all()
                yield source[:size].tolist(), target.tolist()


def spans_of(target):
    """The spans of a target by their sentinels; the last one has no tokens."""
    assert target.pop() == END
    found = {}
    for token in target:
        if token in SENTINELS:
            found[token] = []
        else:
            found[list(found)[-1]].append(token)
    assert list(found) == SENTINELS[: len(found)]
    assert found.pop(SENTINELS[len(found) - 1]) == []
    return found


def joined(source, found):
    assert source.pop() == END
    return [t for one in source for t in found.get(one, [one])]


def test_texts_come_back_and_each_epoch_has_other_spans():
    made = taken(batches.span_batches(TOKENS, STARTS, CORRUPTION, 3, 5), 60)
    texts, sizes, missing, per_text = [], [], 0, {}
    for source, target in examples(made):
        found = spans_of(target)
        text = tuple(joined(source, found))
        texts.append(text)
        assert all(found.values())
        if len(text) == 200:
            assert len(found) == 10  # of 3 tokens on average
            sizes += [len(span) for span in found.values()]
        missing += sum(map(len, found.values()))
        per_text.setdefault(text, set()).add(str(found))
    wanted = [
        tuple(TOKENS[a:b].tolist())
        for a, b in zip(STARTS[:-1], STARTS[1:], strict=True)
    ]
    assert sorted(texts) == sorted(wanted * 20)
    assert missing / sum(map(len, texts)) == pytest.approx(0.15, abs=0.01)
    assert np.mean(sizes) == 3 and len(set(sizes)) > 5  # of many lengths
    assert len(per_text[wanted[0]]) == 20


def test_every_cut_is_as_likely_as_any_other():
    tokens, starts = np.arange(20, dtype=np.int32), np.array([0, 20])
    many = CORRUPTION._replace(rate=0.3)  # 6 tokens in 2 spans: 5 cuts times 13
    made = taken(batches.span_batches(tokens, starts, many, 50, 1), 40)
    cuts = [
        (len(spans_of(target)[SENTINELS[0]]), source.index(SENTINELS[0]))
        for source, target in examples(made)
    ]
    counts = np.unique(cuts, axis=0, return_counts=True)[1]
    assert len(cuts) == 2000 and len(counts) == 65
    chi = ((counts - 2000 / 65) ** 2 / (2000 / 65)).sum()
    assert chi < 64 + 5 * np.sqrt(2 * 64)


def test_a_batch_is_a_function_of_its_number():
    make = batches.span_batches
    whole = taken(make(TOKENS, STARTS, CORRUPTION, 4, 7), 8)
    parts = taken(make(TOKENS, STARTS, CORRUPTION, 4, 7, start=5), 3)
    for left, right in zip(whole[5:], parts, strict=True):
        assert all(np.array_equal(left[k], right[k]) for k in left)
    once, again = (
        taken(batches.eval_spans(TOKENS, STARTS, CORRUPTION, 4), 9) for _ in range(2)
    )
    assert len(once) == 3 and str(once) == str(again)
    assert sum(1 for _ in examples(once)) == len(LENGTHS)


def test_the_longest_text_fits_and_no_longer_one():
    for source, target in ((64, 64), (64, 9), (5000, 5000)):
        longest = CORRUPTION.longest(source, target)
        fits = [
            np.all(np.less_equal(CORRUPTION.sizes(n), (source, target)))
            and CORRUPTION.counts(n)[1] < len(SENTINELS)
            for n in (longest, longest + 1)
        ]
        assert fits == [True, False]
    assert CORRUPTION.longest(2, 64) == 0


def test_sentinels_are_special_tokens():
    text = ["ab <extra_id_0> " * 9]
    names = [tokenizers.END, "<extra_id_0>", "<extra_id_1>"]
    own = tokenizers.train(text, 262, names)
    assert spans.sentinels_of(own, "here") == [1, 2]
    assert not {1, 2} & set(own.encode(text[0]))
    with pytest.raises(ValueError, match="here: 0 sentinels, and span_corruption"):
        spans.sentinels_of(tokenizers.train(text, 260), "here")
