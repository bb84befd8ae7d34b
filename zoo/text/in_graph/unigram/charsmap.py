"""SentencePiece's precompiled map: a double array of keys, and their replacements.

The file has the size of the array in bytes, the array of 32-bit units, and the
replacements, each with a NUL behind it. A unit holds the byte that leads to it, the way
to its children, and whether a key ends there. The array is that of the library
Darts-clone. Kudo and Richardson 2018 (arXiv:1808.06226).
"""

import struct

import numpy as np

_VALUE = 0x7FFFFFFF
_MOST = 2**20  # nodes; the published maps have ten thousand


def read(content: bytes) -> dict[str, str]:
    """The replacement of each key that no other key starts.

    `tokenizers` takes the first key that starts a text, so a longer one has no use.

    Raises:
      ValueError: the content is no such map.
    """
    try:
        (size,) = struct.unpack_from("<I", content)
        units = np.frombuffer(content, "<u4", size // 4, 4)
        texts = content[4 + size // 4 * 4 :]
        found = {key: _text(texts, at) for key, at in _keys(units)}
        return {key.decode(): text.decode() for key, text in found.items()}
    except (struct.error, ValueError, IndexError) as error:
        raise ValueError(f"precompiled_charsmap: not a map ({error})") from None


def write(replacements: dict[str, str]) -> bytes:
    """A map with these keys, which hold no NUL; each node takes 256 units."""
    units = [0] * 256
    texts, starts = b"", {}
    for key, text in replacements.items():
        starts[key.encode()] = len(texts)
        texts += text.encode() + b"\0"

    def fill(keys, unit, depth):
        # the children of a unit are at `base` XOR their byte
        base = len(units) + unit % 256
        units.extend([0] * 256)
        units[unit] |= (base ^ unit) >> 8 << 10 | 1 << 9
        for byte in sorted({key[depth] for key in keys if len(key) > depth}):
            units[base ^ byte] |= byte
            part = [key for key in keys if key[depth : depth + 1] == bytes([byte])]
            fill(part, base ^ byte, depth + 1)
        for key in keys:
            if len(key) == depth:
                units[unit] |= 1 << 8
                units[base] = starts[key] | 1 << 31

    fill(list(starts), 0, 0)
    array = struct.pack(f"<{len(units)}I", *units)
    return struct.pack("<I", len(array)) + array + texts


def _keys(units):
    """The keys of a double array, and the place of each one's replacement."""
    values = units.astype(np.int64)
    label = values & (1 << 31 | 0xFF)
    offset = values >> 10 << ((values & 1 << 9) >> 6)
    bytes_ = np.arange(1, 256)
    nodes = [(b"", int(offset[0]))]
    for key, base in nodes:
        if base | 255 >= len(values):  # where `tokenizers` would read out of bounds
            raise ValueError("its array leads outside itself")
        places = base ^ bytes_
        for place in places[label[places] == bytes_].tolist():
            child = place ^ int(offset[place])
            below = key + bytes([int(label[place])])
            if values[place] >> 8 & 1:
                yield below, int(values[child]) & _VALUE
            elif len(nodes) > _MOST:
                raise ValueError("its array has a loop or too many keys")
            else:
                nodes.append((below, child))


def _text(texts, at):
    """The replacement at a place."""
    if at >= len(texts):
        raise ValueError("a replacement is outside")
    end = texts.find(b"\0", at)
    return texts[at : end if end >= 0 else None]
