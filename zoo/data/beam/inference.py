"""Batch inference: answers of a SavedModel to the rows of a source, by RunInference.

Rows are cut into chunks by their number in their part. The answers of a chunk are one
file, answers-PPPPPP-CCCCCC.jsonl. A chunk whose file is there is not computed again, so
a job that failed goes on when it is run again.

The id of a row is its place, such as "chats.jsonl, line 3": it does not depend on the
order in which workers answer. An answer may depend on the batch in its last bits.
"""

import json
import pathlib
import re
import tempfile
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import apache_beam as beam  # type: ignore[import-not-found]
import numpy as np
from apache_beam.ml.inference import base  # type: ignore[import-not-found]
from apache_beam.options.pipeline_options import (  # type: ignore
    PipelineOptions,
)

from zoo.data import sources
from zoo.data.beam.store import Store
from zoo.fields import at_least, one_of

_ABOUT = "assets.extra/signature.json"
_JOB = "job.json"
_CHECK = re.compile(r"assertion failed: \[(.*?)\]\n", re.DOTALL)


class Job(NamedTuple):
    """What a batch inference computes.

    Attributes:
      model: an exported SavedModel; a local path that all workers have.
      source: of `zoo.data.sources`, such as "jsonl:questions.jsonl".
      signature: of the SavedModel.
      columns: the column of an input where its name is another: {"prompt": "question"}.
      inputs: values that are the same for all rows, such as {"temperature": 0.7}.
      outputs: of the signature, which are written; empty is all.
      keep: columns of the rows that are written, too.
      batch: rows at a time, at most.
      chunk: rows of a file of answers.
    """

    model: str
    source: str
    signature: str = "serving_default"
    columns: dict[str, str] = {}
    inputs: dict[str, Any] = {}
    outputs: tuple[str, ...] = ()
    keep: tuple[str, ...] = ()
    batch: int = 16
    chunk: int = 1000


def check(job: Job) -> None:
    """Raises ValueError for a signature, an input or an output that does not exist."""
    at_least("batch", job.batch, 1)
    at_least("chunk", job.chunk, 1)
    known = _signatures(job.model)
    one_of(f"{job.model}: signature", job.signature, known)
    signature = known[job.signature]
    for name in (*job.columns, *job.inputs):
        one_of(f"input of {job.signature}", name, signature["inputs"])
    for name in job.outputs:
        one_of(f"output of {job.signature}", name, signature["outputs"])
    sources.parts(job.source)


def run(job: Job, output: str, options: list[str]) -> None:
    """Writes the answers to all rows of a source on a runner of Beam.

    Args:
      job: what to compute.
      output: a folder that all workers reach; new, or one that the same job began.
      options: of Beam, such as ["--runner=FlinkRunner"].

    Raises:
      ValueError: a wrong job, or an output of another job.
    """
    check(job)
    store, told = Store(output), json.loads(json.dumps(job._asdict()))
    before = store.get_json("", _JOB)
    if before is not None and before != told:
        names = [name for name in told if told[name] != before.get(name)]
        raise ValueError(f"{output}: began with another job: {', '.join(names)}.")
    store.put_json(told, "", _JOB)
    parts = [tuple(part) for part in sources.parts(job.source)]
    with beam.Pipeline(options=PipelineOptions(options)) as pipeline:
        _ = pipeline | beam.Create(list(enumerate(parts))) | Infer(job, output)


class Infer(beam.PTransform):
    """(number, part of a source) of all parts -> the names of the files of answers.

    Args:
      job: what to compute.
      output: a folder that all workers reach.
    """

    def __init__(self, job: Job, output: str):
        super().__init__()
        self._job, self._output = job, output

    def expand(self, parts):
        handler = base.KeyedModelHandler(Handler(self._job))
        found = (
            parts
            | "Spread parts" >> beam.Reshuffle()
            | "Read" >> beam.ParDo(_Read(self._job, self._output)).with_outputs("bad")
        )
        good, bad = found[None], found["bad"]
        answered = (
            good
            | "Spread rows" >> beam.Reshuffle()
            | "Answer" >> base.RunInference(handler)
            | "By chunk" >> beam.Map(lambda pair: (pair[0][0], (pair[0][1], pair[1])))
        )
        return (
            (answered, bad)
            | beam.Flatten()
            | beam.GroupByKey()
            | "Write" >> beam.ParDo(_Write(self._output))
        )


class _Read(beam.DoFn):
    """The rows of chunks without a file: ((chunk, index), row), and what is bad."""

    def __init__(self, job, output):
        self._job, self._output = job, output

    def process(self, element):
        number, part = element
        store, done, chunk = Store(self._output), False, ""
        for index, (place, row) in enumerate(sources.numbered(*part)):
            if index % self._job.chunk == 0:
                chunk = f"{number:06d}-{index // self._job.chunk:06d}"
                done = store.has(_file(chunk))
            if done:
                continue
            if isinstance(row, ValueError):
                bad = {"id": place, "error": str(row)}
                yield beam.pvalue.TaggedOutput("bad", (chunk, (index, bad)))
            else:
                yield (chunk, index), {"id": place, "row": row}


