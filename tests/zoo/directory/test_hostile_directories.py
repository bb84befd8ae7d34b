"""Directories of anybody: one clear error each, nothing run, nothing written."""

import json
import os
import resource
import shutil

import numpy as np
import pytest
import safetensors.numpy
from directory_cases import built, read, write
from safetensors_bytes import pack

from zoo import directory


@pytest.fixture(scope="module")
def saved(tmp_path_factory, tokenizer):
    """A directory of each family that the tests below damage."""
    base = tmp_path_factory.mktemp("saved")
    for family in ("gpt2", "llama", "zoo-gru_lm", "zoo-lstm_lm", "zoo-dense_net"):
        text = "dense" not in family
        directory.save(base / family, built(family), tokenizer if text else None)
    return base


@pytest.fixture
def copy(saved, tmp_path):
    def make(family):
        shutil.copytree(saved / family, tmp_path / "m")
        (tmp_path / "m/SHA256SUMS").unlink()
        return tmp_path / "m"

    return make


def contents(folder):
    return {
        p: p.read_bytes()
        for p in folder.rglob("*")
        if p.is_file() and p.stat().st_size < 2**20
    }


def refused(folder):
    before = contents(folder.parent)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ValueError) as error:
        directory.load(folder)
    more = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak
    assert more < 256 * 1024, f"{more} kB more memory"
    message = str(error.value)
    assert str(folder) in message and "\n" not in message and len(message) < 600
    assert contents(folder.parent) == before
    return message


@pytest.mark.parametrize(
    "family, changes, words",
    [
        ("gpt2", {"model_type": "gpt3"}, "'gpt3'. Did you mean gpt2? Allowed: "),
        ("gpt2", {"model_type": None}, "model_type None"),
        ("gpt2", {"model_type": ["gpt2"]}, "model_type ['gpt2']"),
        ("gpt2", {"model_type": "zoo-gpt2"}, "the field 'zoo' is missing"),
        ("gpt2", {"n_embd": None}, "width: None is a NoneType, expected int"),
        ("gpt2", {"n_embd": "32"}, "width: '32' is a str, expected int"),
        ("gpt2", {"n_head": 3}, "heads: 3 does not divide width 32"),
        ("gpt2", {"n_layer": -1}, "layers: -1, at least 1 allowed"),
        ("gpt2", {"n_layer": 10**12}, "1000000000000 layers"),
        ("gpt2", {"vocab_size": 10**12}, "expected (1000000000000, 32)"),
        ("gpt2", {"n_inner": 10**12}, "has shape"),
        ("gpt2", {"n_positions": 10**12}, "expected (1000000000000, 32)"),
        ("gpt2", {"layer_norm_epsilon": "x"}, "norm_epsilon: 'x' is a str"),
        ("gpt2", {"resid_pdrop": 2.0}, "dropout: 2.0"),
        ("gpt2", {"activation_function": "swish2"}, "activation 'swish2'"),
        ("gpt2", {"activation_function": {}}, "activation {}"),
        ("gpt2", {"scale_attn_by_inverse_layer_idx": True}, "allowed: False"),
        ("gpt2", {"tie_word_embeddings": "no"}, "tied_head: 'no' is a str"),
        ("llama", {"rope_scaling": {"rope_type": "yarn"}}, "'factor' is missing"),
        ("llama", {"rope_scaling": "yarn"}, "rope_scaling 'yarn'"),
        ("llama", {"rope_theta": []}, "rope_theta: [] is a list"),
        ("llama", {"num_key_value_heads": 3}, "kv_heads: 3 does not divide heads 4"),
        ("llama", {"hidden_size": 64}, "expected (300, 64)"),
        ("zoo-gru_lm", {"model_type": "zoo-lstm_lm"}, "but zoo.name 'gru_lm'"),
        ("zoo-gru_lm", {"zoo": []}, "the field 'zoo' is missing or not an object"),
        ("zoo-gru_lm", {"zoo": {"name": ["gru_lm"]}}, "but zoo.name ['gru_lm']"),
    ],
    ids=str,
)
def test_hostile_config(family, changes, words, copy):
    folder = copy(family)
    write(folder, {**read(folder), **changes})
    assert words in refused(folder)


