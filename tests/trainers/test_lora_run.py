"""A run with LoRA: what learns, what it leaves, and that a stop changes nothing."""

import dataclasses
import json

import keras
import numpy as np
import pytest
import safetensors.numpy
import tensorflow as tf

import zoo
from trainers import feeds, loop, memory, workdir
from trainers import roles as roles_lib
from trainers.objectives import Distill, LanguageModel
from trainers.run import Data, Lora, Optimizer, Run, check
from zoo import directory, lora
from zoo.data import fingerprints
from zoo.directory import assemble
from zoo.layers import low_rank
from zoo.models import headed, keras_hub_lm, transformer_lm

LLAMA = {
    "vocab_size": 300,
    "context": 32,
    "width": 16,
    "layers": 2,
    "heads": 2,
    "norm": "rmsnorm",
    "positions": "rotary",
    "activation": "silu",
    "gated": True,
    "mlp_width": 24,
    "qkv_bias": False,
    "out_bias": False,
    "mlp_bias": False,
}
OPTIONS = Lora(rank=3, alpha=12.0, dropout=0.2, targets=("q_proj", "up_proj"))


@pytest.fixture(scope="module")
def base(tokenizer, tmp_path_factory):
    """A model directory that other programs read as a Llama."""
    keras.utils.set_random_seed(3)
    folder = tmp_path_factory.mktemp("base") / "model"
    directory.save(folder, zoo.build("transformer_lm", **LLAMA), tokenizer)
    return folder


def run_of(base, corpus, **changes):
    run = Run(
        init_from=str(base),
        lora=OPTIONS,
        objective=LanguageModel(),
        data=Data(source=f"text:{corpus}", batch=4, length=16),
        optimizer=Optimizer(lr=0.02, decay="constant"),
        steps=6,
        eval_every=3,
        save_every=3,
    )
    return dataclasses.replace(run, **changes)


@pytest.fixture(scope="module")
def whole(base, corpus, tmp_path_factory):
    """A finished run."""
    folder = tmp_path_factory.mktemp("whole") / "w"
    loop.train(run_of(base, corpus), folder)
    return folder


def tensors(path):
    return safetensors.numpy.load_file(path)


