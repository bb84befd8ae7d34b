"""The compression baseline: how many bits a byte xz needs for a test text."""

import lzma


def xz_bits_per_byte(train_text: bytes, test_text: bytes) -> float:
    """Bits xz spends on each byte of the test after having seen the training text.

    The dictionary holds both texts whole, so nothing that was seen is forgotten.

    Raises:
      ValueError: the test text is empty.
    """
    if not test_text:
        raise ValueError("test_text is empty.")
    extra = _size(train_text + test_text) - _size(train_text)
    return extra * 8 / len(test_text)


def _size(text: bytes) -> int:
    preset = 9 | lzma.PRESET_EXTREME
    dictionary = min(max(len(text), 1 << 26), 3 << 29)  # what preset 9 has, or more
    chain = [{"id": lzma.FILTER_LZMA2, "preset": preset, "dict_size": dictionary}]
    return len(lzma.compress(text, format=lzma.FORMAT_XZ, filters=chain))
