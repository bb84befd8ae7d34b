"""The file of --config: what is wrong with it, or with an override, in one line."""

import os
import re
import traceback

from absl import flags

from zoo.fields import suggest


def path_of(argv) -> str:
    """The file that --config names, or ""."""
    for i, argument in enumerate(argv):
        name, equals, value = argument.partition("=")
        if name in ("--config", "-config"):
            value = value if equals else "".join(argv[i + 1 : i + 2])
            return value.split(":")[0]
    return ""


def check_exists(argv) -> None:
    """Raises ValueError where --config names a file that is missing."""
    path = path_of(argv)
    if path and not os.path.isfile(path):
        raise ValueError(f"--config: {path}: there is no such file.")


def explain(argv, error: Exception, makes: str, empty: str = "it is None") -> str:
    """The message for an exception of the flag parser, or "".

    Args:
      argv: of the command.
      error: what the parser raised.
      makes: what get_config() returns, such as "a Run".
      empty: why a field that holds fields may be None.
    """
    path = path_of(argv)
    if path and not os.path.isfile(path):
        return f"--config: {path}: there is no such file."
    message = _in_file(path, error) if path else ""
    if message:
        return message
    if path and isinstance(error, KeyError):
        return _unknown_field(argv, path, error, empty)
    if path and isinstance(error, AttributeError) and "get_config" in str(error):
        return f"--config: {path} has no function get_config() that returns {makes}."
    return f"--config: {error}" if isinstance(error, SyntaxError) else ""


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


def _unknown_field(argv, path, error, empty) -> str:
    """Names the --config.a.b that is not there, and the fields at that place."""
    config = flags.FLAGS["config"].parser.parse(path)
    for argument in argv:
        match = re.match(r"--config\.([\w.]+)", argument)
        holder, name = config, match[1] if match else ""
        for part in name.split(".") if name else ():
            if holder is None:
                return f"--config.{name}: {empty}; its fields cannot be set."
            fields = getattr(type(holder), "__dataclass_fields__", {})
            if part not in fields:
                return f"Unknown --config.{name}.{suggest(part, fields)}"
            holder = getattr(holder, part)
    return str(error)
