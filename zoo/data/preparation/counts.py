"""What the stages did to documents: counts and samples, as JSON that adds up.

rows            documents and bad rows that were read
bad             {"rows", "samples": messages with file and line}
stages          a list, one entry a stage, the first of them "empty": {"stage",
                "documents_in", "characters_in", "documents_out", "characters_out",
                "dropped": {reason: documents}, "samples": {reason: [{"place",
                "text"}]}}
"""

from collections.abc import Sequence
from typing import Any

from zoo.data.stages.pipeline import Count

_SHOWN = 200  # characters of a sample
_REASONS = 40  # of a stage; all others count as one
_OTHER = "other reasons"
_BAD_SHOWN = 20
_NUMBERS = ("documents_in", "characters_in", "documents_out", "characters_out")


_EMPTY = "empty"  # what `Pipeline.run` calls a text without a character


class Counts:
    """Counts of one unit.

    Args:
      entries: of the stages.
      samples: documents that are shown of each reason.
    """

    def __init__(self, entries: Sequence[str], samples: int):
        self._samples = samples
        self._stages = [_stage(entry) for entry in (_EMPTY, *entries)]
        self._bad: dict[str, Any] = {"rows": 0, "samples": []}
        self._rows = 0

    def bad_rows(self, messages: Sequence[str]) -> None:
        """Counts rows that could not be read."""
        self._rows += len(messages)
        self._bad["rows"] += len(messages)
        self._bad["samples"] += messages[:_BAD_SHOWN]

    def read(self, texts: Sequence[str]) -> None:
        """Counts documents in front of all stages."""
        self._rows += len(texts)
        first, size = self._stages[0], sum(map(len, texts))
        first["documents_in"] += len(texts)
        first["characters_in"] += size
        first["documents_out"] += sum(map(bool, texts))
        first["characters_out"] += size

    def drop(self, stage: str, reason: str, place: str, text: str) -> None:
        """Counts a document that a stage drops."""
        entry = next(entry for entry in self._stages if entry["stage"] == stage)
        if reason not in entry["dropped"] and len(entry["dropped"]) >= _REASONS:
            reason = _OTHER
        entry["dropped"][reason] = entry["dropped"].get(reason, 0) + 1
        shown = entry["samples"].setdefault(reason, [])
        if len(shown) < self._samples:
            shown.append(sample(place, text))

    def passed(self, found: Sequence[Count]) -> None:
        """Takes the numbers of the stages."""
        for entry, count in zip(self._stages[1:], found, strict=True):
            entry.update(count._asdict())

    def to_json(self) -> dict[str, Any]:
        """The counts, for `add`."""
        return {"rows": self._rows, "bad": self._bad, "stages": self._stages}


def sample(place: str, text: str) -> dict[str, str]:
    """The beginning of a document, with its place."""
    end = "..." if len(text) > _SHOWN else ""
    return {"place": place, "text": text[:_SHOWN] + end}


def empty(entries: Sequence[str]) -> dict[str, Any]:
    """The counts of no document."""
    return Counts(entries, 0).to_json()


def add(total: dict[str, Any], more: dict[str, Any], samples: int) -> None:
    """Adds the counts of a unit to those of the units before it.

    Args:
      total: changes.
      more: stays as it is.
      samples: documents that are shown of each reason.
    """
    total["rows"] += more["rows"]
    total["bad"]["rows"] += more["bad"]["rows"]
    room = max(_BAD_SHOWN - len(total["bad"]["samples"]), 0)
    total["bad"]["samples"] += more["bad"]["samples"][:room]
    for into, entry in zip(total["stages"], more["stages"], strict=True):
        for name in _NUMBERS:
            into[name] += entry[name]
        for reason, count in entry["dropped"].items():
            if reason not in into["dropped"] and len(into["dropped"]) >= _REASONS:
                reason = _OTHER
            into["dropped"][reason] = into["dropped"].get(reason, 0) + count
        for reason, found in entry["samples"].items():
            shown = into["samples"].setdefault(reason, [])
            shown += found[: max(samples - len(shown), 0)]


def _stage(entry):
    """The counts of one stage."""
    return {
        "stage": entry,
        **dict.fromkeys(_NUMBERS, 0),
        "dropped": {},
        "samples": {},
    }
