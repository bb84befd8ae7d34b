"""The fields of a GGUF file that belong to its architecture, checked when read."""

from typing import Any

import numpy as np

from zoo.directory.gguf.file import File

_REQUIRED = object()


class Fields:
    """Reads fields by their names without the architecture in front."""

    def __init__(self, file: File):
        self.where, self._all = file.where, file.fields
        self.architecture = str(self._all.get("general.architecture"))

    def __contains__(self, name):
        return f"{self.architecture}.{name}" in self._all

    def integer(self, name, default: Any = _REQUIRED) -> int:
        """Returns an integer above 0, or the number of which a list is made."""
        return self._get(name, default, (int,), "an integer above 0")

    def number(self, name, default: Any = _REQUIRED) -> float:
        """Returns a number above 0."""
        return self._get(name, default, (int, float), "a number above 0")

    def text(self, name, default: str) -> str:
        """Returns a string."""
        value = self._all.get(f"{self.architecture}.{name}", default)
        if type(value) is not str:
            raise self._bad(name, value, "a string")
        return value

    def refuse(self, name, allowed) -> None:
        """Raises a ValueError if the field is in the file with another value."""
        value = self._all.get(f"{self.architecture}.{name}", allowed)
        if isinstance(value, (np.ndarray, list, str)) or value != allowed:
            raise self._bad(name, value, allowed)

    def _get(self, name, default, kinds, allowed) -> Any:
        """Returns a number of one of the types `kinds`; `allowed` is for messages."""
        value = self._all.get(f"{self.architecture}.{name}", default)
        if value is default and default is not _REQUIRED:
            return default
        if value is _REQUIRED:
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
