"""Which data a run learns from, and which data are held out for its evaluation.

Training and every later evaluation call the same function, so both agree on what is
held out. The seed is a constant and not the run's: runs that differ in their seed hold
out the same data.
"""

from collections.abc import Iterable, Sequence

from zoo.data import cleaning, compressed, sources, tables

_SEED = 0


def documents(
    source: str, valid: str = "", hold_out: float = 0.0, clean: Iterable[str] = ()
) -> tuple[list[str], list[str]]:
    """The training documents and the held-out documents, both cleaned.

    What is held out is the first that there is of: the documents of `valid`, the
    source's own split `valid`, the share `hold_out` of the documents, nothing.

    Args:
      source: a spec of `zoo.data.sources`.
      valid: another spec, or empty.
      hold_out: a share between 0 and 1; 0 holds out nothing.
      clean: names of cleaning steps, in order.

    Raises:
      ValueError: a source that is missing, broken or too small to hold out a part.
    """
    steps = tuple(clean)

    def read(spec: str, split: str = "train") -> list[str]:
        return [cleaning.clean(text, steps) for text in sources.documents(spec, split)]

    training = read(source)
    if valid:
        return training, read(valid)
    if "valid" in sources.splits(source):
        return training, read(source, "valid")
    if not hold_out:
        return training, []
    try:
        return sources.hold_out(training, hold_out, _SEED)
    except ValueError as error:
        raise ValueError(
            f"'{compressed.shown(source)}': {error} Or set hold_out to 0."
        ) from None


def table(
    source: str,
    valid: str = "",
    hold_out: float = 0.0,
    label_names: Sequence[str] = (),
    classes: int | None = None,
) -> tuple[tables.Table, tables.Table | None]:
    """The training table and the held-out table, or None.

    Args:
      source: a spec of `zoo.data.tables`.
      valid: another spec, or empty. Where both name the same features in another
        order, the columns follow `source`.
      hold_out: a share of the rows between 0 and 1, where `valid` is empty; 0 holds
        out nothing.
      label_names: of the model's classes; empty takes those of `source`.
      classes: as in `tables.table`.

    Raises:
      ValueError: as `tables.table`, or a table too small to hold out a part.
    """
    training = tables.table(source, label_names, classes)
    if valid:
        count = classes if training.label_names else 0
        held_out = tables.table(valid, training.label_names, count)
        return training, tables.reorder(held_out, training.feature_names)
    if not hold_out:
        return training, None
    return tables.hold_out_rows(training, hold_out, _SEED)
