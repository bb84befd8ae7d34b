"""The flag --config: a file that makes a Run, and what is wrong with it in one line."""

import dataclasses
import os
import re
import sys
import traceback

from absl import flags
from ml_collections import config_flags

from trainers.run import Data, Lora, Optimizer, Run, from_json, to_json
from zoo import command
from zoo.fields import suggest


def define_config():
    """Defines --config, a Python file whose `get_config()` returns a Run.

    Fields are overridden by --config.a.b=value.
    """
    holder = config_flags.DEFINE_config_file("config", None, _help())
    # shows it under --help, as a flag of the command
    flags.FLAGS.register_key_flag_for_module(sys.argv[0], flags.FLAGS["config"])
    return holder


def _help() -> str:
    """The help of --config: all fields of a Run with their defaults."""
    names = []
    for prefix, cls in (
        ("", Run),
        ("data.", Data),
        ("optimizer.", Optimizer),
        ("lora.", Lora),
    ):
        for field in dataclasses.fields(cls):
            if field.name not in ("model", "objective", "data", "optimizer", "lora"):
                names.append(f"{prefix}{field.name}={field.default!r}")
    return (
        "A file of configs/, whose get_config() returns a Run. Override its fields by "
        "--config.NAME=VALUE. The names, with the defaults of a Run: "
        f"{', '.join(names)}; model.NAME and objective.NAME, their own fields."
    )


def run_of(flag) -> Run:
    """The Run of the flag, checked as if it had been read from JSON."""
    with command.quiet_imports():
        from trainers import objectives

    if flag.value is None:
        raise ValueError("--config: missing; give a file of configs/.")
    path = _config_path(sys.argv)
    if path and not os.path.isfile(path):
        raise ValueError(f"--config: {path}: there is no such file.")
    if not isinstance(flag.value, Run):
        raise ValueError(f"--config: get_config() gave {type(flag.value)}, not a Run.")
    if type(flag.value.objective) not in objectives.BY_NAME.values():
        raise ValueError(
            f"config.objective: {flag.value.objective!r}; one of trainers.objectives "
            f"allowed: {', '.join(sorted(objectives.BY_NAME))}."
        )
    return from_json(to_json(flag.value), objectives.BY_NAME)


def run_app(main) -> None:
    """`zoo.command.run_app`, which also explains errors in the file of --config."""
    if _config_path(sys.argv):
        with command.quiet_imports():  # what every such file imports
            import trainers.objectives  # noqa: F401
    command.run_app(main, _explain)


def _explain(argv, error) -> str:
    """The message for an exception of the flag parser, or ""."""
    path = _config_path(argv)
    if path and not os.path.isfile(path):
        return f"--config: {path}: there is no such file."
    message = _in_file(path, error) if path else ""
    if message:
        return message
    if path and isinstance(error, KeyError):
        return _unknown_field(argv, path, error)
    if path and isinstance(error, AttributeError) and "get_config" in str(error):
        return f"--config: {path} has no function get_config() that returns a Run."
    return f"--config: {error}" if isinstance(error, SyntaxError) else ""


def _config_path(argv) -> str:
    """The file that --config names, or ""."""
    for i, argument in enumerate(argv):
        name, equals, value = argument.partition("=")
        if name in ("--config", "-config"):
            value = value if equals else "".join(argv[i + 1 : i + 2])
            return value.split(":")[0]
    return ""


def _in_file(path, error) -> str:
    """The file, line and message of an error in a config file, or "".

    ml_collections and absl wrap errors, so this looks for the first one.
    """
    while error is not None:
        for frame, line in reversed(list(traceback.walk_tb(error.__traceback__))):
            if frame.f_code.co_filename == path:
                hint = _hint(frame, error)
                return f"{path}, line {line}: {type(error).__name__}: {error}{hint}"
        error = error.__context__
    return ""


def _hint(frame, error) -> str:
    """The fields of a dataclass, after a call with a field that it lacks, or ""."""
    match = re.match(r"(\w+)\.__init__\(\) got an unexpected .* '(\w+)'", str(error))
    if not match:
        return ""
    fields = getattr(frame.f_globals.get(match[1]), "__dataclass_fields__", {})
    return f".{suggest(match[2], fields)}" if fields else ""


def _unknown_field(argv, path, error) -> str:
    """Names the --config.a.b that no Run has, and the fields at that place."""
    run = flags.FLAGS["config"].parser.parse(path)
    for argument in argv:
        match = re.match(r"--config\.([\w.]+)", argument)
        holder, name = run, match[1] if match else ""
        for part in name.split(".") if name else ():
            if holder is None:
                return (
                    f"--config.{name}: the model is that of config.init_from; its "
                    "fields cannot be set."
                )
            fields = getattr(type(holder), "__dataclass_fields__", {})
            if part not in fields:
                return f"Unknown --config.{name}.{suggest(part, fields)}"
            holder = getattr(holder, part)
    return str(error)
