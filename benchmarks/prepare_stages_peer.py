"""Compares gopher_quality, gopher_repetition and c4_quality with datatrove's filters.

Run it by a Python that has datatrove, with this folder's parent in PYTHONPATH:

    python benchmarks/prepare_stages_peer.py --data=FILE.jsonl.xz [--field=text]
    [--limit=N] [--golden=FILE]

datatrove splits words by a tokenizer; here it splits at spaces, as the stages do, and
sentences by the stage's rule. So what is left to compare are the rules. Prints how many
texts both keep, both drop, and only one of them keeps, and the processor time of each
side. `--golden` writes made-up texts and datatrove's decisions on them.
"""

import argparse
import json
import time

from datatrove.data import Document
from datatrove.pipeline.filters import (
    C4QualityFilter,
    GopherQualityFilter,
    GopherRepetitionFilter,
    c4_filters,
    gopher_quality_filter,
    gopher_repetition_filter,
)

from benchmarks.prepare_stages import texts
from zoo.data import stages
from zoo.data.stages import c4

WORDS = "the house of a man and his river to be with that one have green water".split()


def by_spaces(text: str, language: str = "") -> list[str]:
    return text.split()


def by_marks(text: str, language: str = "") -> list[str]:
    return ["x"] * max(1, len(c4._SENTENCE.findall(text)))


def peers():
    """Each rule: the stage's entry, and datatrove's filter of the same thresholds."""
    gopher_quality_filter.split_into_words = by_spaces
    gopher_repetition_filter.split_into_words = by_spaces
    c4_filters.split_into_sentences = by_marks
    return {
        "gopher_quality": GopherQualityFilter(),
        "gopher_repetition": GopherRepetitionFilter(),
        "c4_quality": C4QualityFilter(min_num_sentences=3, min_words_per_line=5),
    }


def keeps(peer, text: str) -> bool:
    """datatrove's decision; it fails on a text without a word, which we drop."""
    try:
        result = peer.filter(Document(text=text, id="0"))
    except (ZeroDivisionError, ValueError):
        return False
    return result is True


def made_up() -> list[str]:
    """Texts around the thresholds: one rule at a time is near its limit."""
    plain = [" ".join(WORDS[(i * i + i // 7) % 16] for i in range(n)) for n in (49, 50)]
    long = " ".join(f"{WORDS[i % 16]}{i} {WORDS[i * 7 % 13]}" for i in range(60))
    found = [*plain, long, long.replace("the", "#"), long.replace(" of", "... of")]
    found += ["\n".join(f"- {line}" for line in long.split(" a "))]
    found += ["\n".join(f"{line} \u2026" for line in long.split(" a "))]
    found += [long.replace("of", "12").replace("the", "3.4"), "x" * 4000, "ab " * 60]
    for again in range(2, 9):  # the same part several times
        part = " ".join(f"w{i}ord" for i in range(again * 3))
        found.append(f"{long} {part} and {part} to {part} be {part} that")
        found.append(
            "\n".join([*(f"Line {i} has words." for i in range(9)), *[part] * again])
        )
        found.append(
            "\n\n".join([*(f"Part {i} is here." for i in range(9)), *[part] * again])
        )
    sentence = "This is one line of five words"
    found += [f"{sentence}.\n{sentence}!\n{sentence}?", f"{sentence}.\n{sentence}\n"]
    found += [f"{sentence}. It has two.\n{sentence} [3]."]
    found += [
        f"{sentence}.\n" * 3 + "Please enable JavaScript to read it.",
        f"Lorem ipsum is {long}.",
    ]
    found += [f"{sentence}.\n" * 3 + "if (a) { b c d e f }.", f"{sentence}...\n" * 4]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="")
    parser.add_argument("--field", default="text")
    parser.add_argument("--limit", type=int, default=0)
    parser.add_argument("--golden", default="")
    given = parser.parse_args()
    if given.golden:
        found = made_up()
        cases = [
            {
                "text": text,
                **{name: keeps(peer, text) for name, peer in peers().items()},
            }
            for text in found
        ]
        with open(given.golden, "w", encoding="utf8") as file:
            json.dump(cases, file, indent=0)
        return
    found = texts(given.data, given.field, 0)[: given.limit or None]
    for name, peer in peers().items():
        stage = stages.make(name)
        stage(found[0])
        start = time.process_time()
        ours = [not isinstance(stage(text), stages.Dropped) for text in found]
        middle = time.process_time()
        theirs = [keeps(peer, text) for text in found]
        end = time.process_time()
        pairs = list(zip(ours, theirs, strict=True))
        print(
            f"{name}: both keep {pairs.count((True, True))}, both drop "
            f"{pairs.count((False, False))}, only the stage keeps "
            f"{pairs.count((True, False))}, only datatrove keeps "
            f"{pairs.count((False, True))}; {middle - start:.1f} s and "
            f"{end - middle:.1f} s"
        )
        print("  differ:", [i for i, (a, b) in enumerate(pairs) if a != b][:20])


if __name__ == "__main__":
    main()
