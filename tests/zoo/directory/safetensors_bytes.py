"""Safetensors files byte by byte, right or wrong."""

import json


def pack(header, data=b"", length=None) -> bytes:
    """A file of a header (a value or its text) and data; `length` may lie."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    size = len(text) if length is None else length
    return size.to_bytes(8, "little") + text + data


def entry(begin, end, shape, dtype="F32") -> dict:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}
