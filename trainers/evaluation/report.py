"""Reports of evaluations: lines for people, JSON, Markdown and TensorBoard."""

import pathlib
from typing import Any

import numpy as np
import tensorflow as tf

from trainers.evaluation import confusion_matrix
from trainers.evaluation.measured import Evaluated
from zoo import files
from zoo.metrics import bootstrap

LEVEL = 0.95  # of all intervals


def summary(
    evaluated: Evaluated, seed: int = 0, resamples: int = 1000
) -> dict[str, Any]:
    """An evaluation as JSON: each number with its interval.

    Args:
      evaluated: what was found.
      seed: of the bootstrap.
      resamples: of the bootstrap.
    """
    metrics = {}
    for name, measured in evaluated.measures.items():
        low, high = bootstrap.interval(
            measured.rows_N, measured.measure, seed, resamples, LEVEL
        )
        metrics[name] = {"value": measured.value, "low": low, "high": high}
        if measured.signature:
            metrics[name]["signature"] = measured.signature
    found = {"about": evaluated.about, **evaluated.facts, "metrics": metrics}
    if evaluated.confusion_CC is not None:
        counts = evaluated.confusion_CC.tolist()
        found["confusion"] = {"labels": list(evaluated.labels), "counts": counts}
    return found


def lines(found: dict[str, Any]) -> str:
    """The summary for a terminal."""
    metrics = found["metrics"]
    values = "  ".join(f"{name} {m['value']:.4f}" for name, m in metrics.items())
    ranges = "  ".join(
        f"{name} {m['low']:.4f} to {m['high']:.4f}" for name, m in metrics.items()
    )
    signatures = "".join(
        f"\n{name}: {m['signature']}" for name, m in metrics.items() if "signature" in m
    )
    return f"{found['about']}\n{values}\n{LEVEL:.0%} intervals: {ranges}{signatures}"


def markdown(found: dict[str, Any]) -> str:
    """The summary as a page: a table of the numbers, and the confusion matrix."""
    page = [found["about"], ""]
    rows = [
        [name, f"{m['value']:.4f}", f"{m['low']:.4f} to {m['high']:.4f}"]
        for name, m in found["metrics"].items()
    ]
    page += table(["metric", "value", f"{LEVEL:.0%} interval"], rows)
    for name, metric in found["metrics"].items():
        if "signature" in metric:
            page += ["", f"{name}: `{metric['signature']}`"]
    if "confusion" in found:
        labels, counts = found["confusion"]["labels"], found["confusion"]["counts"]
        page += ["", "Rows are the right classes, columns the answers.", ""]
        body = [
            [label, *map(str, row)] for label, row in zip(labels, counts, strict=True)
        ]
        page += table(["", *labels], body)
    return "\n".join(page) + "\n"


def check(output: str) -> None:
    """Refuses an output that could not be written.

    Raises:
      ValueError: a file that exists, or a folder that is not empty.
    """
    if pathlib.Path(output).suffix in (".json", ".md"):
        files.refuse_existing(output)
    else:
        files.refuse_full(output)
    files.check_room(output, 0)


def write(
    output: str, found: dict[str, Any], page: str, name: str = "evaluation"
) -> None:
    """Writes a summary: a .json or .md file, or a folder with both and TensorBoard.

    Args:
      output: a file *.json or *.md, or a new or empty folder.
      found: the summary; where it has a confusion matrix of at most 40 classes, the
        folder has its picture.
      page: the summary as Markdown.
      name: of the files in the folder.

    Raises:
      ValueError: as `check`, or the system cannot write.
    """
    path = pathlib.Path(output)
    if path.suffix == ".json":
        with files.staged_file(path) as new:
            files.write_json(new, found)
        return
    if path.suffix == ".md":
        with files.staged_file(path) as new:
            new.write_text(page, encoding="utf-8")
        return
    with files.staged(path) as folder:
        files.write_json(folder / f"{name}.json", found)
        (folder / f"{name}.md").write_text(page, encoding="utf-8")
        writer = tf.summary.create_file_writer(str(folder / "tensorboard"))
        with writer.as_default(0):
            for metric, numbers in found["metrics"].items():
                tf.summary.scalar(f"{name}/{metric}", numbers["value"])
            if "confusion" in found:
                confusion = found["confusion"]
                counts_CC = np.array(confusion["counts"])
                png = confusion_matrix.draw(counts_CC, confusion["labels"])
                if png:
                    (folder / "confusion.png").write_bytes(png)
                    image_BHWC = tf.io.decode_png(png, 3)[None]
                    tf.summary.image(f"{name}/confusion", image_BHWC)
        writer.close()


def table(head: list[str], rows: list[list[str]]) -> list[str]:
    """The lines of a Markdown table."""
    escaped = [[cell.replace("|", r"\|") for cell in row] for row in [head, *rows]]
    written = [f"| {' | '.join(row)} |" for row in escaped]
    return [written[0], "|---" * len(head) + "|", *written[1:]]
