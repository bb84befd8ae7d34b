"""Tasks of worker processes: their order, their memory, and how far a file is read."""

import concurrent.futures
import itertools
import os
import threading
import weakref

import pytest

from zoo.data import sources
from zoo.data.preparation import pool, progress


def test_the_bar_knows_how_far_a_file_is_read(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "a"}\n' * 50_000)
    (part,) = sources.parts(f"jsonl:{tmp_path}/a.jsonl")
    assert progress.size_of([part]) == 14 * 50_000 and progress.place_of(part) == 0
    texts = sources.texts(part)
    places = []
    for _ in range(4):
        assert len(list(itertools.islice(texts, 12_000))) == 12_000
        places.append(progress.place_of(part))
    assert places == sorted(places) and 14 * 12_000 <= places[0] < 14 * 20_000


def test_tasks_keep_their_order():
    seen = []
    pool.run(divmod, ((n, 3) for n in range(5)), 1, seen.append)
    assert seen == [divmod(n, 3) for n in range(5)]


def test_tasks_that_are_done_leave_the_memory():
    """Also behind a task that takes long: here the first one ends last."""

    class Unit:
        """What a task holds."""

        def __init__(self, number):
            self.number = number

    there, most = weakref.WeakSet(), []
    late, seen = threading.Event(), []

    def tasks():
        for number in range(20):
            unit = Unit(number)
            there.add(unit)
            yield (unit,)
            del unit
            most.append(len(there))
        late.set()

    def work(unit):
        assert unit.number or late.wait(30)
        return unit.number

    with concurrent.futures.ThreadPoolExecutor(2) as executor:
        pool.feed(executor, work, tasks(), 2, seen.append)
    assert seen == [*range(20)]
    assert max(most) <= 4


@pytest.mark.long
def test_a_dead_process_is_an_error():
    with pytest.raises(ValueError, match="A worker process died"):
        pool.run(os._exit, ((n,) for n in range(3)), 2, lambda done: None)
