"""Digests: each flipped bit of the weights and of config.json is found."""

import hashlib

import pytest
from directory_cases import SMALL

from zoo import directory, models
from zoo.directory import checksums, safetensors_file


@pytest.fixture
def folder(tmp_path):
    directory.save(tmp_path / "m", models.build("gru_lm", **SMALL, units=8))
    return tmp_path / "m"


def flip(path, bit):
    content = bytearray(path.read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_flipped_bit_is_found(name, folder):
    path = folder / name
    first, size = path.read_bytes(), 8 * path.stat().st_size
    for bit in range(0, size, size // 37):
        flip(path, bit)
        with pytest.raises(ValueError) as error:
            directory.load(folder)
        message = str(error.value)
        assert f"{path}: was changed after it was written" in message
        assert "delete SHA256SUMS" in message and "\n" not in message
        path.write_bytes(first)
    directory.load(folder)


@pytest.mark.parametrize("name", ["tokenizer.json", "generation_config.json"])
def test_a_file_that_users_edit_gives_a_warning(name, tokenizer, tmp_path, caplog):
    folder = tmp_path / "m"
    directory.save(folder, models.build("gru_lm", **SMALL, units=8), tokenizer)
    with caplog.at_level("WARNING", logger="absl"):
        directory.load(folder)
        assert not caplog.text
        (folder / name).write_text((folder / name).read_text() + "\n")
        directory.load(folder)
    assert f"{folder / name}: was edited or damaged" in caplog.text


def test_a_flipped_bit_of_the_digests_is_found(folder):
    path = folder / checksums.FILE
    first, size = path.read_bytes(), 8 * path.stat().st_size
    for bit in range(0, size, size // 97):
        flip(path, bit)
        with pytest.raises(ValueError, match="SHA256SUMS"):
            directory.load(folder)
        path.write_bytes(first)


def test_sha256sum_reads_the_digests(folder):
    lines = (folder / checksums.FILE).read_text().splitlines()
    for line in lines:
        digest, name = line.split("  ")
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
    assert [line[66:] for line in lines] == ["config.json", safetensors_file.FILE]


def test_a_directory_without_digests_loads(folder):
    flip(
        folder / "model.safetensors",
        8 * (folder / "model.safetensors").stat().st_size - 20,
    )
    (folder / checksums.FILE).unlink()
    directory.load(folder)


def test_only_strict_lines_are_allowed(folder):
    for text in ("SHA256 (config.json) = 00\n", "0" * 64 + "  other\n", "x" * 2**17):
        (folder / checksums.FILE).write_text(text)
        with pytest.raises(ValueError, match="SHA256SUMS: (.*allowed|has no|larger)"):
            directory.load(folder)
