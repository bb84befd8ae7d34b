"""Writes the metrics of a run to metrics.jsonl, TensorBoard and the terminal."""

import json
import math
import pathlib
from typing import Any

import rich.console
import rich.progress
import tensorflow as tf
from tensorboard.plugins.hparams import api as hparams

from trainers import event_files, metrics_file
from trainers.diagnostics import layouts, warnings

_ABOUT = {
    "accuracy": "The share of examples whose label has the highest probability.",
    "bits_per_byte": "The loss of the whole text in bits, by its bytes in UTF-8.",
    "data_wait": "The share of time that steps waited for data.",
    "ece": "How far the probability of an answer is from the share of right answers.",
    "entity_f1": "The F1 of entities: type, beginning and end must be right.",
    "grad_norm": "The global norm of the gradient before clipping.",
    "loss": "The weighted mean of the loss, in nats; in training with penalties.",
    "lr": "The learning rate.",
    "macro_f1": "The mean of the F1 of each class.",
    "matthews": "Matthews' correlation of labels and answers, -1 to 1.",
    "mse": "The mean squared error.",
    "pearson": "The correlation of labels and answers, -1 to 1.",
    "perplexity": "e to the loss a token.",
    "reward": "The mean reward of greedy answers to the held-out prompts.",
    "rollout/decoding_error": "How far log-probabilities of decoding and training are.",
    "rollout/entropy": "The entropy of the policy in nats a token, at temperature 1.",
    "rollout/groups_without_variance": "The share of prompts with equal rewards.",
    "rollout/kl": "log policy - log reference, summed over an answer, in nats.",
    "rollout/length": "The tokens of an answer, with its end.",
    "rollout/missing_end": "The share of answers without an end token.",
    "rollout/reward": "The mean reward of sampled answers.",
    "rollout/reward_std": "The standard deviation of the rewards of a rollout.",
    "rollout/rounds": "How often a rollout sampled to find prompts of unequal rewards.",
    "rows_per_second": "Rows of training, without evaluation and checkpoints.",
    "skipped": "The share of steps that changed nothing: no weight, or not finite.",
    "spearman": "The correlation of the ranks of labels and answers, -1 to 1.",
    "tokens_per_second": "Tokens of training, without evaluation and checkpoints.",
    "weight": "The sum of the weights of a batch.",
}
_SHOWN = ("loss", "bits_per_byte", "accuracy", "reward", "rollout/reward")


class MetricWriter:
    """Writes metrics to a workdir and shows progress; use it as a context.

    Args:
      workdir: gets metrics.jsonl and tensorboard/.
      step: how many steps are done; what was written later is removed, at 0 all.
      steps: the last step of the run.
      unit: "tokens" or "rows".
      run: the Run as JSON, shown in TensorBoard as a text and as hyperparameters.

    Raises:
      ValueError: metrics.jsonl is broken; the message names the file and the line.
    """

    def __init__(self, workdir, step: int, steps: int, unit: str, run: dict[str, Any]):
        folder = pathlib.Path(workdir)
        self.path = folder / "metrics.jsonl"
        metrics_file.cut(self.path, step)
        self.file = self.path.open("a", encoding="utf-8")
        event_files.cut(folder / "tensorboard", step)
        self.writer = tf.summary.create_file_writer(str(folder / "tensorboard"))
        self.console = rich.console.Console()
        self.unit, self.rate = unit, f"{unit}_per_second"
        # only answers that the model samples go wrong in the ways that are known
        self.longest_answer = run["objective"].get("max_new_tokens", 0)
        self.first: dict[str, float] = {}
        self.warned: set[str] = set()
        self.bar = rich.progress.Progress(
            rich.progress.TextColumn("step {task.completed}/{task.total}"),
            rich.progress.BarColumn(),
            rich.progress.TextColumn("{task.description}"),
            rich.progress.TimeRemainingColumn(),
            console=self.console,
            disable=not self.console.is_terminal,
        )
        self.task = self.bar.add_task("", total=steps, completed=step)
        if not step:
            with self.writer.as_default(0):
                tf.summary.text("run", f"```json\n{json.dumps(run, indent=2)}\n```")
                hparams.hparams(_flat(run))
                if record := layouts.record(run["objective"]["name"]):
                    tf.summary.experimental.write_raw_pb(record, 0)

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
                about = _ABOUT.get(name)
                tf.summary.scalar(f"{split}/{name}", value, description=about)
        self.writer.flush()
        parts = [f"{k} {metrics[k]:.4f}" for k in _SHOWN if k in metrics]
        if self.rate in metrics:
            parts.append(f"{metrics[self.rate]:,.0f} {self.unit}/s")
        text = "  ".join(parts)
        if split == "train":
            self.bar.update(self.task, completed=step, description=text)
        if split != "train" or not self.console.is_terminal:
            self.say(f"step {step:>6}  {split:<5}  {text}")
        if split == "train":
            self._warn(step, metrics)

    def _warn(self, step, metrics):
        """Says once what goes wrong in a known way, and what to change."""
        if not self.longest_answer:
            return
        if not self.first:
            lines = metrics_file.read(self.path)  # also of an earlier process
            line = next(line for line in lines if line["split"] == "train")
            self.first = {k: v for k, v in line.items() if isinstance(v, int | float)}
        for found in warnings.of_line(metrics, self.first, self.longest_answer):
            if found.name not in self.warned:
                self.warned.add(found.name)
                self.say(f"step {step:>6}  warning: {found.text}")
                self.text(step, f"warning/{found.name}", found.text)

    def text(self, step: int, name: str, value: str) -> None:
        """Writes a text to TensorBoard, unless it is empty."""
        if not value:
            return
        with self.writer.as_default(step):
            tf.summary.text(name, value)

    def pictures(self, step: int, pictures: dict[str, bytes]) -> None:
        """Writes pictures, PNGs by name, to TensorBoard."""
        with self.writer.as_default(step):
            for name, png in pictures.items():
                tf.summary.image(name, tf.io.decode_png(png, channels=3)[None])

    def graph(self, step_of, batch) -> None:
        """Writes the graph of the Step, a tf.function, to TensorBoard."""
        with self.writer.as_default(0):
            tf.summary.graph(step_of.get_concrete_function(batch).graph)

    def say(self, line: str) -> None:
        """Prints a line above the progress bar."""
        self.console.print(line, markup=False, highlight=False, soft_wrap=True)


def _flat(value: dict[str, Any], prefix="") -> dict[str, Any]:
    """The fields of a Run by their paths, with values that HParams can show."""
    found = {}
    for key, item in value.items():
        if isinstance(item, dict):
            found |= _flat(item, f"{prefix}{key}.")
        else:
            simple = isinstance(item, bool | int | float | str)
            found[f"{prefix}{key}"] = item if simple else json.dumps(item)
    return found
