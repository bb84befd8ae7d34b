"""Our work beside the peers' in one run, with the limits of the machine.

    python -m benchmarks.bench --peer_python=PYTHON --output=runs/bench

Runs the benchmarks below one after the other; each runs its sides in turn, in processes
of their own, and compares losses or outputs first. OUTPUT/figures.md has the table, the
limits and the picture of the ratios. PYTHON has torch and transformers; without it, the
peers are Keras and KerasHub. Nothing else may run on the machine.
"""

import json
import pathlib
import subprocess
import sys

from absl import app, flags

_PEER = flags.DEFINE_string("peer_python", "", "It has torch and transformers.")
_OUTPUT = flags.DEFINE_string("output", "runs/bench", "A folder.")
_ROUNDS = flags.DEFINE_integer("rounds", 5, "Processes of each side.")
_ONLY = flags.DEFINE_list("only", [], "Works to run, by the start of their command.")

WORKS = (
    "training --model=transformer --precision=float32",
    "training --model=transformer --precision=bfloat16",
    "training --model=transformer --determinism",
    "training --model=gpt2 --precision=float32",
    "training --model=lstm --precision=float32",
    "training --model=lstm --precision=bfloat16",
    "training --model=demo",
    "decoding --size=124M --batch=1",
    "decoding --size=124M --batch=8",
    "decoding --size=14M --batch=1",
    "decoding --size=124M --batch=1 --prompt=512 --new=1",
    "encoder_decoder",
)


def main(argv):
    """Runs all works and writes the page."""
    del argv
    folder = pathlib.Path(_OUTPUT.value)
    folder.mkdir(parents=True, exist_ok=True)
    figures = folder / "figures.jsonl"
    figures.unlink(missing_ok=True)
    limits = _run(["benchmarks.limits"])
    for work in WORKS:
        name, *options = work.split()
        if _ONLY.value and not work.startswith(tuple(_ONLY.value)):
            continue
        if name == "encoder_decoder" and not _PEER.value:
            continue  # its only peer is transformers
        options += [f"--rounds={_ROUNDS.value}", f"--figures={figures}"]
        options += [f"--peer_python={_PEER.value}"] if _PEER.value else []
        _run([f"benchmarks.{name}", *options])
        # after each work: the whole takes an hour or more
        rows = [json.loads(line) for line in figures.read_text().splitlines()]
        (folder / "figures.md").write_text(page(limits, rows), "utf-8")
        draw(rows, folder / "ratios.png")
    print(f"written: {folder / 'figures.md'}")


def page(limits: str, rows: list[dict]) -> str:
    """The page in Markdown."""
    lines = ["# Beside the peers", "", "```", limits.strip(), "```", ""]
    lines += ["![The ratios](ratios.png)", ""]
    lines += ["| work | ours | peer | theirs | ratio (interval of 95 %) |"]
    lines += ["|---|---|---|---|---|"]
    for row in rows:
        value, low, high = row["ratio"]
        cells = [row[name] for name in ("work", "ours", "peer", "theirs")]
        cells.append(f"{value:.2f} ({low:.2f} to {high:.2f})")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def draw(rows: list[dict], path) -> None:
    """The ratios with their intervals; right of the line we are faster."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    names = [f"{row['work']}, {row['peer']}" for row in rows]
    values, lows, highs = zip(*(row["ratio"] for row in rows), strict=True)
    errors = (
        [value - low for value, low in zip(values, lows, strict=True)],
        [high - value for value, high in zip(values, highs, strict=True)],
    )
    figure, axes = pyplot.subplots(figsize=(8, 0.4 * len(rows) + 1))
    axes.barh(names, values, xerr=errors, color="tab:blue", capsize=3)
    axes.axvline(1, color="black", linewidth=1)
    axes.invert_yaxis()
    axes.set_xlabel("seconds of the peer / ours")
    figure.tight_layout()
    figure.savefig(path, dpi=100)


def _run(command: list[str]) -> str:
    """Runs a module, prints its output as it comes, and returns it."""
    print(f"python -m {' '.join(command)}", flush=True)
    with subprocess.Popen(
        [sys.executable, "-m", *command], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            print(line, end="", flush=True)
            lines.append(line)
    if process.returncode:
        raise SystemExit(f"python -m {' '.join(command)} failed.")
    return "".join(lines)


if __name__ == "__main__":
    app.run(main)