@pytest.mark.parametrize(
    "family, changes, words",
    [
        ("gru_lm", {"cell": "lstm"}, "gru_lm.cell: 'lstm', 'gru' allowed"),
        ("gru_lm", {"unit": 3}, "Unknown field gru_lm.unit. Did you mean units?"),
        ("gru_lm", {"units": True}, "units: True is a bool"),
        ("gru_lm", {"dropout": float("nan")}, "dropout: nan is not a finite number"),
        ("gru_lm", {"layers": 10**12}, "1000000000000 layers"),
        ("gru_lm", {"vocab_size": 100}, "expected (100, 32)"),
        ("lstm_lm", {"units": 10**12}, "expected (32, 4000000000000)"),
        ("lstm_lm", {"width": 10**12}, "expected (300, 1000000000000)"),
        ("dense_net", {"features": 10**12}, "expected (1000000000000,)"),
        ("dense_net", {"widths": [8, 10**12]}, "expected (8, 1000000000000)"),
    ],
    ids=str,
)
def test_hostile_fields(family, changes, words, copy):
    folder = copy(f"zoo-{family}")
    config = read(folder)
    config["zoo"] |= changes
    write(folder, config)
    assert words in refused(folder)


@pytest.mark.parametrize(
    "text, words",
    [
        (b"", "is not JSON"),
        (b"{", "is not JSON"),
        (b"[]", "holds a list, expected an object"),
        (b"\xff\xfe", "is not JSON"),
        (b"[" * 100000, "is not JSON"),
        (b'{"model_type": "gpt2"}', "is missing"),
    ],
    ids=["empty", "cut", "list", "bytes", "deep", "bare"],
)
def test_config_that_is_none(text, words, copy):
    folder = copy("gpt2")
    (folder / "config.json").write_bytes(text)
    assert words in refused(folder)


@pytest.mark.parametrize(
    "name, words",
    [
        ("config.json", "config.json: there is no such file"),
        ("model.safetensors", "has neither model.safetensors nor"),
    ],
)
def test_missing_file(name, words, copy):
    folder = copy("gpt2")
    (folder / name).unlink()
    assert words in refused(folder)


def test_missing_folder(tmp_path):
    with pytest.raises(ValueError, match="nowhere: there is no such model directory"):
        directory.load(tmp_path / "nowhere")


def change_tensors(folder, change):
    tensors = safetensors.numpy.load_file(folder / "model.safetensors")
    change(tensors)
    safetensors.numpy.save_file(tensors, folder / "model.safetensors")


def poison(tensors, value):
    name = sorted(tensors)[0]
    tensors[name] = tensors[name].copy()
    tensors[name].flat[-1] = value


@pytest.mark.parametrize("family", ["gpt2", "llama", "zoo-gru_lm"])
@pytest.mark.parametrize(
    "change, words",
    [
        (lambda t: t.pop(sorted(t)[0]), "is missing"),
        (lambda t: t.update(extra=np.zeros(3, np.float32)), "unknown tensors: extra"),
        (lambda t: t.update({sorted(t)[0]: t[sorted(t)[0]][:-1]}), "has shape"),
        (lambda t: t.update({sorted(t)[0]: np.zeros((), np.float32)}), "has shape ()"),
        (lambda t: poison(t, np.nan), "has NaN or Inf"),
        (lambda t: poison(t, np.inf), "has NaN or Inf"),
    ],
    ids=["missing", "extra", "shape", "scalar", "nan", "inf"],
)
def test_hostile_tensors(family, change, words, copy):
    folder = copy(family)
    change_tensors(folder, change)
    assert words in refused(folder)


@pytest.mark.parametrize("size", [0, 7, 100, -1])
def test_cut_tensors(size, copy):
    path = copy("gpt2") / "model.safetensors"
    path.write_bytes(path.read_bytes()[:size])
    assert "cannot be read as safetensors" in refused(path.parent)


