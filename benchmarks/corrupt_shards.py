"""Damages shards at random, and looks at what reading them says.

    python -m benchmarks.corrupt_shards --count=1000

Each time, one thing happens to a copy of a small folder: a bit flips, a file is cut, a
block becomes 0 or noise, two files or two records change places, a file grows, is
missing, or comes from another folder. Then the whole folder is read twice.

- With no budget, an error must name the file, and the byte where one record is damaged.
- With a budget, the damaged records must be exactly those whose bytes changed, and all
  other records must have their tokens. What is no record must still be an error.

A reader that takes longer than 20 s counts as a failure.
"""

import collections
import json
import pathlib
import random
import shutil
import signal
import sys
import tempfile

from absl import app, flags

from zoo.data import shards
from zoo.data.damage import Damage
from zoo.data.shards.layout import layout_of
from zoo.text import tokenizer as tokenizers

_COUNT = flags.DEFINE_integer("count", 1000, "How many times a copy is damaged.")
_SEED = flags.DEFINE_integer("seed", 0, "Decides what happens.")

_SECONDS = 20
INDEX = pathlib.Path(shards.INDEX)
_STRIDE = layout_of("uint16").stride


def main(argv):
    del argv
    rng = random.Random(_SEED.value)
    told, failed = collections.Counter(), 0
    with tempfile.TemporaryDirectory() as folder:
        whole, other = (make(pathlib.Path(folder) / x, i) for i, x in enumerate("ab"))
        for number in range(_COUNT.value):
            copy = pathlib.Path(folder) / "copy"
            kind, answer = once(whole, other, copy, rng)
            told[f"{kind}: {answer}"] += 1
            if "FAILED" in answer:
                failed += 1
                print(f"{number}: {kind}: {answer}")
            shutil.rmtree(copy)
    for line, count in sorted(told.items()):
        print(f"{count:5} {line}")
    print(f"{_COUNT.value} times, {failed} failures")
    sys.exit(bool(failed))


def make(folder: pathlib.Path, seed: int) -> pathlib.Path:
    """A folder of small shards, whose tokenizer puts a token before each document."""
    rng = random.Random(seed)
    texts = [
        "".join(rng.choices("abcdefgh ", k=rng.randint(0, 900))) for _ in range(99)
    ]
    plain = tokenizers.train(["".join(texts)], 300, ("<|endoftext|>", "<s>"))
    value = json.loads(plain.json)
    value["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [
            {"SpecialToken": {"id": "<s>", "type_id": 0}},
            {"Sequence": {"id": "A", "type_id": 0}},
        ],
        "pair": [{"Sequence": {"id": x, "type_id": 0}} for x in "AB"],
        "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}},
    }
    tokenizer = tokenizers.Tokenizer(json.dumps(value), plain.config)
    entries: dict[str, list] = {"train": [], "valid": []}
    for number in range(4):
        split = "valid" if number == 3 else "train"
        part = texts[30 * number : 30 * number + 30]
        size, name = sum(map(len, part)), f"{split}-{len(entries[split]):05}"
        ids = tokenizer.encode_batch(part)
        entries[split].append(shards.write(folder, name, ids, tokenizer, size))
    shards.finish(folder, entries, tokenizer)
    return folder


def once(whole, other, copy, rng) -> tuple[str, str]:
    """Damages a copy once; returns what happened to it and what reading it said."""
    while True:
        shutil.copytree(whole, copy)
        kind = rng.choice(list(KINDS))
        KINDS[kind](copy, other, rng)
        changed = [path for path in files_of(whole) if differs(whole, copy, path)]
        if changed:  # a block of zeros may be zero before
            return kind, answer(whole, copy, changed)
        shutil.rmtree(copy)


def answer(whole, copy, changed) -> str:
    """What reading a damaged copy said; "FAILED" where that is wrong."""

    def late(*_):
        raise TimeoutError

    signal.signal(signal.SIGALRM, late)
    signal.alarm(_SECONDS)
    try:
        first = of_error(copy, changed)
        if first.startswith("FAILED"):
            return first
        return f"{first}; budget: {of_budget(whole, copy, changed)}"
    except TimeoutError:
        return f"FAILED: longer than {_SECONDS} s"
    except Exception as error:
        return f"FAILED: {type(error).__name__}: {error}"
    finally:
        signal.alarm(0)


def of_error(copy, changed) -> str:
    """What reading without a budget said."""
    try:
        found = shards.read(copy)
        for split in found.splits:
            stream = found.stream(split)
            for first in range(0, stream.tokens, 1000):
                stream.windows([first], 1001)
    except ValueError as error:
        # an index of another folder is whole, and the other files do not fit it
        names = [*files_of(copy), INDEX] if INDEX in changed else changed
        if not any(str(copy / path) in str(error) for path in names):
            return f"FAILED: names none of {changed}: {error}"
        names_byte = " byte" in str(error)
        if isinstance(error, shards.DamagedRecord):
            return "the record" if names_byte else f"FAILED: no byte: {error}"
        return "the file" + " and the byte" * names_byte
    return f"FAILED: no error for {changed}"


