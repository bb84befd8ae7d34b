"""The compression baseline: how many bits a byte xz needs for a test text."""

import lzma


def xz_bits_per_byte(train_text: bytes, test_text: bytes) -> float:
    """How many bits xz needs for each byte of the test text after the training text.

    The dictionary is as large as both texts, so xz can refer to every earlier byte.

    Args:
      train_text: what xz compresses first; may be empty.
      test_text: what is measured.

    Raises:
      ValueError: the test text is empty.
    """
    if not test_text:
        raise ValueError("test_text is empty.")
    extra = _size(train_text + test_text) - _size(train_text)
    return extra * 8 / len(test_text)


def _size(text: bytes) -> int:
    """The compressed size of a text, in bytes."""
    preset = 9 | lzma.PRESET_EXTREME
    dictionary = min(max(len(text), 1 << 26), 3 << 29)  # at least preset 9's
    chain = [{"id": lzma.FILTER_LZMA2, "preset": preset, "dict_size": dictionary}]
    return len(lzma.compress(text, format=lzma.FORMAT_XZ, filters=chain))
