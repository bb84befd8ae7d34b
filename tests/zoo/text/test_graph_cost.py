"""What texts cost: time linear in their bytes, and no table of rows by the longest."""

import random
import resource
import time

import graph_cases
import pytest
import tensorflow as tf

# Families whose encoding differs in more than the pattern that splits words.
FAMILIES = ["gpt2", "qwen2", "llama2", "gemma", "uncased"]


def of(letters):
    return lambda size: "".join(random.Random(0).choices(letters, k=size))


def again(text):
    return lambda size: (text * (1 + size // len(text)))[:size]


KINDS = {
    "prose": lambda size: again(graph_cases.text(1_200_000)[:600_000])(size),
    "no spaces": lambda size: again(graph_cases.text(400_000).replace(" ", ""))(size),
    "one letter": again("a"),
    "letters": of("abcdefghijklmnopqrstuvwxyz"),
    "two in turn": lambda size: " x" + again("ab")(size),
    "spaces": again(" "),
    "lines": again("\n"),
    "digits": of("0123456789"),
    "chinese": lambda size: of("".join(map(chr, range(0x4E00, 0x9000))))(size // 3),
    "marks": lambda size: of(["e\u0301", "e\u0323\u0301", "e\u0301\u0323"])(size // 5),
    "emoji": lambda size: of("😀😁😂🤣😃😄😅😆")(size // 4),
    "specials": again("<|im_start|><|endoftext|>"),
    "punctuation": of("!?.,;:()[]{}'\"-"),
}


def seconds(encode, text):
    tensor = tf.constant([text])
    times = []
    while len(times) < 3 or (len(times) < 50 and sum(times) < 0.5):
        start = time.process_time()
        encode(tensor)
        times.append(time.process_time() - start)
    return min(times) / len(text.encode())


@pytest.mark.long
@pytest.mark.parametrize("kind", list(KINDS))
@pytest.mark.parametrize("family", FAMILIES)
def test_a_byte_of_a_long_text_costs_what_it_costs_in_a_short_one(family, kind):
    encode = graph_cases.pair(family)._encode[False]
    encode(tf.constant(["a b"]))
    short, long = (seconds(encode, KINDS[kind](n)) for n in (10_000, 1_000_000))
    assert long <= 1.2 * short


@pytest.mark.parametrize("family", [*FAMILIES, "added"])
def test_a_long_row_makes_no_other_row_long(family):
    pair = graph_cases.pair(family)
    rows = [f"some words {i} of a line" for i in range(2000)]
    rows.append(KINDS["letters"](100_000) + "".join(map(chr, range(0x400, 0x500))))
    pair.encode(rows[:2])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    ids = pair.encode(rows)
    assert pair.decode(ids)[0] == pair.library.decode(ids[0]).encode()
    # A table of rows by tokens would have a hundred million places.
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 80_000, "kB"