def of_budget(whole, copy, changed) -> str:
    """What reading with a budget said."""
    expected = set()
    for path in changed:
        if path.suffix == ".tfrecord" and (copy / path).exists():
            expected |= {(str(copy / path), i) for i in records(whole, copy, path)}
    others = [path for path in changed if path.suffix != ".tfrecord"]
    try:
        found = shards.read(copy, sizes=False)
    except ValueError as error:
        if any(not (copy / path).exists() for path in changed):
            return "an error, a file is missing"
        if all(path.suffix == ".tfrecord" for path in changed):
            return f"FAILED: {error}"
        return "an error"
    for entries in found.splits.values():
        for entry in entries:
            stem = entry.file.removesuffix(".tfrecord")
            if any(path.name.startswith(f"{stem}.") for path in others):
                count = -(-entry.tokens // shards.RECORD)
                expected |= {(str(copy / entry.file), i) for i in range(count)}
    seen, original = set(), shards.read(whole)
    for split in found.splits:
        damage = Damage(budget=10**6)
        stream, right = found.stream(split, damage), original.stream(split)
        stream.check()
        seen |= damage.records
        first_B = range(0, stream.tokens - 100, 50)
        tokens_BT, weights_BT = stream.windows(first_B, 100)
        right_BT, right_weights_BT = right.windows(first_B, 100)
        if weights_BT is None or right_weights_BT is None:
            return "FAILED: no weights, though a token stands before each document"
        same_B = ((tokens_BT == right_BT) & (weights_BT == right_weights_BT)).all(1)
        if not (same_B | (weights_BT.sum(1) == 0)).all():
            return "FAILED: a window has other tokens"
    if seen != expected:
        return f"FAILED: {len(seen)} records counted, {len(expected)} expected"
    return "the exact count"


def records(whole, copy, path):
    """The records of a file that differ from those that were written."""
    right, wrong = ((folder / path).read_bytes() for folder in (whole, copy))
    for number, first in enumerate(range(0, len(right), _STRIDE)):
        place = slice(first, first + _STRIDE)
        if right[place] != wrong[place]:
            yield number


def files_of(folder):
    """The files of a folder, relative to it; a killed writer leaves no other ones."""
    return sorted(p.relative_to(folder) for p in folder.rglob("*.*") if p.is_file())


def differs(whole, copy, path) -> bool:
    """Whether a file is missing or differs; more bytes at its end differ too."""
    if not (copy / path).exists():
        return True
    return (whole / path).read_bytes() != (copy / path).read_bytes()


# ---- what happens ----


def flip(copy, other, rng):
    path = copy / rng.choice(files_of(copy))
    data = bytearray(path.read_bytes())
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    path.write_bytes(data)


def cut(copy, other, rng):
    path = copy / rng.choice(files_of(copy))
    data = path.read_bytes()
    path.write_bytes(data[: rng.randrange(len(data))])


def zeros(copy, other, rng):
    path = copy / rng.choice(files_of(copy))
    data = bytearray(path.read_bytes())
    first = rng.randrange(len(data))
    size = min(rng.choice([1, 16, 512, 4096, 20_000]), len(data) - first)
    data[first : first + size] = bytes(size)
    path.write_bytes(data)


def noise(copy, other, rng):
    path = copy / rng.choice(files_of(copy))
    data = bytearray(path.read_bytes())
    first = rng.randrange(len(data))
    size = min(rng.choice([2, 512, 4096]), len(data) - first)
    data[first : first + size] = rng.randbytes(size)
    path.write_bytes(data)


def grow(copy, other, rng):
    path = copy / rng.choice(files_of(copy))
    path.write_bytes(path.read_bytes() + rng.randbytes(rng.choice([1, 100, 8208])))


def swap_files(copy, other, rng):
    suffix = rng.choice([".tfrecord", ".documents.npy", ".crc32c.npy"])
    one, two = rng.sample([p for p in files_of(copy) if p.name.endswith(suffix)], 2)
    left, right = (copy / one).read_bytes(), (copy / two).read_bytes()
    (copy / one).write_bytes(right)
    (copy / two).write_bytes(left)


def swap_records(copy, other, rng):
    files = [p for p in files_of(copy) if p.suffix == ".tfrecord"]
    places = []
    for path in rng.choices(files, k=2):
        count = (copy / path).stat().st_size // _STRIDE
        places.append((copy / path, _STRIDE * rng.randrange(count)))
    blocks = [p.read_bytes()[first : first + _STRIDE] for p, first in places]
    for (path, first), block in zip(places, blocks[::-1], strict=True):
        data = bytearray(path.read_bytes())
        data[first : first + _STRIDE] = block
        path.write_bytes(data)


def foreign(copy, other, rng):
    path = rng.choice(files_of(copy))
    shutil.copy(other / path, copy / path)


def missing(copy, other, rng):
    (copy / rng.choice(files_of(copy))).unlink()


KINDS = {
    "a bit flips": flip,
    "a file is cut": cut,
    "a block is 0": zeros,
    "a block is noise": noise,
    "a file grows": grow,
    "two files change places": swap_files,
    "two records change places": swap_records,
    "a file of another folder": foreign,
    "a file is missing": missing,
}


if __name__ == "__main__":
    app.run(main)
