"""What texts cost in memory: no table of rows by the longest.

`python -m benchmarks.tokenizer --families` measures what they cost in time.
"""

import random
import resource

import graph_cases
import pytest

# Families whose encoding differs in more than the pattern that splits words.
FAMILIES = ["gpt2", "qwen2", "llama2", "gemma", "uncased"]


@pytest.mark.parametrize("family", [*FAMILIES, "added"])
def test_a_long_row_makes_no_other_row_long(family):
    pair = graph_cases.pair(family)
    rows = [f"some words {i} of a line" for i in range(2000)]
    letters = random.Random(0).choices("abcdefghijklmnopqrstuvwxyz", k=100_000)
    rows.append("".join(letters) + "".join(map(chr, range(0x400, 0x500))))
    pair.encode(rows[:2])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    ids = pair.encode(rows)
    assert pair.decode(ids)[0] == pair.library.decode(ids[0]).encode()
    # A table of rows by tokens would have a hundred million places.
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 80_000, "kB"
