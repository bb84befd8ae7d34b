"""Model directories: read as they were written, bit for bit; hostile ones refused."""

import json

import numpy as np
import pytest
import safetensors.numpy
import tensorflow as tf

from zoo import directory, models

SMALL = {"vocab_size": 300, "context": 16, "width": 32, "layers": 2}
LLAMA = {
    "heads": 4,
    "kv_heads": 2,
    "norm": "rmsnorm",
    "positions": "rotary",
    "activation": "silu",
    "gated": True,
    "qkv_bias": False,
    "out_bias": False,
    "mlp_bias": False,
    "tied_head": False,
}
FAMILIES = {
    "gpt2": ("transformer_lm", {**SMALL, "heads": 4}),
    "gpt2-free-head": ("transformer_lm", {**SMALL, "heads": 4, "tied_head": False}),
    "llama": ("transformer_lm", {**SMALL, **LLAMA}),
    "llama-biased": (
        "transformer_lm",
        {**SMALL, **LLAMA, "qkv_bias": True, "out_bias": True, "mlp_bias": True},
    ),
    "zoo-transformer_lm": (
        "transformer_lm",
        {**SMALL, "heads": 2, "norm_place": "post", "logit_softcap": 5.0},
    ),
    "zoo-lstm_lm": ("lstm_lm", {**SMALL, "units": 24}),
    "zoo-gru_lm": ("gru_lm", {**SMALL, "units": 32, "tied_head": True}),
    "zoo-rnn_lm": ("rnn_lm", {**SMALL, "units": 24}),
    "zoo-dense_net": ("dense_net", {"features": 5, "classes": 3, "widths": (8, 4)}),
}
INPUTS = {
    "lm": tf.random.stateless_uniform([2, 9], [1, 2], 0, 300, tf.int32),
    "dense": tf.random.stateless_normal([2, 5], [1, 2]),
}


def built(family):
    name, fields = FAMILIES[family]
    model = models.build(name, **fields)
    for i, v in enumerate(model.weights):
        if v.dtype == "float32":
            v.assign(v + tf.random.stateless_normal(v.shape, [i, 3], stddev=0.3))
    return model


def output(model, family):
    return model(INPUTS["dense" if "dense" in family else "lm"]).numpy()


def read(folder, name="config.json"):
    return json.loads((folder / name).read_text(encoding="utf-8"))


def write(folder, value, name="config.json"):
    (folder / name).write_text(json.dumps(value), encoding="utf-8")


@pytest.mark.parametrize("family", FAMILIES)
def test_no_bit_is_lost(family, tmp_path, tokenizer):
    model = built(family)
    given = None if "dense" in family else tokenizer
    generation = directory.Generation(temperature=0.5, top_k=3, max_new_tokens=9)
    directory.save(tmp_path / "m", model, given, generation)
    loaded = directory.load(tmp_path / "m")
    for mine, other in zip(loaded.model.weights, model.weights, strict=True):
        np.testing.assert_array_equal(mine, other)
    np.testing.assert_array_equal(output(loaded.model, family), output(model, family))
    assert loaded.model.config.dropout == model.config.dropout
    if given is not None:
        assert loaded.generation == generation
        assert loaded.tokenizer.encode("abc def") == given.encode("abc def")
        assert loaded.tokenizer.json == given.json
    # and once more, from what was loaded
    directory.save(tmp_path / "again", loaded.model, loaded.tokenizer, generation)
    for file in sorted(p.name for p in (tmp_path / "m").iterdir()):
        first, second = ((tmp_path / f / file).read_bytes() for f in ("m", "again"))
        assert first == second, file


@pytest.mark.parametrize("family", FAMILIES)
def test_files(family, tmp_path, tokenizer):
    text = "dense" not in family
    directory.save(tmp_path / "m", built(family), tokenizer if text else None)
    files = {"config.json", "model.safetensors"}
    if text:
        files |= {"tokenizer.json", "tokenizer_config.json", "generation_config.json"}
    assert {p.name for p in (tmp_path / "m").iterdir()} == files
    config = read(tmp_path / "m")
    wanted = family if family.startswith("zoo-") else family.split("-")[0]
    assert config["model_type"] == wanted
    tensors = safetensors.numpy.load_file(tmp_path / "m/model.safetensors")
    assert {t.dtype for t in tensors.values()} == {np.dtype("float32")}
    # what Keras numbers by its process is in no name
    assert not [n for n in tensors if n.startswith(("dense_net", "transformer_lm"))]


def test_gpt2_as_others_read_it(tmp_path):
    model = built("gpt2")
    directory.save(tmp_path / "m", model)
    config = read(tmp_path / "m")
    wanted = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 16}
    wanted |= {"n_inner": 128, "activation_function": "gelu_new"}
    assert wanted.items() <= config.items()
    tensors = safetensors.numpy.load_file(tmp_path / "m/model.safetensors")
    assert tensors["transformer.h.1.attn.c_attn.weight"].shape == (32, 96)  # [in, out]
    assert tensors["transformer.h.0.mlp.c_fc.weight"].shape == (32, 128)
    np.testing.assert_array_equal(
        tensors["transformer.h.0.mlp.c_proj.weight"].T,
        model.blocks[0].mlp.down.weight,
    )
    assert "lm_head.weight" not in tensors


