"""Reads all texts of a source, and packs bytes, for the tests of sources."""

import io
import pathlib
import zipfile

import pyarrow as pa

from zoo.data import sources

RECORDED = pathlib.Path(__file__).parents[1] / "zoo/data/recorded"  # see its make.py
ROW = b'{"text": "a"}\n'


def read(spec, split="train", field=""):
    """The texts of all parts, and the messages of all bad rows."""
    found = [
        pair
        for part in sources.parts(spec, split)
        for pair in sources.texts(part, field)
    ]
    bad = [str(text) for _, text in found if isinstance(text, ValueError)]
    return [text for _, text in found if isinstance(text, str)], bad


def zipped(members):
    """The bytes of a zip, of names and bytes."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return packed.getvalue()


def zstd(data):
    """The bytes, compressed as Zstandard."""
    return pa.Codec("zstd").compress(data, asbytes=True)
