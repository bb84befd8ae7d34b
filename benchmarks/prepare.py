"""How fast a preparation is, and how much memory it takes.

    python -m benchmarks.prepare --megabytes=100,1000 [--workers=2] [--near=0.8]
    python -m benchmarks.prepare --file=FILE.jsonl [--field=text]

Without a file, it repeats the documents of a source with other words until there are
so many megabytes. For each size: seconds and MB/s of the stages (clean, filter, find
duplicates, split), of the tokenizer's training, and of the shards; and the peak memory
of all processes together (proportional set size, Linux), while the stages run and in
all.
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import threading
import time

from absl import flags

from zoo import command

_FILE = flags.DEFINE_string("file", "", "A jsonl file; empty makes one.")
_FIELD = flags.DEFINE_string("field", "text", "The field with the text.")
_SOURCE = flags.DEFINE_string(
    "source", "jsonl:../shared/data/sotu.jsonl.xz#text", "What to repeat."
)
_MEGABYTES = flags.DEFINE_list("megabytes", ["100"], "Sizes of the files to make.")
_WORKERS = flags.DEFINE_integer("workers", 2, "Processes.", lower_bound=1)
_NEAR = flags.DEFINE_float("near", 0.0, "As recipe.near.")
_STAGES = flags.DEFINE_bool("stages_only", False, "Stop before the tokenizer.")
_SIDE = flags.DEFINE_string("side", "", "Internal: what a process of its own does.")

_PARAGRAPH = 3000  # characters of a document of the made files, about


def main(argv):
    """Prints the numbers of each file."""
    del argv
    if _SIDE.value:
        print(json.dumps(prepared(json.loads(_SIDE.value))))
        return
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        found = []
        for size in ["0"] if _FILE.value else _MEGABYTES.value:
            path = pathlib.Path(_FILE.value or folder / f"{size}.jsonl")
            if not _FILE.value:
                make(path, float(size) * 1e6)
            found.append(measured(path, folder / f"out-{size}"))
            if not _FILE.value:
                path.unlink()
        if len(found) > 1:
            ratio = found[-1]["stages_peak_MB"] / found[0]["stages_peak_MB"]
            print(f"memory of the stages, last size against first: {ratio:.2f}x")


def make(path: pathlib.Path, size: float) -> None:
    """Writes a file of documents of about 3,000 characters, all of them different."""
    from zoo.data import sources

    texts = sources.documents(_SOURCE.value)
    documents = [
        text[i : i + _PARAGRAPH]
        for text in texts
        for i in range(0, len(text), _PARAGRAPH)
    ]
    written = number = 0
    with open(path, "w", encoding="utf-8") as file:
        while written < size:
            text = documents[number % len(documents)]
            turn = number // len(documents)
            # other words in each repetition, or MinHash finds them all
            words = [
                f"{word}{turn}" if turn and i % 4 == turn % 4 else word
                for i, word in enumerate(text.split(" "))
            ]
            text = " ".join(words)
            file.write(json.dumps({"text": text}, ensure_ascii=False) + "\n")
            written += len(text.encode())
            number += 1


def measured(path: pathlib.Path, output: pathlib.Path) -> dict:
    """Prepares a file in processes of their own; prints and returns the numbers."""
    given = {"source": f"jsonl:{path}#{_FIELD.value}", "output": str(output)}
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "benchmarks.prepare",
            f"--side={json.dumps(given)}",
            f"--workers={_WORKERS.value}",
            f"--near={_NEAR.value}",
            f"--stages_only={_STAGES.value}",
        ],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    peaks = {"stages": 0.0, "all": 0.0}

    def watch():
        while process.poll() is None:
            size = memory(process.pid)
            peaks["all"] = max(peaks["all"], size)
            if not (output / "work/decisions").exists():
                peaks["stages"] = max(peaks["stages"], size)
            time.sleep(0.1)

    watcher = threading.Thread(target=watch)
    watcher.start()
    out, _ = process.communicate()
    watcher.join()
    if process.returncode:
        raise SystemExit(process.returncode)
    found = json.loads(out.splitlines()[-1])
    found["stages_peak_MB"] = round(peaks["stages"], 1)
    found["peak_MB"] = round(peaks["all"], 1)
    for name, value in found.items():
        print(f"{name:28} {value}")
    return found


def memory(group: int) -> float:
    """The memory of all processes of a group, shared pages counted once, in MB."""
    total = 0
    for name in os.listdir("/proc"):
        try:
            if name.isdigit() and os.getpgid(int(name)) == group:
                text = pathlib.Path(f"/proc/{name}/smaps_rollup").read_text()
                (line,) = [x for x in text.splitlines() if x.startswith("Pss:")]
                total += int(line.split()[1])
        except (OSError, ValueError):  # it ended
            continue
    return total / 1024


class Stopped(BaseException):
    """The stages are done, and no more is wanted."""


def prepared(given: dict) -> dict:
    """Prepares a file, and says how long each step took."""
    from zoo.data import preparation
    from zoo.data.preparation import decisions, runner, vocabulary

    times = {"start": time.perf_counter(), "cpu": os.times()}

    def marked(name, function):
        def run(*arguments):
            result = function(*arguments)
            times[name] = time.perf_counter()
            return result

        return run

    decisions.decide = marked("stages", decisions.decide)
    vocabulary.train = marked("tokenizer", vocabulary.train)
    if _STAGES.value:

        def stop(*_):
            raise Stopped

        runner.make_tokenizer = stop
    recipe = preparation.Recipe(
        source=given["source"], near=_NEAR.value, vocab_size=4096
    )
    size = os.path.getsize(given["source"].split(":", 1)[1].split("#")[0]) / 1e6
    try:
        preparation.run(recipe, given["output"], _WORKERS.value)
    except Stopped:
        pass
    times["end"] = time.perf_counter()
    before, after = times["cpu"], os.times()
    seconds = times["stages"] - times["start"]
    found = {
        "MB": round(size, 1),
        "stages_seconds": round(seconds, 2),
        "stages_MB_per_second": round(size / seconds, 2),
    }
    if not _STAGES.value:
        found["tokenizer_seconds"] = round(times["tokenizer"] - times["stages"], 2)
        found["shards_seconds"] = round(times["end"] - times["tokenizer"], 2)
    cpu = sum(after[:4]) - sum(before[:4])
    return {**found, "cpu_seconds": round(cpu, 2)}


if __name__ == "__main__":
    command.run_app(main)
