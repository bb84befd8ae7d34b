"""Prints the table of models, or describes one model.

python -m zoo
python -m zoo --describe=lstm_lm
"""

import dataclasses
import math
import re

import rich.console
import rich.table
from absl import flags

from zoo import command

with command.quiet_imports():
    from zoo import models, registry

_DESCRIBE = flags.DEFINE_string("describe", None, "The name of a model to describe.")


def main(argv):
    del argv
    if _DESCRIBE.value is None:
        print_table()
    else:
        describe(registry.entry(_DESCRIBE.value))


def print_table() -> None:
    """Prints one line for each model; builds none."""
    table = rich.table.Table("model", "what it is", "reads", "what it can do")
    for name in models.names():
        row = registry.entry(name)
        table.add_row(name, row.about, row.config.reads, abilities(row))
    rich.console.Console().print(table)


def describe(row: registry.Entry) -> None:
    """Prints the fields of a model, its parameters and what it can do."""
    from zoo.directory import uninitialized  # the table does not need this import

    config = registry.config(row.name)
    model, _ = uninitialized.build(config)  # allocates no weights
    count = sum(math.prod(v.shape) for v in model.trainable_weights)
    print(f"{row.name}: {row.about}")
    print(f"Reads {config.reads}. Can: {abilities(row)}.")
    if row.not_exported:
        print(f"Cannot be exported: {row.not_exported}.")
    print(f"Parameters with the defaults below: {count:,}")
    table = rich.table.Table("field", "default", "meaning")
    meanings = attributes(row.config)
    for field in dataclasses.fields(row.config):
        default = repr(getattr(config, field.name))
        if field.name in row.fixed:
            default += " (fixed)"
        table.add_row(field.name, default, meanings.get(field.name, ""))
    rich.console.Console().print(table)


def abilities(row: registry.Entry) -> str:
    """The task of a model, and "export" if it can be exported."""
    task = registry.config(row.name).task
    return task if row.not_exported else f"{task}, export"


def attributes(cls: type) -> dict[str, str]:
    """The meaning of each attribute, from the section "Attributes" of a docstring.

    An entry is "name: meaning" or "name, name: meaning", on one or more lines.
    """
    section = (cls.__doc__ or "").partition("Attributes:\n")[2].partition("\n\n")[0]
    found, last = {}, []
    for line in section.splitlines():
        entry = re.match(r" {6}(\w[\w, ]*): (.*)", line)
        if entry:
            last = entry[1].split(", ")
        for name in last:
            words = entry[2] if entry else line.strip()
            found[name] = f"{found.get(name, '')} {words}".strip()
    return found


def run():
    command.run_app(main)


if __name__ == "__main__":
    run()
