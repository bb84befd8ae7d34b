"""Worker processes that run rewards in parallel, each answer with a time limit."""

import json
import os
import selectors
import signal
import subprocess
import sys
import time
import weakref
from collections.abc import Sequence
from typing import Any, NamedTuple

from trainers.rewards.sample import Sample

_MOST = 8  # workers
_START = 120.0  # seconds in which a worker must be ready
_TRIES = 3  # starts of a worker that ends before it is ready


class Failure(NamedTuple):
    """Why an answer has no score.

    Attributes:
      part: the number of the reward.
      reason: what the reward did, to follow its name.
    """

    part: int
    reason: str


class Pool:
    """Scores samples in worker processes, which import no TensorFlow of their own.

    Args:
      setup: what a worker gets first: `modules`, `entries` and `timeout`.
      timeout: seconds that all parts of one answer may take.

    Raises:
      ValueError: a worker cannot import a module, or refuses an entry.
    """

    def __init__(self, setup: dict[str, Any], timeout: float):
        self._setup, self._timeout = _line(setup), timeout
        self._parts = len(setup["entries"])
        self._again: set[int] = set()  # samples whose process ended once
        self._processes: set[subprocess.Popen] = set()
        self._finalizer = weakref.finalize(self, _end, self._processes)
        size = min(len(os.sched_getaffinity(0)), _MOST)
        self._workers = [_Worker(self._processes) for _ in range(size)]
        try:
            for worker in self._workers:
                worker.start(self._setup)
            for worker in self._workers:
                self._await(worker)
        except BaseException:
            self.close()
            raise

    @property
    def tensorflow(self) -> bool:
        """Whether the modules of users made workers import TensorFlow."""
        return any(worker.tensorflow for worker in self._workers)

    def score(
        self, samples: Sequence[Sample], stop: bool
    ) -> tuple[list[list[float | None]], dict[int, list[Failure]]]:
        """The parts of each sample's score.

        Args:
          samples: to score.
          stop: whether to end at a failure. All samples before it are still scored, so
            the first failure is the same in every run.

        Returns:
          For each sample the scores of its parts, None for those that are unknown; and
          the failures by the number of the sample.

        Raises:
          ValueError: a sample is no JSON, or a worker cannot be started again.
        """
        lines = [_sample_line(sample) for sample in samples]
        found: list[list[float | None]] = [[] for _ in samples]
        failures: dict[int, list[Failure]] = {}
        waiting = list(range(len(samples)))[::-1]
        self._again.clear()
        try:
            while True:
                if stop and failures:
                    waiting = [i for i in waiting if i < min(failures)]
                for worker in self._workers:
                    if waiting and worker.sample is None:
                        self._give(worker, waiting.pop(), lines)
                busy = [w for w in self._workers if w.sample is not None]
                if not busy:
                    break
                waiting += self._read(busy, found, failures)
        except BaseException:
            for worker in self._workers:  # their answers would be read as the next ones
                worker.kill()
            raise
        return found, failures

    def close(self) -> None:
        """Ends all workers."""
        self._finalizer()

    def _give(self, worker, number, lines):
        """Sends a sample to a worker; starts the worker again if it has ended."""
        for _ in range(_TRIES):
            if not worker.alive():
                worker.start(self._setup)
                self._await(worker)
            try:
                worker.send(lines[number])
            except BrokenPipeError:
                worker.kill()
                continue
            worker.sample = number
            worker.deadline = time.monotonic() + self._timeout
            return
        raise ValueError("rewards: workers end before they read a sample.")

    def _read(self, busy, found, failures):
        """Waits for the next answers, or for the end of a sample's time.

        Returns the samples to score again: the system may have ended their process.
        """
        again = []
        with selectors.DefaultSelector() as selector:
            for worker in busy:
                selector.register(worker.output, selectors.EVENT_READ, worker)
            rest = min(w.deadline for w in busy) - time.monotonic()
            ready = [key.data for key, _ in selector.select(max(rest, 0))]
        now = time.monotonic()
        for worker in busy:
            number, ended = worker.sample, False
            parts = found[number]
            if worker in ready:
                values = worker.lines()
                ended = values is None
                for value in values or ():
                    if isinstance(value, dict):
                        failure = Failure(len(parts), value["error"])
                        failures.setdefault(number, []).append(failure)
                        value = None
                    parts.append(value)
            if len(parts) == self._parts:
                worker.sample = None
                continue
            if ended and number not in self._again and number not in failures:
                self._again.add(number)
                worker.kill()
                parts.clear()
                again.append(number)
                continue
            if ended:
                reason = f"ended its process ({worker.kill()})"
            elif now >= worker.deadline and worker not in ready:
                worker.kill()
                reason = f"took more than {self._timeout:g} seconds"
            else:
                continue
            failure = Failure(len(parts), reason)
            failures.setdefault(number, []).append(failure)
            parts += [None] * (self._parts - len(parts))
        return again

    def _await(self, worker):
        """Waits until a worker is ready; raises ValueError where it refuses."""
        limit = time.monotonic() + _START
        while True:
            with selectors.DefaultSelector() as selector:
                selector.register(worker.output, selectors.EVENT_READ)
                there = selector.select(max(limit - time.monotonic(), 0))
            values = worker.lines() if there else None
            if values is None:
                code = worker.kill()
                raise ValueError(f"rewards: a worker did not start ({code}).")
            if values:
                break
        if "refused" in values[0]:
            worker.kill()
            raise ValueError(values[0]["refused"])
        worker.tensorflow = values[0]["tensorflow"]


