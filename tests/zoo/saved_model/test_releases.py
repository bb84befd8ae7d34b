"""The table of new ops, against the library that is installed."""

import pytest

from zoo.saved_model.checker import library, releases


def test_first():
    assert releases.first(["MatMul", "BatchFunction"]) == "2.14"
    assert releases.first(["MatMul", "FFTND"]) == "2.16"
    assert releases.first(["DecodeWebP", "FFTND", "Add"]) == "2.20"


@pytest.mark.parametrize("release", ["2.16", "2.18", "2.20", "2.21"])
def test_new_ops_are_in_the_library(release):
    """A release later than the newest known one may have more."""
    lib = library.load(str(library.folder()))
    registry = library.registry(lib)
    new = set(releases._NEW[release])
    assert new and new <= registry.keys()