class Handler(base.ModelHandler):
    """Answers rows by a signature of a SavedModel.

    An input takes the value of the row's column, else that of the job, else the default
    of the SavedModel's signature.json. A row without a value for an input, or one that
    the model refuses, gets {"id", "error"}: the rows beside it get their answers.

    Args:
      job: what to compute.
    """

    def __init__(self, job: Job):
        super().__init__(max_batch_size=job.batch)
        self._job = job

    def load_model(self):
        import tensorflow as tf

        return tf.saved_model.load(self._job.model)

    def run_inference(
        self, batch: Sequence[dict[str, Any]], model, inference_args=None
    ):
        del inference_args
        about = _signatures(self._job.model)[self._job.signature]
        call = model.signatures[self._job.signature]
        filled = [self._inputs(given, about["inputs"]) for given in batch]
        good = [i for i, inputs in enumerate(filled) if isinstance(inputs, dict)]
        answers: list[Any] = [*filled]
        if good:
            try:
                made = self._call(call, about["inputs"], [filled[i] for i in good])
            except ValueError:  # of one row, at least: each by itself
                made = [self._one(call, about["inputs"], filled[i]) for i in good]
            for i, answer in zip(good, made, strict=True):
                answers[i] = answer
        return [self._told(*pair) for pair in zip(batch, answers, strict=True)]

    def _inputs(self, given, about) -> dict[str, Any] | str:
        """The value of each input of a row, or what is wrong."""
        row, found = given["row"], {}
        for name, entry in about.items():
            column = self._job.columns.get(name, name)
            if row.get(column) is not None:
                found[name] = row[column]
            elif name in self._job.inputs:
                found[name] = self._job.inputs[name]
            elif "default" in entry:
                found[name] = entry["default"]
            else:
                return f"no column {column!r} for the input {name!r}."
        return found

    def _one(self, call, about, inputs) -> dict[str, Any] | str:
        """The answer to one row, or what the model says against it."""
        try:
            return self._call(call, about, [inputs])[0]
        except ValueError as error:
            return str(error)

    def _call(self, call, about, rows) -> list[dict[str, Any]]:
        """The answer to each row.

        Raises:
          ValueError: a value has another type, or the model refuses it.
        """
        import tensorflow as tf

        try:
            tensors = {
                name: tf.constant([row[name] for row in rows], entry["dtype"])
                for name, entry in about.items()
            }
            made = call(**tensors)
        except (TypeError, tf.errors.InvalidArgumentError) as error:
            raise ValueError(_said(getattr(error, "message", str(error)))) from None
        wanted = self._job.outputs or tuple(made)
        arrays = {name: made[name].numpy() for name in wanted}
        return [
            {name: _plain(array[i]) for name, array in arrays.items()}
            for i in range(len(rows))
        ]

    def _told(self, given, answer) -> dict[str, Any]:
        """What is written of a row."""
        kept = {name: given["row"].get(name) for name in self._job.keep}
        told = {"error": answer} if isinstance(answer, str) else answer
        return {"id": given["id"], **kept, **told}


class _Write(beam.DoFn):
    """Writes the answers of a chunk in the order of its rows."""

    def __init__(self, output):
        self._output = output

    def process(self, element: tuple[str, Iterable[tuple[int, dict[str, Any]]]]):
        chunk, answers = element
        lines = [
            json.dumps(answer, ensure_ascii=False, default=_plain)
            for _, answer in sorted(answers, key=lambda pair: pair[0])
        ]
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / _file(chunk)
            path.write_text("\n".join([*lines, ""]), encoding="utf-8")
            Store(self._output).put(folder, "", mark=_file(chunk))
        yield _file(chunk)


def _said(message: str) -> str:
    """What the model's own check said, without the places in the graph around it."""
    found = _CHECK.search(message)
    return found[1] if found else message


def _file(chunk: str) -> str:
    """The name of the answers of a chunk."""
    return f"answers-{chunk}.jsonl"


def _signatures(model: str) -> dict[str, Any]:
    """The signatures of a SavedModel, by name.

    Raises:
      ValueError: the folder has no signature.json, as an export of this zoo has.
    """
    path = pathlib.Path(model) / _ABOUT
    if not path.is_file():
        raise ValueError(f"{path}: missing; give an export of this zoo, such as DIR/1.")
    return json.loads(path.read_text(encoding="utf-8"))["signatures"]


def _plain(value: Any) -> Any:
    """A value as JSON has it: bytes as text, arrays as lists."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, np.ndarray):
        return [_plain(item) for item in value.tolist()]
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value.item() if isinstance(value, np.generic) else value
