"""Runs tasks in processes, a few at a time, so that memory does not grow."""

import collections
import concurrent.futures
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable
from concurrent.futures.process import BrokenProcessPool
from typing import Any


def run(
    function: Callable[..., Any],
    tasks: Iterable[tuple],
    workers: int,
    done: Callable[[Any], None],
) -> None:
    """Calls `function(*task)` for each task.

    Args:
      function: of a module, so that a new process finds it.
      tasks: read when there is room for one more. A task that is done leaves the memory
        even where an earlier one is not.
      workers: processes; 1 calls the function in this process.
      done: called with each result, in the order of the tasks.

    Raises:
      ValueError: a process died, such as one that the system took the memory from.
      Exception: what a task raised.
    """
    if workers == 1:
        for task in tasks:
            done(function(*task))
        return
    with concurrent.futures.ProcessPoolExecutor(
        workers, multiprocessing.get_context("spawn"), _start
    ) as executor:
        try:
            feed(executor, function, tasks, workers, done)
        except BrokenProcessPool:
            raise ValueError(
                "A worker process died; a lack of memory is the usual reason. Set "
                "--workers or recipe.unit_chars lower. The same command goes on."
            ) from None
        except BaseException:
            executor.shutdown(wait=False, cancel_futures=True)
            raise


def feed(executor, function, tasks, workers, done) -> None:
    """Gives each worker of an executor one task, while the next one is read."""
    waiting: collections.deque = collections.deque()
    for task in tasks:
        while True:
            while waiting and waiting[0].done():
                done(waiting.popleft().result())
            running = [future for future in waiting if not future.done()]
            if len(running) < workers:
                break
            concurrent.futures.wait(
                running, return_when=concurrent.futures.FIRST_COMPLETED
            )
        waiting.append(executor.submit(function, *task))
        del task
    while waiting:
        done(waiting.popleft().result())


def _start():
    """Prepares a process: one thread for tokens, and an end where its parent ends."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends it
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch():
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
