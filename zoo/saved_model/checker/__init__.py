"""Tests whether stock TensorFlow can serve a SavedModel, by calling it.

This process reads the graph. A child process (probe.py) makes the calls, with the C
library alone: neither Python TensorFlow nor an extension library can help. No file of
the checker imports tensorflow or numpy.
"""

import json
import os
import pathlib
import subprocess
import sys

from zoo.saved_model.checker import examples, graph_rules, library, recorded
from zoo.saved_model.checker.graph import Graph
from zoo.saved_model.checker.report import Report, Result

_PROBE = "zoo.saved_model.checker.probe"
_ROOT = pathlib.Path(__file__).parents[3]
_SHOWN = 3  # last lines of stderr in the message about a child that died


def check(
    path: str,
    calls: int = 50,
    requests: str | None = None,
    tensorflow: str | None = None,
) -> Report:
    """Checks one SavedModel.

    Args:
      path: the folder with saved_model.pb.
      calls: the calls during which the memory is measured; 0 is off, 2000 is a proof.
      requests: a file of recorded requests and answers (see recorded.py); by default
        assets.extra/requests.json, if the SavedModel has it.
      tensorflow: the folder of the tensorflow package to run it on, for example an
        older release in another environment; by default the installed one.

    Raises:
      ValueError: there is no such SavedModel, library or file of requests, or one of
        their files is broken.
    """
    graph = Graph(path)
    about = examples.documented(path)
    if calls < 0:
        raise ValueError(f"calls: {calls}, at least 0 allowed.")
    own = pathlib.Path(path) / "assets.extra" / "requests.json"
    if not requests and own.exists():
        requests = str(own)
    if requests:
        recorded.load(requests)
    tensorflow = str(tensorflow or library.folder())
    library.find(tensorflow)
    lines, died = _child(path, calls, requests, tensorflow)
    registry: dict[str, bool] = {}
    version, results, latency = "", [], {}
    for line in lines:
        if "registry" in line:
            registry, version = line["registry"], line["version"]
        elif "latency" in line:
            latency |= line["latency"]
        else:
            results.append(Result(**line))
    if died:
        results.append(Result("process", "", "fail", died))
    rules = list(graph_rules.check(graph, registry, about)) if registry else []
    return Report(str(path), version, rules + results, graph_rules.ops(graph), latency)


def _child(
    path: str, calls: int, requests: str | None, tensorflow: str
) -> tuple[list[dict], str]:
    """Runs the probe; returns its lines, and how it died or ""."""
    flags = {"saved_model": path, "tensorflow": tensorflow, "calls": calls}
    flags |= {"requests": requests} if requests else {}
    run = subprocess.run(
        # -S: without site-packages there is no tensorflow to import.
        [sys.executable, "-S", "-m", _PROBE, *(f"--{k}={v}" for k, v in flags.items())],
        env={**os.environ, "PYTHONPATH": str(_ROOT), "TF_CPP_MIN_LOG_LEVEL": "2"},
        capture_output=True,
        text=True,
        check=False,
    )
    lines = [json.loads(line) for line in run.stdout.splitlines()]
    if not run.returncode:
        return lines, ""
    last = " | ".join(run.stderr.strip().splitlines()[-_SHOWN:])
    if not lines:
        raise ValueError(f"{tensorflow}: its library does not run: {last}")
    stage = lines[-1].get("check", "load")
    return lines, f"died with code {run.returncode} after {stage!r}: {last}"
