"""The fields of a GGUF file of its architecture, checked as they are asked for."""

from typing import Any

import numpy as np

from zoo.directory.gguf.file import File

_NEEDED = object()


class Fields:
    """The fields of a file that belong to its architecture."""

    def __init__(self, file: File):
        self.where, self._all = file.where, file.fields
        self.architecture = str(self._all.get("general.architecture"))

    def __contains__(self, name):
        return f"{self.architecture}.{name}" in self._all

    def whole(self, name, default: Any = _NEEDED) -> int:
        """A number without a fraction, above 0; the same for all layers."""
        return self._get(name, default, (int,), "a whole number above 0")

    def number(self, name, default: Any = _NEEDED) -> float:
        """A number above 0."""
        return self._get(name, default, (int, float), "a number above 0")

    def text(self, name, default: str) -> str:
        """A word."""
        value = self._all.get(f"{self.architecture}.{name}", default)
        if type(value) is not str:
            raise self._bad(name, value, "a string")
        return value

    def refuse(self, name, allowed) -> None:
        """Refuses a field that is there and says something else."""
        value = self._all.get(f"{self.architecture}.{name}", allowed)
        if isinstance(value, (np.ndarray, list, str)) or value != allowed:
            raise self._bad(name, value, allowed)

    def _get(self, name, default, kinds, allowed):
        value = self._all.get(f"{self.architecture}.{name}", default)
        if value is default and default is not _NEEDED:
            return default
        if value is _NEEDED:
            raise ValueError(
                f"{self.where}: the field {self.architecture}.{name} is missing."
            )
        if isinstance(value, np.ndarray) and value.size and (value == value[0]).all():
            value = value[0].item()
        if type(value) not in kinds or not 0 < value < 2**62:
            raise self._bad(name, value, allowed)
        return value

    def _bad(self, name, value, allowed):
        return ValueError(
            f"{self.where}: {self.architecture}.{name} {value!r:.80}; allowed: "
            f"{allowed}."
        )
