"""The memory measure on calls that leak and calls that do not."""

import mmap

from zoo.saved_model.checker import growth

_KB = 1024


def test_a_leak_is_seen_and_its_slope_is_right():
    kept = []
    good, words = growth.measure(lambda _: kept.append(bytearray(256 * _KB)), 60)
    assert not good
    assert 230 < float(words.split(" KB")[0]) < 290, words


def test_pages_of_files_do_not_hide_a_leak(tmp_path):
    """The kernel drops them when memory is short."""
    kept, size = [], 60 * 256 * _KB
    (tmp_path / "file").write_bytes(bytes(size))
    with open(tmp_path / "file", "rb") as file:
        pages = mmap.mmap(file.fileno(), 0, mmap.MAP_PRIVATE, mmap.PROT_READ)
    assert sum(pages[:: mmap.PAGESIZE]) == 0  # all are read

    def call(turn):
        kept.append(bytearray(256 * _KB))
        pages.madvise(mmap.MADV_DONTNEED, turn * 256 * _KB, 256 * _KB)

    good, words = growth.measure(call, 60)
    assert not good, words


def test_a_first_step_is_not_a_leak():
    kept = []

    def call(turn):
        if turn < 10:
            kept.append(bytearray(1024 * _KB))
        return bytearray(256 * _KB)

    good, words = growth.measure(call, 60)
    assert good, words


def test_one_late_step_is_not_a_leak():
    kept = []

    def call(turn):
        if turn == 40:
            kept.append(bytearray(8192 * _KB))

    good, words = growth.measure(call, 60)
    assert good, words
