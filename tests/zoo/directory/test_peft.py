"""Adapters in PEFT's layout: those of PEFT read here, ours written, bad ones refused.

The golden files in `families/adapters` are adapters that PEFT trained on the models of
`families`; `families/make_adapters.py` made them.
"""

import json
import pathlib
import shutil

import keras
import numpy as np
import pytest
import safetensors.numpy
import tensorflow as tf

import zoo
from zoo import directory, lora, models
from zoo.directory import adapter_writer
from zoo.lora_config import Lora

FAMILIES = pathlib.Path(__file__).parent / "families"
FOLDER = FAMILIES / "adapters"
CASES = sorted(
    path.name
    for path in FOLDER.iterdir()
    if not path.name.endswith(("_classify", "_tag"))  # test_peft_heads.py
)
WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"


def family_of(case):
    return FAMILIES / ("encoders/bert" if case == "bert" else case.split("_pat")[0])


def distance(model, golden):
    """The largest distance from what PEFT and torch gave, at real tokens."""
    tokens, lengths = tf.constant(golden["tokens"]), golden["lengths"]
    if "features" in golden:
        found, wanted = model(tokens, tf.constant(lengths)), golden["features"]
    else:
        found, wanted = model(tokens), golden["logits"]
    real = np.arange(tokens.shape[1]) < lengths[:, None]
    return np.abs(found.numpy() - wanted)[real].max()


def test_there_are_adapters():
    assert {"bert", "gpt2", "gpt_neox", "llama", "llama_patterns"} == set(CASES)


@pytest.mark.parametrize("case", CASES)
def test_what_peft_trained(case):
    golden = np.load(FOLDER / case / "golden.npz")
    assert distance(directory.load(FOLDER / case).model, golden) < 1e-5
    assert distance(directory.load(family_of(case)).model, golden) > 0.01


@pytest.mark.parametrize("case", CASES)
def test_what_we_write_is_what_peft_wrote(case, tmp_path):
    """The names, shapes and values of PEFT's file, from a model with its adapters."""
    tensors = safetensors.numpy.load_file(FOLDER / case / WEIGHTS)
    tensors = {k: v for k, v in tensors.items() if "pooler" not in k}
    if case == "llama_patterns":
        pytest.skip("our own adapters have one rank")
    config = json.loads((FOLDER / case / CONFIG).read_text())
    targets = config["target_modules"]
    options = Lora(rank=config["r"], alpha=config["lora_alpha"], targets=tuple(targets))
    model = directory.load(family_of(case)).model
    lora.add(model, options)
    adapter_writer.save(tmp_path / "new", model, options, str(family_of(case)))
    new = safetensors.numpy.load_file(tmp_path / "new" / WEIGHTS)
    assert {k: v.shape for k, v in new.items()} == {
        k: v.shape for k, v in tensors.items()
    }
    assert all((new[name] == 0).all() == ("lora_B" in name) for name in new)
    written = json.loads((tmp_path / "new" / CONFIG).read_text())
    same = ("peft_type", "task_type", "r", "lora_alpha", "fan_in_fan_out", "bias")
    assert {k: written[k] for k in same} == {k: config[k] for k in same}
    for target in targets:
        assert any(
            name.endswith(target) or target.endswith(f".{name}")
            for name in written["target_modules"]
        )


def adapted(folder, options, base="base", **fields):
    """A model in `folder`/base with adapters of random numbers, and its adapters."""
    keras.utils.set_random_seed(5)
    small = {"vocab_size": 300, "context": 32, "width": 16, "layers": 2, "heads": 2}
    model = models.build("transformer_lm", **{**small, **fields})
    directory.save(folder / base, model)
    lora.add(model, options)
    rng = np.random.default_rng(0)
    for variable in lora.learning(model):
        variable.assign(rng.normal(0, 0.3, variable.shape))
    adapter_writer.save(folder / "adapter", model, options, str(folder / base))
    return model


NEOX = {"positions": "rotary", "residual": "parallel", "tied_head": False}
OWN = {"residual": "parallel", "norm": "rmsnorm"}  # of no family


