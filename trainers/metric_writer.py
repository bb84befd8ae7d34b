"""Writes the metrics of a run to metrics.jsonl, TensorBoard and the terminal."""

import json
import math
import pathlib

import rich.console
import rich.progress
import tensorflow as tf


class MetricWriter:
    """Writes metrics to a workdir and shows progress; use it as a context.

    Args:
      workdir: gets metrics.jsonl and tensorboard/.
      step: how many steps are done; later lines are removed, at 0 all lines.
      steps: the last step of the run.
      unit: "tokens" or "rows".
      run: the Run as JSON text, shown in TensorBoard.
    """

    def __init__(self, workdir, step: int, steps: int, unit: str, run: str):
        folder = pathlib.Path(workdir)
        self.path = folder / "metrics.jsonl"
        _cut(self.path, step)
        self.file = self.path.open("a", encoding="utf-8")
        self.writer = tf.summary.create_file_writer(str(folder / "tensorboard"))
        self.console = rich.console.Console()
        self.unit, self.rate = unit, f"{unit}_per_second"
        self.bar = rich.progress.Progress(
            rich.progress.TextColumn("step {task.completed}/{task.total}"),
            rich.progress.BarColumn(),
            rich.progress.TextColumn("{task.description}"),
            rich.progress.TimeRemainingColumn(),
            console=self.console,
            disable=not self.console.is_terminal,
        )
        self.task = self.bar.add_task("", total=steps, completed=step)
        with self.writer.as_default(step):
            tf.summary.text("run", f"```json\n{run}\n```")

    def __enter__(self):
        self.bar.start()
        return self

    def __exit__(self, *_):
        self.bar.stop()
        self.file.close()
        self.writer.close()

    def log(self, step: int, split: str, metrics: dict[str, float]) -> None:
        """Writes one line, and a TensorBoard scalar `split/name` for each metric."""
        # JSON has no NaN
        numbers = {k: v if math.isfinite(v) else None for k, v in metrics.items()}
        line = {"step": step, "split": split, **numbers}
        self.file.write(json.dumps(line) + "\n")
        self.file.flush()
        with self.writer.as_default(step):
            for name, value in metrics.items():
                tf.summary.scalar(f"{split}/{name}", value)
        self.writer.flush()
        shown = {"loss": "{:.4f}", "bits_per_byte": "{:.4f}", "accuracy": "{:.4f}"}
        parts = [
            f"{k} {f.format(metrics[k])}" for k, f in shown.items() if k in metrics
        ]
        if self.rate in metrics:
            parts.append(f"{metrics[self.rate]:,.0f} {self.unit}/s")
        text = "  ".join(parts)
        if split == "train":
            self.bar.update(self.task, completed=step, description=text)
        if split != "train" or not self.console.is_terminal:
            self.say(f"step {step:>6}  {split:<5}  {text}")

    def text(self, step: int, name: str, value: str) -> None:
        """Writes a text to TensorBoard, unless it is empty."""
        if not value:
            return
        with self.writer.as_default(step):
            tf.summary.text(name, value)

    def say(self, line: str) -> None:
        """Prints a line above the progress bar."""
        self.console.print(line, markup=False, highlight=False, soft_wrap=True)


def _cut(path, step: int) -> None:
    """Removes the lines after a step, and a last line that is not complete."""
    if not path.exists():
        return
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
        if step and line.endswith("\n") and json.loads(line)["step"] <= step:
            kept.append(line)
    new = path.with_suffix(".new")
    new.write_text("".join(kept), encoding="utf-8")
    new.rename(path)
