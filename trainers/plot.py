"""Draws training curves: python -m trainers.plot --workdir=W --output=curve.png"""

import pathlib

from absl import flags

from trainers import metrics_file
from zoo import command

_WORKDIR = flags.DEFINE_multi_string(
    "workdir", None, "A run; may repeat.", required=True
)
_OUTPUT = flags.DEFINE_string("output", None, "A .png or .svg file.", required=True)


def main(argv):
    del argv
    output = pathlib.Path(_OUTPUT.value)
    if output.suffix not in (".png", ".svg"):
        raise ValueError(f"--output: {output}; a file *.png or *.svg allowed.")
    if not output.parent.is_dir():
        raise ValueError(f"--output: {output.parent}: there is no such folder.")
    runs = {}
    for workdir in _WORKDIR.value:
        path = pathlib.Path(workdir) / "metrics.jsonl"
        try:
            runs[pathlib.Path(workdir).name] = metrics_file.read(path)
        except ValueError as error:
            raise ValueError(f"--workdir: {error}") from None
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    for name, lines in runs.items():
        for split, style in (("train", "-"), ("eval", "o--")):
            points = [
                (line["step"], line["loss"])
                for line in lines
                if line["split"] == split and line.get("loss") is not None
            ]
            if points:
                axes.plot(*zip(*points, strict=True), style, label=f"{name}, {split}")
    if not axes.lines:
        raise ValueError(f"--workdir: no loss was logged yet in {', '.join(runs)}.")
    axes.set(xlabel="step", ylabel="loss (nats a token)")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(output, dpi=110)
    print(output)


def run():
    command.run_app(main)


if __name__ == "__main__":
    run()
