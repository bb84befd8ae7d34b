"""Draws training curves: python -m trainers.plot --workdir=W --output=curve.png"""

import json
import pathlib

from absl import flags

from zoo import command

_WORKDIR = flags.DEFINE_multi_string(
    "workdir", None, "A run; may repeat.", required=True
)
_OUTPUT = flags.DEFINE_string("output", None, "A .png or .svg file.", required=True)


def main(argv):
    del argv
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    for workdir in _WORKDIR.value:
        path = pathlib.Path(workdir) / "metrics.jsonl"
        if not path.is_file():
            raise ValueError(f"--workdir: {path}: there is no such file.")
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        name = pathlib.Path(workdir).name
        for split, style in (("train", "-"), ("eval", "o--")):
            points = [
                (row["step"], row["loss"])
                for row in rows
                if row["split"] == split and row.get("loss") is not None
            ]
            if points:
                axes.plot(*zip(*points, strict=True), style, label=f"{name}, {split}")
    axes.set(xlabel="step", ylabel="loss (nats a token)")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(_OUTPUT.value, dpi=110)
    print(_OUTPUT.value)


def run():
    command.run_app(main)


if __name__ == "__main__":
    run()
