"""The child process of `zoo.check`: loads a SavedModel, calls it, prints the results.

Standard library only, and started without site-packages: Python TensorFlow and numpy
cannot be imported. Prints one JSON object on each line:

    {"registry": {op: stateful}, "version": release of the library}
    {"check": ..., "signature": ..., "status": "pass" | "fail" | "warn", "detail": ...}
    {"latency": {signature: {"first" | "1" | "8" | "1 long" | "8 long": milliseconds}}}
"""

import argparse
import json
import statistics
import sys
import threading
import time

from zoo.saved_model.checker import c_api, examples, growth, library, recorded
from zoo.saved_model.checker.tensors import STRING, Tensor

_TIMED = 5  # calls for a median
_BATCHES = (1, 8)
_LONGER = 16  # copies of the example's text in a long text
_THREADS = 4
_LARGEST = 4 << 20  # bytes of the largest output that is searched for infinities


def main() -> None:
    """Runs every check that calls the SavedModel."""
    parser = argparse.ArgumentParser()
    for name in ("saved_model", "tensorflow", "requests"):
        parser.add_argument(f"--{name}")
    parser.add_argument("--calls", type=int)
    args = parser.parse_args()
    lib = library.load(args.tensorflow)
    _print(registry=library.registry(lib), version=library.version(lib))
    try:
        session = c_api.Session(args.saved_model, tensorflow=args.tensorflow)
    except c_api.Error as error:
        return _result("load", "", "fail", _short(error))
    absent = not {"tensorflow", "numpy"} & sys.modules.keys()
    _result("load", "", absent, "through the C API, XLA off, no Python TensorFlow")
    about = examples.documented(args.saved_model)
    probes = [_Probe(session, name, about.get(name)) for name in session.signatures]
    probes = [probe for probe in probes if probe.tested()]
    if probes and args.calls:
        kept = growth.measure(
            lambda number: probes[number % len(probes)].fresh(number), args.calls
        )
        _result("memory", "", *kept)
    for probe in probes:
        probe.later()
    if args.requests:
        answers = list(recorded.compare(session, recorded.load(args.requests)))
        for name, equal, detail in answers:
            if not equal:
                _result("requests", name, False, detail)
        if all(equal for _, equal, _ in answers):
            _result("requests", "", True, f"{len(answers)} answers as recorded")