@pytest.mark.parametrize(
    "fields, kind", [({}, "gpt2"), (NEOX, "gpt_neox"), (OWN, "zoo-transformer_lm")]
)
def test_ours_come_back(fields, kind, tmp_path):
    options = Lora(rank=3, targets=("all-linear",), rslora=True)
    model = adapted(tmp_path, options, **fields)
    config = json.loads((tmp_path / "base/config.json").read_text())
    assert config["model_type"] == kind
    tokens = tf.constant([[5, 9, 200, 7, 31]])
    loaded = zoo.load(tmp_path / "adapter").model
    assert np.abs(model(tokens) - loaded(tokens)).max() < 1e-5
    directory.save(tmp_path / "merged", model)
    merged = zoo.load(tmp_path / "merged").model
    assert np.abs(model(tokens) - merged(tokens)).max() < 1e-5
    files = {path.name for path in (tmp_path / "adapter").iterdir()}
    assert files == {CONFIG, WEIGHTS, "base.json", "SHA256SUMS"}


def test_convert_merges(tmp_path, commands):
    adapted(tmp_path, Lora(rank=2))
    args = f"--source={tmp_path}/adapter", f"--output={tmp_path}/out"
    done = commands("zoo.convert", *args)
    assert done.code == 0, done.out
    names = set(safetensors.numpy.load_file(tmp_path / "out/model.safetensors"))
    assert not any("lora" in name for name in names)
    tokens = tf.constant([[5, 9, 200, 7, 31]])
    one, other = (zoo.load(tmp_path / x).model(tokens) for x in ("adapter", "out"))
    np.testing.assert_array_equal(one, other)


def test_the_base_is_found(tmp_path, monkeypatch):
    """In the folder of the adapters, from the current folder, by its whole path."""
    adapted(tmp_path, Lora(rank=2))
    path = tmp_path / "adapter" / CONFIG
    value = json.loads(path.read_text())
    assert value["base_model_name_or_path"] == str(tmp_path / "base")
    (tmp_path / "adapter/SHA256SUMS").unlink()
    monkeypatch.chdir(tmp_path)
    for name in ("../base", "base"):
        path.write_text(json.dumps({**value, "base_model_name_or_path": name}))
        zoo.load("adapter")
    path.write_text(json.dumps({**value, "base_model_name_or_path": "nowhere"}))
    with pytest.raises(ValueError, match="adapter: its base model cannot be read: now"):
        zoo.load("adapter")
    path.write_text(json.dumps({**value, "base_model_name_or_path": "../adapter"}))
    with pytest.raises(ValueError, match="holds adapters too; merge them"):
        zoo.load("adapter")


def test_the_tokenizer_is_the_base_s(tmp_path, tokenizer):
    adapted(tmp_path, Lora(rank=2))
    assert zoo.load(tmp_path / "adapter").tokenizer is None
    tokenizer.save(tmp_path / "base")
    found = [
        zoo.load(tmp_path / "adapter").tokenizer,
        directory.read_tokenizer(tmp_path / "adapter"),
    ]
    assert all(t.encode("abc dab") == tokenizer.encode("abc dab") for t in found)


def test_another_base_is_refused(tmp_path):
    model = adapted(tmp_path, Lora(rank=2))
    weight = model.blocks[0].attention.qkv.weight
    weight.assign(weight.numpy() * (1 + 1e-6))
    directory.save(tmp_path / "base", lora.merged(model), replace=True)
    with pytest.raises(ValueError, match="belongs to another base model: the weights"):
        zoo.load(tmp_path / "adapter")
    (tmp_path / "adapter/base.json").unlink()  # as PEFT writes it: nothing to know
    zoo.load(tmp_path / "adapter")


def test_a_damaged_adapter_is_refused(tmp_path):
    adapted(tmp_path, Lora(rank=2))
    path = tmp_path / "adapter" / WEIGHTS
    data = bytearray(path.read_bytes())
    data[-9] ^= 1
    path.write_bytes(data)
    with pytest.raises(ValueError, match="was changed after it was written"):
        zoo.load(tmp_path / "adapter")


@pytest.fixture
def copy(tmp_path):
    """A copy of PEFT's adapters of the llama, and a function that changes its files."""
    folder = tmp_path / "adapters" / "copy"
    shutil.copytree(FOLDER / "llama", folder)
    value = json.loads((folder / CONFIG).read_text())
    value["base_model_name_or_path"] = str(FAMILIES / "llama")

    def change(tensors=None, **fields):
        (folder / CONFIG).write_text(json.dumps({**value, **fields}))
        if tensors is not None:
            safetensors.numpy.save_file(tensors, folder / WEIGHTS)
        return folder

    return change


