"""Damaged records: an error with the file and the byte, or a count within a budget."""

import contextlib
from collections.abc import Iterator


class DamagedRecord(ValueError):
    """A record that cannot be read, or that is not what was written.

    Args:
      path: of the file.
      record: its number in the file.
      offset: the byte where it starts.
      reason: what is wrong.
    """

    def __init__(self, path, record: int, offset: int, reason: str):
        super().__init__(
            f"{path}: record {record} at byte {offset}: {reason}; the file is damaged."
        )
        self.place = str(path), record


class Damage:
    """Counts damaged records, up to a budget.

    Args:
      budget: how many may be skipped; 0 makes the first one an error.

    Attributes:
      records: the path and the number of each damaged record that was met.
      error: the error that was raised, or None.
    """

    def __init__(self, budget: int = 0):
        self.budget = budget
        self.records: set[tuple[str, int]] = set()
        self.error: ValueError | None = None

    def add(self, found: DamagedRecord) -> None:
        """Counts a record.

        Raises:
          ValueError: the budget is used up.
        """
        self.records.add(found.place)
        if len(self.records) > self.budget:
            self.error = found
            if self.budget:
                self.error = ValueError(
                    f"{found} {len(self.records)} records are damaged, at most "
                    f"{self.budget} allowed."
                )
            raise self.error

    @contextlib.contextmanager
    def shown(self) -> Iterator[None]:
        """Raises `error` in the place of what TensorFlow makes of it in a pipeline."""
        try:
            yield
        except Exception:
            if self.error is not None:
                raise self.error from None
            raise
