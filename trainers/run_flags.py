"""Runs an absl command with a --config flag; mistakes become one line."""

import os
import re
import sys
import traceback

from absl import app, flags
from ml_collections import config_flags

from trainers import objectives
from trainers.run import Run, from_json, to_json
from zoo.fields import suggest


def define_config():
    """Defines --config, a Python file whose `get_config()` returns a Run.

    Fields are overridden by --config.a.b=value.
    """
    return config_flags.DEFINE_config_file(
        "config", None, "A file of configs/; fields follow as --config.a.b=value."
    )


def run_of(flag) -> Run:
    """The Run of the flag, checked as if it had been read from JSON."""
    if flag.value is None:
        raise ValueError("--config: missing; give a file of configs/.")
    if not isinstance(flag.value, Run):
        raise ValueError(f"--config: get_config() gave {type(flag.value)}, not a Run.")
    if type(flag.value.objective) not in objectives.BY_NAME.values():
        raise ValueError(
            f"config.objective: {flag.value.objective!r}; one of trainers.objectives "
            f"allowed: {', '.join(sorted(objectives.BY_NAME))}."
        )
    return from_json(to_json(flag.value), objectives.BY_NAME)


def run_app(main) -> None:
    """`app.run(main)`; an error of input becomes one line and exit code 1."""

    def parse(argv):
        path = _config_path(argv)
        if path and not os.path.isfile(path):
            _fail(f"--config: {path}: there is no such file.")
        try:
            return flags.FLAGS(argv)
        except Exception as error:  # a config file may raise anything
            message = path and _in_file(path, error)
            if message:
                _fail(message)
            if path and isinstance(error, KeyError):
                _fail(_unknown_field(argv, path, error))
            if isinstance(error, SyntaxError):
                _fail(f"--config: {error}")
            if isinstance(error, flags.Error):
                _fail(str(error))
            raise

    def guarded(argv):
        try:
            if len(argv) > 1:
                raise ValueError(f"Unknown argument {argv[1]!r}; flags begin with --.")
            return main(argv)
        except ValueError as error:
            _fail(str(error))

    app.run(guarded, flags_parser=parse)


def _fail(message: str):
    """Prints the message and ends the process with exit code 1."""
    print(f"error: {message}", file=sys.stderr)
    sys.exit(1)


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
    holder_of = flags.FLAGS["config"].parser.parse(path)
    for argument in argv:
        match = re.match(r"--config\.([\w.]+)", argument)
        holder = holder_of
        path_in_run = match[1] if match else ""
        for part in path_in_run.split(".") if path_in_run else ():
            fields = getattr(type(holder), "__dataclass_fields__", {})
            if part not in fields:
                return f"Unknown --config.{path_in_run}.{suggest(part, fields)}"
            holder = getattr(holder, part)
    return str(error)
