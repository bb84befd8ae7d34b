"""The memory that sources need does not grow with their files."""

import gzip
import json
import random
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

SMALL, LARGE = 100_000_000, 1_000_000_000  # bytes of text
READER = """
import re, sys
from zoo.data import sources
size = 0
for part in sources.parts(sys.argv[1]):
    for _, text in sources.texts(part):
        size += len(text)
peak = re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())
print(size, peak[1])
"""


def texts(size):
    """Documents of 2 kB, as many as have about `size` bytes."""
    rng = random.Random(0)
    words = ["".join(rng.choices("abcdefghijklmnop", k=5)) for _ in range(5000)]
    known = [" ".join(rng.choices(words, k=330)) for _ in range(500)]
    for i in range(size // 1986):
        yield f"{i:7d} {known[i % 500]}"


def write_jsonl(path, size):
    with gzip.open(path, "wb", 1) as file:
        for text in texts(size):
            file.write(json.dumps({"text": text}).encode() + b"\n")


def write_csv(path, size):
    with pa.CompressedOutputStream(str(path), "zstd") as file:
        file.write(b"id,text\n")
        for i, text in enumerate(texts(size)):
            file.write(f'{i},"{text}"\n'.encode())


def write_parquet(path, size):
    """All rows in one row group, as pandas writes up to a million rows."""
    table = pa.table({"text": pa.array(texts(size), pa.string())})
    pq.write_table(table, path, row_group_size=len(table))


@pytest.mark.long
@pytest.mark.parametrize(
    "kind, name, write",
    [
        ("jsonl", "a.jsonl.gz", write_jsonl),
        ("csv", "a.csv.zst", write_csv),
        ("parquet", "a.parquet", write_parquet),
    ],
)
def test_memory_is_flat(tmp_path, capsys, kind, name, write):
    peaks = []
    for size in (SMALL, LARGE):
        write(tmp_path / name, size)
        command = [sys.executable, "-c", READER, f"{kind}:{tmp_path}/{name}"]
        made = subprocess.run(command, capture_output=True, text=True, check=True)
        read, peak = map(int, made.stdout.split())
        assert read == pytest.approx(size, rel=0.01)
        peaks.append(peak)
    (tmp_path / name).unlink()
    ratio = peaks[1] / peaks[0]
    with capsys.disabled():
        print(
            f"\n{name}: {peaks[0]} kB for 100 MB, {peaks[1]} kB for 1 GB: {ratio:.3f}"
        )
    assert ratio <= 1.1
