"""The findings of a check, as data, as JSON and as lines of text."""

import dataclasses
from typing import Any

_TIMES = {
    "first": "first",
    "1": "batch 1",
    "8": "batch 8",
    "1 long": "1, long",
    "8 long": "8, long",
}
_MARKS = {"pass": "✓", "warn": "!", "fail": "✗"}


@dataclasses.dataclass(frozen=True)
class Result:
    """One finding.

    Attributes:
      check: the name of the test, one word.
      signature: the signature; "" for the whole SavedModel.
      status: "pass", "warn" or "fail".
      detail: one short line.
    """

    check: str
    signature: str
    status: str
    detail: str


@dataclasses.dataclass
class Report:
    """All findings on one SavedModel.

    Attributes:
      path: the SavedModel's folder.
      tensorflow: the release of the library; "" if none ran.
      results: in the order of the tests.
      ops: the op types that signatures reach, sorted.
      latency: signature -> "first", "1", "8", "1 long", "8 long" -> milliseconds of the
        first call, and medians by batch, with the example's text and with a text 16
        times as long. Entries that the signature does not take are left out.
    """

    path: str
    tensorflow: str
    results: list[Result]
    ops: list[str]
    latency: dict[str, dict[str, float]]

    @property
    def ok(self) -> bool:
        """Whether no check failed; warnings are no failures."""
        return all(result.status != "fail" for result in self.results)

    def failures(self) -> list[str]:
        """The names of the checks that failed, each once, in order."""
        failed = (r.check for r in self.results if r.status == "fail")
        return list(dict.fromkeys(failed))

    def to_json(self) -> dict[str, Any]:
        """The report as a JSON-able dict, the verdict first."""
        return {"ok": self.ok, **dataclasses.asdict(self)}

    def lines(self) -> list[str]:
        """The report as text: a line for each finding, then the verdict."""
        lines = [f"{self.path} on TensorFlow {self.tensorflow or '(none)'}"]
        for check in dict.fromkeys(result.check for result in self.results):
            found = [r for r in self.results if r.check == check]
            passed = [r for r in found if r.status == "pass"]
            if len(passed) > 1 and len({r.detail for r in passed}) == 1:
                # One line for all passes, with names if some signatures failed.
                names = ", ".join(r.signature for r in passed)
                where = names if passed != found else f"{len(passed)} signatures"
                lines.append(_line("pass", check, where, passed[0].detail))
                found = [r for r in found if r.status != "pass"]
            lines += [_line(r.status, check, r.signature, r.detail) for r in found]
        if self.latency:
            title = "".join(f" {name:>9}" for name in _TIMES.values())
            lines.append(f"  {'ms':9} {'':24}{title}")
        for name, times in self.latency.items():
            cells = (f"{times[key]:.2f}" if key in times else "" for key in _TIMES)
            columns = "".join(f" {cell:>9}" for cell in cells)
            lines.append(f"  {'':9} {name:24}{columns}".rstrip())
        lines.append(f"  ops       {len(self.ops)} types: {' '.join(self.ops)}")
        warnings = sum(result.status == "warn" for result in self.results)
        if self.ok:
            verdict = "yes: stock TensorFlow can serve it"
        else:
            verdict = f"no: {', '.join(self.failures())}"
        return [*lines, verdict + (f" ({warnings} warnings)" if warnings else "")]


def _line(status: str, check: str, signature: str, detail: str) -> str:
    where = f"{signature}: " if signature else ""
    return f"{_MARKS[status]} {check:9} {where}{detail}"