@pytest.mark.parametrize(
    "field, value",
    [
        ("peft_type", "LOHA"),
        ("peft_type", None),
        ("use_dora", True),
        ("lora_bias", True),
        ("bias", "all"),
        ("layer_replication", [[0, 2]]),
        ("init_lora_weights", "pissa"),
        ("init_lora_weights", 1),
        ("trainable_token_indices", [3]),
        ("target_parameters", ["experts.up"]),
        ("alora_invocation_tokens", [1, 2]),
        ("use_a_later_idea", {"a": 1}),
        ("rank_pattern", {"(a+)+$": 2}),
        ("rank_pattern", {"q_proj": 0}),
        ("rank_pattern", [1]),
        ("alpha_pattern", {"q_proj": "much"}),
        ("r", 0),
        ("r", True),
        ("lora_alpha", None),
        ("use_rslora", "yes"),
        ("base_model_name_or_path", None),
        ("revision", 3),
    ],
)
def test_an_option_that_is_not_supported(copy, field, value):
    with pytest.raises(ValueError, match=field) as error:
        zoo.load(copy(**{field: value}))
    assert str(error.value).count("\n") == 0 and CONFIG in str(error.value)
    assert "allowed" in str(error.value)


def test_options_that_change_nothing(copy):
    golden = np.load(FOLDER / "llama/golden.npz")
    folder = copy(
        use_a_later_idea=None, layers_to_transform=[0, 1], fan_in_fan_out=True
    )
    assert distance(zoo.load(folder).model, golden) < 1e-5


FIRST = "base_model.model.model.layers.0.self_attn.q_proj.lora_"


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda t: t.pop(f"{FIRST}B.weight"), "has no lora_B beside it"),
        (lambda t: t.pop(f"{FIRST}A.weight"), "has no lora_A beside it"),
        (lambda t: t.update({f"{FIRST}A.weight": zeros(3, 8)}), r"need \(3, 32\)"),
        (lambda t: t.update({f"{FIRST}B.weight": zeros(32, 2)}), r"need \(32, 3\)"),
        (
            lambda t: t.update({"base_model.model.model.layers.9.x.lora_A.weight": A}),
            "layers.9.x.lora_A.weight is of no linear map of the base model",
        ),
        (
            lambda t: t.update({f"{FIRST}magnitude_vector": zeros(32)}),
            "lora_magnitude_vector is no weight",
        ),
        (
            lambda t: t.update({"score.weight": zeros(2, 32)}),
            "score.weight is no weight",
        ),
        (
            lambda t: t.update({"base_model.model.model.norm.weight": zeros(5)}),
            r"norm.weight has shape \(5,\), but its base .* need \(32,\)",
        ),
        (lambda t: t.clear(), "has no lora_A and lora_B"),
        (
            lambda t: t.update({f"{FIRST}A.weight": zeros(3, 32).astype(np.int32)}),
            "lora_A.weight is of int32; float32, float16 or bfloat16 allowed",
        ),
        (
            lambda t: t.update({f"{FIRST}A.weight": zeros(3, 32) + np.nan}),
            "q_proj.weight has NaN or Inf",
        ),
    ],
)
def test_tensors_that_do_not_fit(copy, change, words):
    tensors = safetensors.numpy.load_file(FOLDER / "llama" / WEIGHTS)
    change(tensors)
    with pytest.raises(ValueError, match=words):
        zoo.load(copy(tensors))


def zeros(*shape):
    return np.zeros(shape, np.float32)


A = zeros(3, 32)


def test_what_is_trained_in_full_replaces_the_base_s(copy):
    tensors = safetensors.numpy.load_file(FOLDER / "llama" / WEIGHTS)
    scale = np.arange(32, dtype=np.float32)
    tensors["base_model.model.model.norm.weight"] = scale
    model = zoo.load(copy(tensors, modules_to_save=["norm"])).model
    np.testing.assert_array_equal(model.norm.scale, scale)


def test_a_pickle_is_refused(copy):
    folder = copy()
    (folder / WEIGHTS).rename(folder / "adapter_model.bin")
    with pytest.raises(ValueError, match="adapter_model.bin: is a pickle"):
        zoo.load(folder)