class _Worker:
    """One process, the sample that it scores, and when its time is over."""

    def __init__(self, processes: set):
        self.process: Any = None
        self.sample: Any = None
        self.deadline = 0.0
        self.tensorflow = False
        self._processes, self._rest = processes, b""

    @property
    def output(self) -> int:
        """The descriptor of what the worker writes."""
        return self.process.stdout.fileno()

    def start(self, setup: bytes) -> None:
        """Starts the process, in a session of its own: no Ctrl-C reaches it."""
        self.kill()  # closes the pipes of one that has ended
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path),
            "PYTHONHASHSEED": "0",  # a reward may iterate over a set
            "CUDA_VISIBLE_DEVICES": "-1",  # a user's import must not take the GPU
        }
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "trainers.rewards.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            start_new_session=True,
        )
        self._processes.add(self.process)
        self._rest, self.sample = b"", None
        try:
            self.send(setup)
        except BrokenPipeError:
            pass  # whoever waits for the worker sees its end

    def alive(self) -> bool:
        """Whether the process runs."""
        return self.process is not None and self.process.poll() is None

    def send(self, line: bytes) -> None:
        """Writes one line to the process."""
        self.process.stdin.write(line)
        self.process.stdin.flush()

    def lines(self) -> list | None:
        """The whole lines that are there, as JSON; None at the end."""
        data = os.read(self.output, 65536)
        if not data:
            return None
        *whole, self._rest = (self._rest + data).split(b"\n")
        return [json.loads(line) for line in whole]

    def kill(self) -> str:
        """Ends the process and what it started; returns how it ended."""
        if self.process is None:
            return "not started"
        code = _kill(self.process)
        self._processes.discard(self.process)
        self.process, self.sample = None, None
        return f"signal {-code}" if code < 0 else f"exit code {code}"


def _kill(process) -> int:
    """Kills the session of a process, and returns the exit code."""
    try:
        code = process.wait(0.05)  # one that ended itself has a code of its own
    except subprocess.TimeoutExpired:
        code = None
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass
    process.wait()
    for pipe in (process.stdin, process.stdout):
        try:
            pipe.close()
        except BrokenPipeError:
            pass
    return process.returncode if code is None else code


def _end(processes: set) -> None:
    """Kills all processes."""
    for process in list(processes):
        _kill(process)
    processes.clear()


def _line(value: Any) -> bytes:
    """JSON on one line."""
    return json.dumps(value, default=_plain).encode() + b"\n"


def _sample_line(sample: Sample) -> bytes:
    """A sample on one line."""
    try:
        return _line(list(sample))
    except (TypeError, ValueError) as error:
        raise ValueError(f"rewards: {sample.shown()}: {error}.") from None


def _plain(value: Any) -> Any:
    """What JSON has for a value of NumPy, or for bytes of TensorFlow Datasets."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"a {type(value).__name__} is no JSON")
