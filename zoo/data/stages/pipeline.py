"""A list of stages that runs on one text after another."""

import importlib
import pathlib
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from zoo.data.stages.stage import Batched, Dropped, Maker, Stage
from zoo.fields import one_of

# Web text of any language keeps its indents. Stop words would drop all but English.
DEFAULT = (
    "newlines",
    "control",
    "nfc",
    "trim",
    "gopher_quality:stop_words=0",
    "gopher_repetition",
)
EMPTY = "empty"
# The text, or None; the entry that dropped it, or None; the reason, or None.
Result = tuple[str | None, str | None, str | None]


def _makers() -> dict[str, Maker]:
    """The tables STAGES of all modules beside this one."""
    found: dict[str, Maker] = {}
    for path in sorted(pathlib.Path(__file__).parent.glob("*.py")):
        if path.stem not in ("__init__", "pipeline", "stage"):
            module = importlib.import_module(f"{__package__}.{path.stem}")
            found |= getattr(module, "STAGES", {})
    return found


_MAKERS = _makers()
NAMES = tuple(_MAKERS)


def make(entry: str) -> Stage:
    """The stage of an entry, "name" or "name:argument".

    Raises:
      ValueError: an unknown name, a bad argument, or a library that is not installed.
    """
    name, _, argument = entry.partition(":")
    one_of("stage", name, NAMES)
    try:
        return _MAKERS[name](argument)
    except ValueError as error:
        raise ValueError(f"stage {entry!r}: {error}") from None


def check(entries: Iterable[str]) -> None:
    """Raises the ValueError of the first entry that `make` refuses."""
    for entry in entries:
        make(entry)


class Count(NamedTuple):
    """What went into a stage and came out: documents and characters."""

    documents_in: int
    characters_in: int
    documents_out: int
    characters_out: int


class Pipeline:
    """Stages, one after another.

    A text may hold surrogates, which no file can: a pair becomes its character, and a
    single one becomes U+FFFD, before the first stage.

    Args:
      entries: the entries of the stages, in order.

    Raises:
      ValueError: see `make`.
    """

    def __init__(self, entries: Iterable[str] = DEFAULT):
        self.entries = tuple(entries)
        self._stages = [make(entry) for entry in self.entries]
        self._counts = [[0] * 4 for _ in self._stages]

    def run(self, text: str) -> Result:
        """Runs all stages on one text, as `run_many`."""
        return self.run_many([text])[0]

    def run_many(self, texts: Sequence[str]) -> list[Result]:
        """Runs all stages on some texts, each until one stage drops it.

        Args:
          texts: as many as memory has room for twice.

        Returns:
          For each text:
          text: the new text, or None where it was dropped.
          dropped_by: the entry of the stage that dropped it or left no character of it;
            "empty" where there was none at the start.
          reason: why it was dropped.
        """
        texts = [_without_surrogates(text) for text in texts]
        results: list[Result] = [(None, EMPTY, "no character")] * len(texts)
        numbers = [number for number, text in enumerate(texts) if text]
        texts = list(filter(None, texts))
        for entry, stage, count in zip(
            self.entries, self._stages, self._counts, strict=True
        ):
            count[0] += len(texts)
            count[1] += sum(map(len, texts))
            if isinstance(stage, Batched):
                found = stage.many(texts)
            else:
                found = list(map(stage, texts))
            before, numbers, texts = numbers, [], []
            for number, text in zip(before, found, strict=True):
                if isinstance(text, Dropped):
                    results[number] = None, entry, text.reason
                elif text:
                    numbers.append(number)
                    texts.append(text)
                else:
                    results[number] = None, entry, "no character left"
            count[2] += len(texts)
            count[3] += sum(map(len, texts))
        for number, text in zip(numbers, texts, strict=True):
            results[number] = text, None, None
        return results

    def take_counts(self) -> list[Count]:
        """The counts of each stage since the last call, in order."""
        taken = [Count(*count) for count in self._counts]
        self._counts = [[0] * 4 for _ in self._stages]
        return taken


def _without_surrogates(text: str) -> str:
    """Joins pairs of surrogates, and replaces single ones."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text
