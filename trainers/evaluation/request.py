"""What is to be evaluated, and the data of it."""

import contextlib
import dataclasses
import functools
from typing import Any, NamedTuple

from trainers.run import Run
from zoo.data import formats, mixtures, shards, sources, splits, streams, tables
from zoo.data.damage import Damage
from zoo.data.formats import Rows
from zoo.data.splits import Numbered
from zoo.data.token_stream import TokenStream
from zoo.directory import Loaded
from zoo.fields import at_least
from zoo.text import framing
from zoo.text.tokenizer import Tokenizer


class HeldOut(NamedTuple):
    """The data that a run held out.

    Attributes:
      run: the Run.
      window: the tokens of its windows.
      workdir: its folder, for messages.
    """

    run: Run
    window: int
    workdir: str


@dataclasses.dataclass(kw_only=True, slots=True)
class Request:
    """An evaluation.

    Attributes:
      source: a spec of `zoo.data.sources` or `zoo.data.tables`.
      split: of the source; empty is `test` of kjv and of shards, `train` of others.
      held_out: None, or takes the place of source and split.
      format: of `zoo.data.formats`; empty is that of the model's task.
      fields: entries "field=column" for columns of another name.
      prefix: of the format seq2seq: a text before each source.
      too_long: what happens to rows longer than the model's context.
      max_bad_rows: how many bad examples are left out before one is an error.
      limit: how many documents or examples are taken; 0 is all.
      length: tokens of a window of documents, or the most of a row; 0 is the default.
      stride: between windows of documents; 0 is half a window.
      batch: rows at a time; 0 is the default.
      metrics: of generated answers, of `trainers.evaluation.answers`.
      references: the column with the right answers, a text or a list of texts; empty
        takes what the format learns.
      tokenize: of `zoo.metrics.generation.TOKENIZERS`.
      samples: answers to each prompt; 0 is as many as the metrics need.
      knobs: of generation, those that are given.
    """

    source: str = "kjv"
    split: str = ""
    held_out: HeldOut | None = None
    format: str = ""
    fields: tuple[str, ...] = ()
    prefix: str = ""
    too_long: str = "error"
    max_bad_rows: int = 0
    limit: int = 0
    length: int = 0
    stride: int = 0
    batch: int = 0
    metrics: tuple[str, ...] = ()
    references: str = ""
    tokenize: str = "13a"
    samples: int = 0
    knobs: dict[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        for field in ("max_bad_rows", "limit", "length", "stride", "batch", "samples"):
            at_least(f"--{field}", getattr(self, field), 0)
        tested = self.source == "kjv" or shards.folder_of(self.source)
        self.split = self.split or ("test" if tested else "train")

    @property
    def name(self) -> str:
        """What is evaluated on, for people."""
        if self.held_out:
            return f"held out by {self.held_out.workdir}"
        return f"{self.source} {self.split}"

    @property
    def default_length(self) -> int:
        """The window of the run, or 0."""
        return self.held_out.window if self.held_out else 0


@contextlib.contextmanager
def names_of_flags():
    """Names flags in errors that name fields of a Run."""
    try:
        yield
    except ValueError as error:
        raise ValueError(str(error).replace("config.data.", "--")) from None


def window_of(loaded: Loaded, request: Request) -> int:
    """The most tokens of a text, with those around it.

    Raises:
      ValueError: `--length` is more than the model can read.
    """
    model = loaded.model
    length = request.length or request.default_length or model.config.context
    if model.limit and length > model.limit:
        raise ValueError(
            f"--length: {length}, at most the model's {model.limit} allowed."
        )
    return length


def framed_rows(
    loaded: Loaded, request: Request, name: str, labels: formats.Labels | None = None
) -> Rows:
    """The rows of the examples, with the model's own tokens around each text.

    Args:
      loaded: the model and its tokenizer.
      request: what is to be evaluated.
      name: of the format.
      labels: what labels may be; None for a format without labels.

    Raises:
      ValueError: a source or a row is broken, or a number does not fit.
    """
    tokenizer: Any = loaded.tokenizer
    length = window_of(loaded, request)
    with names_of_flags():
        return formats.rows.read(
            examples(request),
            formats.BY_NAME[name],
            tokenizer,
            length,
            request.fields,
            request.too_long,
            request.max_bad_rows,
            labels,
            framing.frame(tokenizer, loaded.model.config),
        )


def documents(request: Request) -> list[str]:
    """The documents to evaluate on.

    Raises:
      ValueError: a source that is missing or broken, or a run that held nothing out.
    """
    if request.held_out is None:
        found = sources.documents(request.source, request.split)
    else:
        data = request.held_out.run.data
        read = functools.partial(splits.documents, clean=data.clean)
        _, found = _held_out(read, data)
    return _given(request, found)[: request.limit or None]


def stream(request: Request, tokenizer: Tokenizer) -> TokenStream | None:
    """The documents to evaluate on, where some of them are shards; None elsewhere.

    Raises:
      ValueError: shards are damaged or were made by another tokenizer, or there are no
        such documents.
    """
    data = request.held_out.run.data if request.held_out else None
    parts = mixtures.parts(data.source, data.mixture) if data else []
    specs = [*(part.source for part in parts), data.valid] if data else [request.source]
    sizes = data is None or not data.max_bad_rows
    found = streams.folders(specs, sizes)
    if not found:
        return None
    if request.limit:
        raise ValueError(f"--limit: {request.limit}, but shards are read whole.")
    for folder in found.values():
        folder.check_tokenizer(tokenizer, "--model")
    if data is None:
        return found[request.source].stream(request.split)
    given = data.valid, data.hold_out, data.clean
    _, held_out = streams.read(parts, found, tokenizer, Damage(), *given)
    return _given(request, held_out)


def examples(request: Request) -> list[Numbered]:
    """The examples to evaluate on, each with its place; errors are of `documents`."""
    if request.held_out is None:
        found = list(sources.numbered(request.source, request.split))
    else:
        data = request.held_out.run.data
        _, found = _held_out(splits.examples, data)
    return _given(request, found)[: request.limit or None]


def table(request: Request, names: tuple[str, ...], classes: int) -> tables.Table:
    """The table to evaluate on; errors are of `documents`.

    Args:
      request: what is to be evaluated.
      names: of the model's classes.
      classes: how many the model has.
    """
    if request.held_out is None:
        found = tables.table(request.source, names, classes)
    else:
        data = request.held_out.run.data
        _, found = splits.table(data.source, data.valid, data.hold_out, names, classes)
    found = _given(request, found)
    if not request.limit:
        return found
    return dataclasses.replace(
        found,
        features_NF=found.features_NF[: request.limit],
        labels_N=found.labels_N[: request.limit],
    )


def _held_out(read, data) -> tuple[list, list]:
    """The training data of all sources of a run, and what they held out."""
    parts = mixtures.parts(data.source, data.mixture)
    return mixtures.split(read, parts, data.valid, data.hold_out)


def _given(request: Request, data: Any) -> Any:
    """The data; refuses a run that held nothing out."""
    if not data:
        where = request.held_out.workdir if request.held_out else request.source
        raise ValueError(f"--workdir: {where} held nothing out; give --source.")
    return data