def test_llama_as_others_read_it(tmp_path):
    model = built("llama")
    directory.save(tmp_path / "m", model)
    config = read(tmp_path / "m")
    wanted = {"hidden_size": 32, "num_key_value_heads": 2, "head_dim": 8}
    wanted |= {"intermediate_size": 128, "hidden_act": "silu"}
    assert wanted.items() <= config.items()
    tensors = safetensors.numpy.load_file(tmp_path / "m/model.safetensors")
    layer = "model.layers.1"
    qkv = [tensors[f"{layer}.self_attn.{x}_proj.weight"] for x in "qkv"]
    assert [x.shape for x in qkv] == [(32, 32), (16, 32), (16, 32)]
    block = model.blocks[1]
    np.testing.assert_array_equal(np.concatenate(qkv), block.attention.qkv.weight)
    gate = tensors[f"{layer}.mlp.gate_proj.weight"]  # our gate comes first
    np.testing.assert_array_equal(gate, block.mlp.up.weight[:128])


def test_what_0_stands_for_is_said_in_numbers():
    left = models.build("transformer_lm", **SMALL, heads=4).config
    right = models.build(
        "transformer_lm", **SMALL, heads=4, kv_heads=4, head_width=8, mlp_width=128
    ).config
    assert left != right
    assert directory.fields_of(left) == directory.fields_of(right)


def test_a_full_folder_is_left_alone(tmp_path):
    (tmp_path / "m").mkdir()
    (tmp_path / "m/mine.txt").write_text("mine")
    with pytest.raises(ValueError, match="m: is not empty"):
        directory.save(tmp_path / "m", built("zoo-dense_net"))
    assert [p.name for p in tmp_path.rglob("*")] == ["m", "mine.txt"]


def test_replace_swaps_the_whole(tmp_path, tokenizer):
    directory.save(tmp_path / "m", built("gpt2"), tokenizer)
    directory.save(tmp_path / "m", built("zoo-dense_net"), replace=True)
    assert {p.name for p in (tmp_path / "m").iterdir()} == {
        "config.json",
        "model.safetensors",
    }
    assert [p.name for p in tmp_path.iterdir()] == ["m"]


# ---- hostile directories ----


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
    import shutil

    def make(family):
        shutil.copytree(saved / family, tmp_path / "m")
        return tmp_path / "m"

    return make


def refused(folder):
    before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    with pytest.raises(ValueError) as error:
        directory.load(folder)
    message = str(error.value)
    assert str(folder) in message and "\n" not in message
    assert {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()} == before
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
        ("llama", {"rope_scaling": {"rope_type": "yarn"}}, "only the default"),
        ("llama", {"rope_scaling": "yarn"}, "rope_scaling 'yarn'"),
        ("llama", {"rope_theta": []}, "rope_theta: [] is a list"),
        ("llama", {"num_key_value_heads": 3}, "kv_heads: 3 does not divide heads 4"),
        ("llama", {"hidden_size": 64}, "expected (300, 64)"),
        ("zoo-gru_lm", {"model_type": "zoo-lstm_lm"}, "but the config's is 'gru_lm'"),
        ("zoo-gru_lm", {"zoo": []}, "the field 'zoo' is missing or not an object"),
        ("zoo-gru_lm", {"zoo": {"name": ["gru_lm"]}}, "but the config's is ['gru_lm']"),
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
        ("model.safetensors", "model.safetensors: there is no such file"),
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
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    assert "cannot be read as safetensors" in refused(path.parent)
    path.write_bytes((2**63).to_bytes(8, "little") + header)
    assert "cannot be read as safetensors" in refused(path.parent)


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"top_p": 7.0}, "top_p: 7.0"),
        ({"max_new_tokens": "many"}, "max_new_tokens: 'many' is a str"),
        ({"do_sample": True, "temperature": -1.0}, "temperature: -1.0"),
    ],
    ids=str,
)
def test_hostile_generation_config(changes, words, copy):
    folder = copy("gpt2")
    name = "generation_config.json"
    write(folder, {**read(folder, name), **changes}, name)
    assert words in refused(folder)


def test_a_tokenizer_that_is_larger_than_the_model(tmp_path, tokenizer):
    model = models.build("gru_lm", vocab_size=299, width=8, units=8, layers=1)
    directory.save(tmp_path / "m", model, tokenizer)
    assert "tokenizer.json has 300 tokens, the model 299" in refused(tmp_path / "m")


def test_a_refused_directory_takes_no_memory(copy):
    """The shapes are compared before a weight is made: 4 TB would be asked for."""
    folder = copy("gpt2")
    write(folder, {**read(folder), "n_embd": 10**6, "n_head": 1, "vocab_size": 10**6})
    assert "expected (1000000, 1000000)" in refused(folder)


def test_generation_as_transformers_reads_it():
    cold = directory.Generation().to_json(7)
    assert cold["do_sample"] is False and "temperature" not in cold
    assert cold["eos_token_id"] == 7
    hot = directory.Generation(temperature=0.7, top_p=0.9).to_json(7)
    assert hot["do_sample"] is True and hot["temperature"] == 0.7
    for value in (cold, hot):
        again = directory.Generation.from_json(value, "x")
        assert again.to_json(7) == value
    theirs = {"do_sample": True, "temperature": None, "transformers_version": "5"}
    assert directory.Generation.from_json(theirs, "x").temperature == 1.0
