"""The compression baseline."""

import os

import pytest

from zoo.data import sources
from zoo.metrics import compression


def test_what_was_seen_is_nearly_free_and_noise_costs_eight_bits():
    noise = os.urandom(50_000)
    assert compression.xz_bits_per_byte(noise, noise) < 0.2
    assert compression.xz_bits_per_byte(b"", noise) == pytest.approx(8, abs=0.1)
    with pytest.raises(ValueError, match="empty"):
        compression.xz_bits_per_byte(noise, b"")


def test_the_bible_takes_1_76_bits_a_byte():
    seen, unseen = (
        "\n".join(sources.documents("kjv", split)).encode()
        for split in ("train+valid", "test")
    )
    assert compression.xz_bits_per_byte(seen, unseen) == pytest.approx(1.764, abs=0.002)
