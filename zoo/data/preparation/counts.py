"""What the stages did to documents: counts and samples, as JSON that adds up.

    rows            documents and bad rows that were read
    bad             {"rows", "samples": messages with file and line}
    stages          a list, one entry a stage: {"stage", "documents_in", "characters_in",
                    "documents_out", "characters_out", "changed", "dropped": {reason:
                    documents}, "samples": {reason: [{"place", "text"}]}}
    surrogates      texts in which half a surrogate pair became U+FFFD
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from zoo.data import stages

_SHOWN = 200  # characters of a sample
_REASONS = 40  # of a stage; all others count as one
_OTHER = "other reasons"
_BAD_SHOWN = 20
_NUMBERS = ("documents_in", "characters_in", "documents_out", "characters_out")


class Counts:
    """Counts of one unit.

    Args:
      entries: of the stages.
      samples: documents that are shown of each reason.
    """

    def __init__(self, entries: Sequence[str], samples: int):
        self._samples = samples
        self._stages = [_stage(entry) for entry in entries]
        self._bad: dict[str, Any] = {"rows": 0, "samples": []}
        self._rows = self._surrogates = 0

    def bad_rows(self, messages: Sequence[str]) -> None:
        """Counts rows that could not be read."""
        self._rows += len(messages)
        self._bad["rows"] += len(messages)
        self._bad["samples"] += messages[:_BAD_SHOWN]

    def run(
        self,
        functions: Iterable[Callable[[str], str | stages.Dropped]],
        place: str,
        text: str,
    ) -> str | None:
        """The text after all stages, or None where one of them drops it."""
        self._rows += 1
        text = self._encodable(text)
        for entry, function in zip(self._stages, functions, strict=True):
            entry["documents_in"] += 1
            entry["characters_in"] += len(text)
            result = function(text)
            if isinstance(result, stages.Dropped):
                self._drop(entry, result.reason, place, text)
                return None
            entry["documents_out"] += 1
            entry["characters_out"] += len(result)
            if result is not text:
                entry["changed"] += result != text
                text = result
        return self._encodable(text)

    def to_json(self) -> dict[str, Any]:
        """The counts, for `add`."""
        return {
            "rows": self._rows,
            "bad": self._bad,
            "stages": self._stages,
            "surrogates": self._surrogates,
        }

    def _encodable(self, text):
        """The text as UTF-8 can have it."""
        try:
            text.encode()
        except UnicodeEncodeError:
            self._surrogates += 1
            data = text.encode("utf-16-le", "surrogatepass")
            return data.decode("utf-16-le", "replace")
        return text

    def _drop(self, entry, reason, place, text):
        """Counts a document that a stage drops."""
        if reason not in entry["dropped"] and len(entry["dropped"]) >= _REASONS:
            reason = _OTHER
        entry["dropped"][reason] = entry["dropped"].get(reason, 0) + 1
        shown = entry["samples"].setdefault(reason, [])
        if len(shown) < self._samples:
            shown.append(sample(place, text))


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
    total["surrogates"] += more["surrogates"]
    total["bad"]["rows"] += more["bad"]["rows"]
    room = max(_BAD_SHOWN - len(total["bad"]["samples"]), 0)
    total["bad"]["samples"] += more["bad"]["samples"][:room]
    for into, entry in zip(total["stages"], more["stages"], strict=True):
        for name in (*_NUMBERS, "changed"):
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
        "changed": 0,
        "dropped": {},
        "samples": {},
    }