def test_tensors_with_a_header_that_lies(copy):
    path = copy("gpt2") / "model.safetensors"
    header = b'{"x":{"dtype":"F32","shape":[1],"data_offsets":[0,999999999999]}}'
    path.write_bytes(pack(header, bytes(4)))
    assert "cannot be read as safetensors" in refused(path.parent)
    path.write_bytes(pack(header, b"", 2**63))
    assert "cannot be read as safetensors" in refused(path.parent)


def test_a_header_of_200_megabytes(copy):
    path = copy("gpt2") / "model.safetensors"
    with open(path, "wb") as file:
        file.write(pack(b"{", b"", 200 * 2**20))
        file.truncate(8 + 200 * 2**20)
    assert "a header of 209715200 bytes" in refused(path.parent)


@pytest.mark.parametrize("shard", ["../m.safetensors", "/etc/hostname", "sub/x"])
def test_an_index_that_leads_out(shard, copy):
    folder = copy("gpt2")
    tensors = safetensors.numpy.load_file(folder / "model.safetensors")
    (folder / "model.safetensors").rename(folder.parent / "m.safetensors")
    index = {"weight_map": dict.fromkeys(tensors, shard)}
    write(folder, index, "model.safetensors.index.json")
    message = refused(folder)
    assert "of the same folder allowed" in message and repr(shard) in message


def test_a_refused_directory_takes_no_memory(copy):
    """The shapes are compared before a weight is made: 4 TB would be asked for."""
    folder = copy("gpt2")
    write(folder, {**read(folder), "n_embd": 10**6, "n_head": 1, "vocab_size": 10**6})
    assert "expected (1000000, 1000000)" in refused(folder)


# ---- code, links, and what is no file ----


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json"])
def test_code_is_not_run(name, copy):
    folder = copy("gpt2")
    evil = "import pathlib\npathlib.Path('{}').write_text('run')\n"
    for module in ("modeling_evil.py", "__init__.py", "tokenization_evil.py"):
        (folder / module).write_text(evil.format(folder.parent / "run"))
    classes = {"AutoModelForCausalLM": "modeling_evil.Evil"}
    classes |= {"AutoTokenizer": ["tokenization_evil.Evil", None]}
    write(folder, {**read(folder, name), "auto_map": classes}, name)
    message = refused(folder)
    assert f"{name}: auto_map" in message and "none of it is run" in message
    assert not (folder.parent / "run").exists()


def test_a_pickle_is_not_opened(copy):
    folder = copy("gpt2")
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'touch run'\ntR.")
    for source in (folder, folder / "pytorch_model.bin"):
        with pytest.raises(ValueError, match="is a pickle, which can run any code"):
            directory.load(source)
    assert "pytorch_model.bin" in refused(folder)


@pytest.mark.parametrize("kind", ["absolute", "relative", "folder"])
@pytest.mark.parametrize(
    "name",
    [
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
        "generation_config.json",
        "special_tokens_map.json",
        "chat_template.jinja",
    ],
)
def test_a_link_out(name, kind, copy):
    folder = copy("gpt2")
    outside = folder.parent / "outside"
    outside.mkdir()
    if (folder / name).exists():
        (folder / name).rename(outside / name)
    else:
        (outside / name).write_text("{}")
    if kind == "folder":
        (folder / "sub").symlink_to(outside)
        (folder / name).symlink_to(f"sub/{name}")
    else:
        target = outside / name if kind == "absolute" else f"../outside/{name}"
        (folder / name).symlink_to(target)
    assert f"{name}: is a link out of the folder" in refused(folder)


def test_a_blob_beside_snapshots_only(copy):
    """Only the cache of the Hub has files beside the folder of a model."""
    folder = copy("gpt2")
    blobs = folder.parent / "blobs"
    blobs.mkdir()
    (folder / "config.json").rename(blobs / "abc")
    (folder / "config.json").symlink_to("../blobs/abc")
    assert "is a link out of the folder" in refused(folder)
    # and there, the folder of blobs may not be a link itself
    repository = folder.parent / "models--o--n"
    (repository / "snapshots").mkdir(parents=True)
    snapshot = repository / "snapshots" / "c0ffee"
    folder.rename(snapshot)
    (snapshot / "config.json").unlink()
    (snapshot / "config.json").symlink_to("../../blobs/abc")
    (repository / "blobs").symlink_to(blobs)
    assert "is a link out of the folder" in refused(snapshot)
    (repository / "blobs").unlink()
    blobs.rename(repository / "blobs")
    directory.load(snapshot)


