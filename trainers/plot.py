"""Draws training curves: python -m trainers.plot --workdir=W --output=curve.png

    python -m trainers.plot --workdir=runs/ppo --workdir=runs/grpo --output=curve.png \
        --metric=reward --metric=kl --metric=length

Each metric has a panel, with the lines of all runs that logged it. The metrics of
rollouts need no prefix: `reward` also is `rollout/reward`.

    python -m trainers.plot --attention="a text" --model=runs/translate/model \
        --output=attention.png

draws what each token of an encoder-decoder's greedy answer sees of the source.
"""

import pathlib

from absl import flags

from trainers import metrics_file
from trainers.diagnostics import attention_map
from zoo import command

_WORKDIR = flags.DEFINE_multi_string(
    "workdir", None, "A run, whose curves are drawn; may repeat."
)
_ATTENTION = flags.DEFINE_string(
    "attention", None, "In place of curves: a source for the model."
)
_MODEL = flags.DEFINE_string(
    "model", None, "Of --attention: the directory of an encoder-decoder."
)
_METRIC = flags.DEFINE_multi_string(
    "metric", ["loss"], "What is drawn, such as accuracy or reward; may repeat."
)
_OUTPUT = flags.DEFINE_string("output", None, "A .png or .svg file.", required=True)


def main(argv):
    del argv
    output = pathlib.Path(_OUTPUT.value)
    if output.suffix not in (".png", ".svg"):
        raise ValueError(f"--output: {output}; a file *.png or *.svg allowed.")
    if not output.parent.is_dir():
        raise ValueError(f"--output: {output.parent}: there is no such folder.")
    if (_ATTENTION.value is None) == (not _WORKDIR.value):
        raise ValueError("--workdir, --attention: give one of the two.")
    if (_ATTENTION.value is None) != (_MODEL.value is None):
        raise ValueError("--attention, --model: give both or none.")
    if _ATTENTION.value is not None:
        attention_map.draw(str(_MODEL.value), _ATTENTION.value, output)
        print(output)
        return
    runs = {}
    for workdir in _WORKDIR.value or ():
        path = pathlib.Path(workdir) / "metrics.jsonl"
        try:
            runs[pathlib.Path(workdir).name] = metrics_file.read(path)
        except ValueError as error:
            raise ValueError(f"--workdir: {error}") from None
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    metrics = list(dict.fromkeys(_METRIC.value))
    figure, panels = plt.subplots(
        len(metrics),
        figsize=(7, 1 + 3 * len(metrics)),
        sharex=True,
        squeeze=False,
        layout="constrained",
    )
    for metric, axes in zip(metrics, panels[:, 0], strict=True):
        for name, lines in runs.items():
            for split, style in (("train", "-"), ("eval", "o--")):
                points = _points(lines, split, metric)
                if points:
                    label = f"{name}, {split}"
                    axes.plot(*zip(*points, strict=True), style, label=label)
        if not axes.lines:
            raise ValueError(_nothing(metric, runs))
        axes.set(ylabel="loss (nats a token)" if metrics == ["loss"] else metric)
        axes.grid(alpha=0.3)
        axes.legend()
    panels[-1, 0].set(xlabel="step")
    figure.savefig(output, dpi=110)
    print(output)


def _points(lines, split, metric) -> list[tuple[int, float]]:
    """The steps at which a metric was logged, and its values."""
    return [
        (line["step"], line[name])
        for line in lines
        for name in (metric, f"rollout/{metric}")
        if line["split"] == split and line.get(name) is not None
    ]


def _nothing(metric, runs) -> str:
    """The message for a metric that no run has logged."""
    logged = {
        name.removeprefix("rollout/")
        for lines in runs.values()
        for line in lines
        for name in line.keys() - {"step", "split"}
    }
    if metric == "loss" or not logged:
        return f"--workdir: no {metric} was logged yet in {', '.join(runs)}."
    return (
        f"--metric: {metric!r} was not logged in {', '.join(runs)}; allowed: "
        f"{', '.join(sorted(logged))}."
    )


def run():
    command.run_app(main)


if __name__ == "__main__":
    run()
