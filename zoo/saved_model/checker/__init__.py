"""Says whether stock TensorFlow can serve a SavedModel, and proves it by calling it.

The graph is read here; the calls are made by a child process that holds nothing but the
C library (probe.py), so that neither Python TensorFlow nor an extension library that
this process happens to hold can help the artefact along. No file of the checker imports
tensorflow or numpy.
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
_SHOWN = 3  # last lines of a child that died


def check(
    path: str,
    calls: int = 50,
    requests: str | None = None,
    tensorflow: str | None = None,
) -> Report:
    """Checks one SavedModel.

    Args:
      path: the folder with saved_model.pb.
      calls: how many calls watch the memory; 0 leaves that out, 2000 is a proof.
      requests: a file of recorded requests and answers (see recorded.py); by default
        assets.extra/requests.json, where the artefact has it.
      tensorflow: the folder of a tensorflow package to run it on, such as that of
        another environment with an older release; by default the installed one.

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
    said, died = _child(path, calls, requests, tensorflow)
    registry: dict[str, bool] = {}
    version, results, latency = "", [], {}
    for line in said:
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
    """Runs the probe; returns what it said and, if it died, how."""
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
    said = [json.loads(line) for line in run.stdout.splitlines()]
    if not run.returncode:
        return said, ""
    last = " | ".join(run.stderr.strip().splitlines()[-_SHOWN:])
    if not said:
        raise ValueError(f"{tensorflow}: its library does not run: {last}")
    stage = said[-1].get("check", "load")
    return said, f"died with code {run.returncode} after {stage!r}: {last}"