def test_links_that_stay(copy):
    folder = copy("gpt2")
    (folder / "model.safetensors").rename(folder / "weights")
    (folder / "model.safetensors").symlink_to("weights")
    (folder.parent / "link").symlink_to(folder)
    directory.load(folder.parent / "link")


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_what_is_no_file(name, copy):
    folder = copy("gpt2")
    path = folder / name
    path.unlink()
    path.symlink_to(name)  # to itself
    assert f"{name}: there is no such file" in refused(folder)
    path.unlink()
    path.symlink_to("nowhere")
    assert f"{name}: there is no such file" in refused(folder)
    path.unlink()
    path.mkdir()
    assert f"{name}: is not a regular file" in refused(folder)
    path.rmdir()
    os.mkfifo(path)  # which nobody writes to: opening it would wait for ever
    assert f"{name}: is not a regular file" in refused(folder)
    path.unlink()
    path.symlink_to("/dev/zero")
    assert f"{name}: is a link out of the folder" in refused(folder)


# ---- small files ----


@pytest.mark.parametrize(
    "name, value, words",
    [
        ("generation_config.json", [], "holds a list, expected an object"),
        ("generation_config.json", {"top_p": 7}, "top_p: 7.0, above 0 and at most 1"),
        ("generation_config.json", {"top_k": "x"}, "generation.top_k: 'x' is a str"),
        ("generation_config.json", {"eos_token_id": "x"}, "eos_token_id 'x'"),
        ("generation_config.json", {"eos_token_id": [1, True]}, "eos_token_id True"),
        ("generation_config.json", {"eos_token_id": 10**30}, "a token id allowed"),
        ("tokenizer_config.json", [], "a list, expected an object"),
        ("tokenizer_config.json", {"eos_token": "<x>"}, "'<x>' is not in the vocab"),
        ("tokenizer_config.json", {"eos_token": ["x"]}, "the tokenizer is broken"),
        ("tokenizer.json", {}, "not a tokenizer"),
        ("tokenizer.json", {"model": {"type": "BPE"}}, "not a tokenizer"),
        ("special_tokens_map.json", 3, "a int, expected an object"),
    ],
    ids=str,
)
def test_a_hostile_small_file(name, value, words, copy):
    folder = copy("gpt2")
    write(folder, value, name)
    assert words in refused(folder)


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json"])
def test_a_small_file_that_is_large(name, copy):
    folder = copy("gpt2")
    (folder / name).write_text('{"a":[' + "{}," * (3 * 2**20) + "0]}")
    assert f"{name}: larger than 8388608 bytes" in refused(folder)
    (folder / name).write_text('{"a":[' + "{}," * (2**23 // 3 - 8) + "0]}")
    if name == "config.json":
        assert "model_type None" in refused(folder)
    else:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        directory.load(folder)
        more = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak
        assert more < 256 * 1024


def test_a_config_that_is_json_for_python_only(copy):
    folder = copy("gpt2")
    (folder / "config.json").write_text(json.dumps(read(folder))[:-1] + ', "a": NaN}')
    with pytest.warns(UserWarning, match="the fields a are not used"):
        directory.load(folder)
    value = read(folder) | {"layer_norm_epsilon": float("nan")}
    text = json.dumps({name: value[name] for name in value if name != "a"})
    (folder / "config.json").write_text(text)
    assert "norm_epsilon: nan is not a finite number" in refused(folder)


@pytest.mark.parametrize("name", ["x.keras", "x.gguf", "x.weights.h5", "x", "x.bin"])
def test_a_pipe_is_not_opened(name, tmp_path):
    """Opening a named pipe for reading waits for a writer without end."""
    os.mkfifo(tmp_path / name)
    for reader in (directory.load, directory.read_tokenizer):
        with pytest.raises(ValueError, match=f"{name}: is not a regular file"):
            reader(tmp_path / name)
