"""The command that makes a model directory of anything pretrained."""

import importlib
import json
import random
import shutil
import types

import numpy as np
import pytest
import safetensors.numpy
import tokenizers
from absl import flags
from absl.testing import flagsaver

from zoo import directory, files, models
from zoo.directory import safetensors_file
from zoo.text import tokenizer as tokenizer_lib


@pytest.fixture
def source(tmp_path, tokenizer):
    """A Llama in half precision and in shards, with two ends of a text."""
    fields = {"vocab_size": 300, "context": 32, "width": 32, "layers": 2, "heads": 4}
    fields |= {"norm": "rmsnorm", "positions": "rotary", "activation": "silu"}
    fields |= {"qkv_bias": False, "out_bias": False, "mlp_bias": False, "gated": True}
    model = models.build("transformer_lm", **fields)
    folder = tmp_path / "source"
    directory.save(folder, model, tokenizer)
    tensors = safetensors.numpy.load_file(folder / safetensors_file.FILE)
    for name in (safetensors_file.FILE, "SHA256SUMS"):
        (folder / name).unlink()
    index = {}
    for i, name in enumerate(sorted(tensors)):
        file = f"model-{i}.safetensors"
        half = tensors[name].astype(np.float16)
        safetensors.numpy.save_file({name: half}, folder / file)
        index[name] = file
    (folder / safetensors_file.INDEX).write_text(json.dumps({"weight_map": index}))
    config = json.loads((folder / "config.json").read_text())
    config |= {"eos_token_id": [0, 7], "use_cache": True, "bos_token_id": 3}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def test_what_it_writes(source, commands, tmp_path):
    out = tmp_path / "out"
    done = commands("zoo.convert", f"--source={source}", f"--output={out}")
    assert done.code == 0 and done.out.splitlines()[-1] == str(out), done.out
    names = {"config.json", "generation_config.json", "model.safetensors"}
    names |= {"tokenizer.json", "tokenizer_config.json", "SHA256SUMS"}
    assert {p.name for p in out.iterdir()} == names
    first, second = directory.load(source), directory.load(out)
    for mine, other in zip(second.model.weights, first.model.weights, strict=True):
        np.testing.assert_array_equal(mine, other)
    tensors = safetensors.numpy.load_file(out / safetensors_file.FILE)
    assert {t.dtype for t in tensors.values()} == {np.dtype(np.float32)}
    for name in ("config.json", "generation_config.json"):
        assert json.loads((out / name).read_text())["eos_token_id"] == [0, 7]
    ends = second.tokenizer.config["end_tokens"]
    assert ends == first.tokenizer.config["end_tokens"] and len(ends) == 2
    # once more gives the same bytes
    again = tmp_path / "again"
    assert commands("zoo.convert", f"--source={out}", f"--output={again}").code == 0
    for name in names:
        assert (again / name).read_bytes() == (out / name).read_bytes(), name


def test_what_it_refuses(source, commands, tmp_path):
    out = tmp_path / "out"

    def error(*args):
        done = commands("zoo.convert", *args)
        assert done.code == 1 and len(done.errors) == 1, done.out
        return done.errors[0]

    given = f"--source={source}"
    assert "is not empty" in error(given, f"--output={source}")
    assert "is not a name on the Hub" in error(
        given, f"--output={out}", "--revision=main"
    )
    assert "there is no such model directory" in error(
        f"--source={tmp_path}/none", f"--output={out}"
    )
    (tmp_path / "file").write_text("")
    for more in ((), ("--format=gguf",)):
        message = error(given, f"--output={tmp_path}/file/out.gguf", *more)
        assert f"{tmp_path}/file: is a file; a folder for out.gguf allowed" in message
    (tmp_path / "file").unlink()
    shard = next(source.glob("*.safetensors"))
    shard.write_bytes(shard.read_bytes()[:-1])
    assert "cannot be read as safetensors" in error(given, f"--output={out}")
    left = {p.name for p in tmp_path.iterdir()}
    assert not out.exists() and left == {"source"}


def test_a_tokenizer_in_two_files(source, commands, tmp_path, tokenizer):
    """vocab.json and merges.txt become a tokenizer.json with the same ids."""
    engine = tokenizers.Tokenizer.from_str(tokenizer.json)
    engine.model.save(str(source))
    (source / "tokenizer.json").unlink()
    settings = {"tokenizer_class": "GPT2Tokenizer"}
    (source / "tokenizer_config.json").write_text(json.dumps(settings))
    out = tmp_path / "out"
    done = commands("zoo.convert", f"--source={source}", f"--output={out}")
    assert done.code == 0, done.out
    written = tokenizer_lib.load(out)
    rng = random.Random(0)
    for _ in range(200):
        text = "".join(rng.choices("abc  é\n1你", k=20))
        assert written.encode(text) == tokenizer.encode(text)


def test_a_full_disk_is_found_before_the_weights_are_read(
    source, tmp_path, monkeypatch
):
    monkeypatch.setattr(
        shutil, "disk_usage", lambda path: types.SimpleNamespace(free=9)
    )
    convert = importlib.import_module("zoo.convert")
    monkeypatch.setattr(convert, "assemble", None)
    flags.FLAGS.mark_as_parsed()
    try:
        with flagsaver.flagsaver(source=str(source), output=str(tmp_path / "out")):
            with pytest.raises(files.FileError) as error:
                convert.main([])
    finally:
        flags.FLAGS.unparse_flags()
    assert "out: needs 170,112 bytes, but the disk has 9." in str(error.value)
    with pytest.raises(files.FileError, match="m: needs"):
        directory.save(tmp_path / "m", directory.load(source).model)
    assert {p.name for p in tmp_path.iterdir()} == {"source"}