class _Probe:
    """One signature under test."""

    def __init__(self, session: c_api.Session, name: str, about: dict | None):
        self.session, self.name, self.about = session, name, about
        self.times: dict[str, float] = {}

    def tested(self) -> bool:
        """Runs the checks of this signature; False if no call succeeds."""
        try:
            row, known = examples.row(self.session.signatures[self.name], self.about)
        except ValueError as error:
            self._result("call", False, str(error))
            return False
        for check, test in (
            ("call", lambda: self._call(row)),
            ("defaults", self._defaults),
            ("repeat", self._repeat),
            ("rows", self._rows),
            ("threads", self._threads),
            ("latency", self._latency),
        ):
            try:
                test()
            except c_api.Error as error:
                made_up = error.code == "INVALID_ARGUMENT" and not known
                made_up = made_up and "No OpKernel" not in error.text
                words = "refused a made-up request: " if made_up else ""
                self._result(
                    check, "warn" if made_up else "fail", words + _short(error)
                )
                return False
        return True

    def _run(self, rows: list[examples.Row]) -> dict[str, Tensor]:
        return self.session.run(self.name, examples.batch(rows))

    def _result(self, check: str, status: bool | str, detail: str) -> None:
        _result(check, self.name, status, detail)

    def _accepts(self, *rows: examples.Row) -> bool:
        try:
            self._run(list(rows))
        except c_api.Error:
            return False
        return True

    def _call(self, row: examples.Row) -> None:
        """One row, then three rows as different as the signature accepts."""
        start = time.perf_counter()
        self.first = self._run([row])
        self.times["first"] = 1e3 * (time.perf_counter() - start)
        self.rows = [row, *self._others(row)]
        self.third = self._run(self.rows)
        self.takes_fresh = self._accepts(self._fresh_row(0))
        for size, outputs in ((1, self.first), (3, self.third)):
            for name, value in outputs.items():
                if value.shape[:1] != (size,):
                    words = f"output {name!r} has shape {list(value.shape)}"
                    raise c_api.Error("INTERNAL", f"{words} for a batch of {size}")
        self._result("call", True, "answers batches of 1 and 3")
        for name, value in self.third.items():
            self._json(name, value)

    def _others(self, row: examples.Row) -> list[examples.Row]:
        """Two other rows, with other values in all inputs that accept them."""
        made = [
            {n: examples.other(v, number) for n, v in row.items()} for number in (1, 2)
        ]
        self.varied = {name for name in row if any(o[name] != row[name] for o in made)}
        if not self._accepts(row, *made):
            self.varied = {
                name
                for name in self.varied
                if all(self._accepts({**row, name: other[name]}) for other in made)
            }
        rows = [{n: (o if n in self.varied else row)[n] for n in row} for o in made]
        if self._accepts(row, *rows):
            return rows
        self.varied = set()
        return [row, row]

    def _json(self, name: str, value: Tensor) -> None:
        """Finds outputs that TF Serving's REST interface cannot write as JSON."""
        if value.dtype == STRING and not name.endswith("_bytes"):
            if any(t.decode("utf-8", "ignore").encode() != t for t in value.data):
                self._result("json", False, f"output {name!r} is not valid UTF-8")
        elif value.dtype.startswith("float") and len(value.data) < _LARGEST:
            total = sum(value.flat())
            if total - total != 0:
                self._result("json", "warn", f"output {name!r} holds infinity or NaN")

    def _defaults(self) -> None:
        """Leaves out the inputs with defaults, as a gRPC client may."""
        defaults = self.session.signatures[self.name].defaults
        if not defaults:
            return
        for rows in (self.rows[:1], self.rows):
            inputs = examples.batch(rows)
            given = {name: v for name, v in inputs.items() if name not in defaults}
            self.session.run(self.name, given)
        self._result("defaults", True, f"may be left out: {', '.join(defaults)}")

    def _repeat(self) -> None:
        """The same request twice."""
        for rows, before in ((self.rows[:1], self.first), (self.rows, self.third)):
            changed = _changed(before, self._run(rows))
            if changed:
                words = f"the same request twice gives another {changed}"
                return self._result("repeat", False, words)
        self._result("repeat", True, "the same request gives the same bytes")

    def later(self) -> None:
        """The first request once more, after all others."""
        changed = _changed(self.first, self._run(self.rows[:1]))
        words = f"another {changed}" if changed else "the same bytes"
        words = f"after all calls the first request gives {words}"
        self._result("later", not changed, words)

    def _rows(self) -> None:
        """Every row with other rows beside it, and at other places of a batch."""
        # Each batch holds row 2, the longest: the padded shape stays the same.
        for order in ((2, 0, 1), (1, 2, 0), (0, 2, 2), (2, 0, 2), (1, 1, 2), (2, 2, 2)):
            outputs = self._run([self.rows[i] for i in order])
            for place, index in enumerate(order):
                for name, value in outputs.items():
                    usual = self.third[name].row(index)
                    if not _same_row(value.row(place), usual):
                        words = f"row {index} of output {name!r} changes"
                        words += _distance(value.row(place), usual)
                        words += f" in a batch of rows {order} instead of (0, 1, 2)"
                        return self._result("rows", False, words)
        if self.varied:
            words = "a row's bytes do not depend on other rows or its place"
            self._result(
                "rows", True, f"{words} (varied: {', '.join(sorted(self.varied))})"
            )
        else:
            words = "tested with copies of one row: it takes no other values"
            self._result("rows", "warn", words)

    def _threads(self) -> None:
        """The first request from several threads at once."""
        answers, errors = [], []

        def call():
            try:
                answers.append(self._run(self.rows[:1]))
            except c_api.Error as error:
                errors.append(error)

        threads = [threading.Thread(target=call) for _ in range(_THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if errors:
            raise errors[0]
        changed = next(filter(None, (_changed(self.first, a) for a in answers)), "")
        if not changed:
            words = f"{_THREADS} calls at once give the same bytes"
            return self._result("threads", True, words)
        # A model that merges calls into batches may round in another way.
        rounding = all(
            recorded.near(answer[name], value.tolist(), name)
            for answer in answers
            for name, value in self.first.items()
        )
        words = f"{_THREADS} calls at once give another {changed}"
        if rounding:
            self._result("threads", "warn", f"{words}, by rounding only")
        else:
            self._result("threads", False, words)

    def _latency(self) -> None:
        """Times batches and lengths of text, as far as the signature takes them."""
        longer = {
            name: value._replace(data=(b" ".join(value.data * _LONGER),))
            for name, value in self.rows[0].items()
            if name in self.varied and value.dtype == STRING and not value.shape
        }
        rows = {"": self.rows[0], " long": {**self.rows[0], **longer}}
        for name, row in rows.items():
            for size in _BATCHES if longer or not name else ():
                if self._accepts(*[row] * size):
                    self.times[f"{size}{name}"] = self._median([row] * size)
        _print(latency={self.name: self.times})

    def _median(self, rows: list[examples.Row]) -> float:
        """Milliseconds of a call."""
        times = []
        for _ in range(_TIMED):
            start = time.perf_counter()
            self._run(rows)
            times.append(1e3 * (time.perf_counter() - start))
        return statistics.median(times)

    def fresh(self, number: int) -> None:
        """Calls the signature with a new text, if it takes any text."""
        self._run([self._fresh_row(number) if self.takes_fresh else self.rows[0]])

    def _fresh_row(self, number: int) -> examples.Row:
        row = dict(self.rows[0])
        for name in self.varied:
            if row[name].dtype == STRING:
                data = tuple(
                    text and text + b" w%07d" % number for text in row[name].data
                )
                row[name] = row[name]._replace(data=data)
        return row


def _changed(before: dict[str, Tensor], after: dict[str, Tensor]) -> str:
    """The first output that differs, or ""."""
    return next((repr(name) for name in before if before[name] != after[name]), "")


def _same_row(a: Tensor, b: Tensor) -> bool:
    """Whether rows are equal; one may be padded further in its first dimension."""
    if a.shape[1:] != b.shape[1:] or len(a.shape) != len(b.shape):
        return False
    size = min(len(a.data), len(b.data))
    return a.data[:size] == b.data[:size]


def _distance(a: Tensor, b: Tensor) -> str:
    """The largest difference of floats, as the end of a message."""
    if a.shape != b.shape or not a.dtype.startswith("float"):
        return ""
    pairs = zip(a.flat(), b.flat(), strict=True)
    return f" by up to {max(abs(x - y) for x, y in pairs):.1e}"


def _short(error: c_api.Error) -> str:
    """An error's first line, without the nodes that it went through."""
    return str(error).split("\n")[0][:300]


def _result(check: str, signature: str, status: bool | str, detail: str) -> None:
    if not isinstance(status, str):
        status = "pass" if status else "fail"
    _print(check=check, signature=signature, status=status, detail=detail)


def _print(**content) -> None:
    print(json.dumps(content), flush=True)


if __name__ == "__main__":
    main()