def test_what_it_leaves(base, whole):
    """The model is merged: only the adapted weights differ from the base's."""
    before = tensors(base / "model.safetensors")
    after = tensors(whole / "model/model.safetensors")
    changed = {name for name in before if not np.array_equal(before[name], after[name])}
    assert changed == {
        f"model.layers.{i}.{name}.weight"
        for i in range(2)
        for name in ("self_attn.q_proj", "mlp.up_proj")
    }
    assert json.loads((whole / "model/config.json").read_text()) == json.loads(
        (base / "config.json").read_text()
    )
    config = json.loads((whole / "adapter/adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == str(base)
    assert config["target_modules"] == ["q_proj", "up_proj"]
    assert (config["r"], config["lora_alpha"], config["lora_dropout"]) == (3, 12.0, 0.2)
    tokens = tf.constant([[3, 7, 250, 9]])
    merged, adapter = (zoo.load(whole / x).model for x in ("model", "adapter"))
    assert np.abs(merged(tokens) - adapter(tokens)).max() < 1e-5


def test_the_loss_falls(whole):
    rows = map(json.loads, (whole / "metrics.jsonl").read_text().splitlines())
    losses = [row["loss"] for row in rows if row["split"] == "eval"]
    assert losses[-1] < losses[0] - 0.001


def test_checkpoints_hold_adapters_only(whole):
    found = tensors(whole / "checkpoints/00000006/state.safetensors")
    names = [name for name in found if name.startswith("policy/")]
    kinds = {name.rpartition("/")[2].rpartition(".")[2] for name in names}
    assert kinds == {"lora_A", "lora_B", "seed_generator_state"}
    assert sum("lora" in name for name in names) == 2 * 2 * 2
    largest = max(value.size for value in found.values())
    assert largest == 3 * 24  # B of up_proj, and its slots


@pytest.fixture(scope="module")
def without(base, corpus, tmp_path_factory):
    """A run of one step without LoRA."""
    folder = tmp_path_factory.mktemp("without") / "w"
    loop.train(run_of(base, corpus, lora=Lora(), steps=1, eval_every=1), folder)
    return folder


def test_the_first_evaluation_is_the_base_s(whole, without):
    """The adapters change nothing yet, to the last bit."""
    first, base_first = (
        json.loads((folder / "metrics.jsonl").read_text().splitlines()[0])
        for folder in (whole, without)
    )
    assert first["step"] == base_first["step"] == 0
    assert first["loss"] == base_first["loss"]
    assert not (without / "adapter").exists()


def test_a_resume_sees_that_its_start_changed(base, corpus, tokenizer, tmp_path):
    """Where a checkpoint lacks some of its weights, and only there."""
    folder = tmp_path / "base"
    model = directory.load(base).model
    directory.save(folder, model, tokenizer)

    def found(**changes):
        run = run_of(folder, corpus, **changes)
        return feeds.make(run, roles_lib.start(run)).fingerprint

    runs = (
        {},
        {"lora": Lora(), "freeze": ("embedding/*",)},
        {"lora": Lora(), "objective": Distill(teacher="start")},
    )
    before = [found(**run) for run in runs]
    learnt = found(lora=Lora())
    model.trainable_weights[0].assign(model.trainable_weights[0] * 1.01)
    directory.save(folder, model, tokenizer, replace=True)
    line = "init_from model.safetensors: the content changed"
    for run, first in zip(runs, before, strict=True):
        assert fingerprints.changes(first, found(**run)) == [line]
    assert found(lora=Lora()) == learnt


def test_an_old_workdir_goes_on(without):
    """A run.json from before LoRA counts as one without it."""
    path = without / "run.json"
    value = json.loads(path.read_text())
    assert value.pop("lora")["rank"] == 0
    path.write_text(json.dumps(value))
    run = workdir.read(without)
    assert run.lora == Lora()
    workdir.check(without, run)
    with pytest.raises(ValueError, match="lora.rank: 0 -> 3"):
        workdir.check(without, dataclasses.replace(run, lora=OPTIONS))


def test_freeze(base, corpus):
    run = run_of(base, corpus, freeze=("block_0/*",))
    roles = roles_lib.make(run, roles_lib.start(run))
    paths = {id(v): p for p, v in assemble.by_path(roles["policy"]).items()}
    found = [paths[id(v)] for v in roles_lib.learning(run, roles)]
    assert len(found) == 4 and all(path.startswith("block_1/") for path in found)


def test_refuses_adapters_of_adapters(base, corpus, whole):
    """Tuned without LoRA, they are merged."""
    run = run_of(base, corpus, init_from=str(whole / "adapter"))
    with pytest.raises(ValueError, match="holds adapters, and config.lora.rank is 3"):
        roles_lib.start(run)
    plain = dataclasses.replace(run, lora=Lora())
    model = roles_lib.make(plain, roles_lib.start(plain))["policy"]
    assert not low_rank.adapters(model)


def result(folder):
    """The bits that a run leaves."""
    files = [
        "model/model.safetensors",
        "adapter/adapter_model.safetensors",
        "checkpoints/00000006/state.safetensors",
    ]
    return [(folder / name).read_bytes() for name in files]


def test_a_stopped_run_ends_with_the_same_bits(
    base, corpus, whole, tmp_path, monkeypatch
):
    """Dropout's random streams too: the mask of step 4 is that of the whole run."""
    folder = tmp_path / "w"
    with monkeypatch.context() as patch:
        # dies before it would write the model of the evaluation at step 6
        patch.setattr(loop.checkpoint, "save", killed_after(1, loop.checkpoint.save))
        with pytest.raises(KeyboardInterrupt):
            loop.train(run_of(base, corpus), folder)
    assert [p.name for p in (folder / "checkpoints").iterdir()] == ["00000003"]
    loop.train(run_of(base, corpus), folder)
    assert result(folder) == result(whole)


def killed_after(count, function):
    """The function, which interrupts the program at its call after so many."""
    left = [count]

    def call(*args, **kwargs):
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        return function(*args, **kwargs)

    return call


def test_memory_counts_what_learns(base, corpus):
    run = run_of(base, corpus)
    start = roles_lib.start(run)
    full = dataclasses.replace(run, lora=Lora())
    sizes = []
    for each in (run, full):
        learning = roles_lib.learning(each, roles_lib.make(each, start))
        sizes.append(memory._fixed(each, learning))
    count = 2 * (2 * 3 * 16 + 3 * 16 + 3 * 24)  # A of both, B of q and of up
    assert sizes[0] == 4 * 3 * count and sizes[1] > 10 * sizes[0]


def test_the_head_on_a_pretrained_body_learns(base):
    run = Run(
        model=headed.Config(body=None, classes=3),
        init_from=str(base),
        lora=Lora(rank=2),
        objective=LanguageModel(),
        steps=1,
    )
    roles = roles_lib.make(run, roles_lib.start(run))
    names = [v.name for v in roles_lib.learning(run, roles)]
    assert names[-2:] == ["weight", "bias"]
    assert {name.rpartition(".")[2] for name in names[:-2]} == {"lora_A", "lora_B"}
    model = roles["policy"]
    tokens = tf.constant([[3, 7, 250, 9]])
    with lora.off(model):
        off = model(tokens)
    np.testing.assert_array_equal(model(tokens), off)


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"init_from": "", "model": transformer_lm.Config()}, "init_from is empty"),
        ({"lora": Lora(rank=2, targets=("c_attn",))}, "'c_attn' fits no linear map"),
    ],
)
def test_refuses_before_the_first_step(base, corpus, tmp_path, changes, words):
    with pytest.raises(ValueError, match=words):
        loop.train(run_of(base, corpus, **changes), tmp_path / "w")
    assert not (tmp_path / "w").exists()


def test_a_flag_sets_the_options(commands, base, corpus, tmp_path):
    done = commands(
        "trainers.train",
        "--config=configs/finetune.py",
        f"--workdir={tmp_path}/w",
        f"--config.init_from={base}",
        f"--config.data.source=text:{corpus}",
        "--config.steps=1",
        "--config.lora.rank=2",
        "--config.lora.targets=('v_proj',)",
    )
    assert done.code == 0, done.out
    assert workdir.read(tmp_path / "w").lora == Lora(rank=2, targets=("v_proj",))
    assert (tmp_path / "w/adapter/adapter_model.safetensors").exists()


def test_keras_hub_is_refused():
    run = Run(model=keras_hub_lm.Config(), objective=LanguageModel(), steps=1)
    run.lora = Lora(rank=2)
    with pytest.raises(ValueError, match="config.lora.rank: 2"):
        check(run)
