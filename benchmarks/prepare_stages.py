"""Measures how fast stages of `zoo.data.stages` read a text, on one core.

    python benchmarks/prepare_stages.py --data=FILE.jsonl.xz [--field=text]
    [--stages="control;pii:email"] [--cut=CHARACTERS]

Prints MB of UTF-8 for each second of processor time: each stage alone, then all.
"""

import argparse
import json
import lzma
import time

from zoo.data import stages


def texts(path: str, field: str, cut: int) -> list[str]:
    """The texts of a file, in pieces of at most `cut` characters where it is not 0."""
    with lzma.open(path, "rt", encoding="utf8") as file:
        found = [json.loads(line)[field] for line in file]
    if not cut:
        return found
    return [t[i : i + cut] for t in found for i in range(0, len(t), cut)]


def seconds(run, given: list[str]) -> float:
    """The processor time of a function of a text, for all texts."""
    run(given[0])  # tables are made once
    start = time.process_time()
    for text in given:
        run(text)
    return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True)
    parser.add_argument("--field", default="text")
    parser.add_argument("--stages", default=";".join(stages.DEFAULT))
    parser.add_argument("--cut", type=int, default=0)
    given = parser.parse_args()
    found = texts(given.data, given.field, given.cut)
    size = sum(len(text.encode("utf8", "replace")) for text in found) / 1e6
    print(f"{len(found)} texts, {size:.1f} MB")
    entries = given.stages.split(";")
    for entry in entries:
        print(f"{size / seconds(stages.make(entry), found):8.1f} MB/s  {entry}")
    print(f"{size / seconds(stages.Pipeline(entries).run, found):8.1f} MB/s  all")


if __name__ == "__main__":
    main()
