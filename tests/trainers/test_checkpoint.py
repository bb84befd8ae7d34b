"""Checkpoints: every bit comes back, damage is seen, and the workdir's own rules."""

import dataclasses
import json

import keras
import numpy as np
import pytest
import safetensors.numpy
import tensorflow as tf

from trainers import checkpoint, optimizers, workdir
from trainers.objectives import Classify
from trainers.run import Optimizer, Run, to_json
from zoo import models
from zoo.models import dense_net

DATA = {"a.txt": {"size": 3, "sha256": "abc"}}


def made(seed, classes=3):
    """The variables of a model with dropout and its optimizer, all with noise."""
    keras.utils.set_random_seed(seed)
    model = models.build("dense_net", features=4, classes=classes, dropout=0.2)
    optimizer = optimizers.build(Optimizer(), 10, model.trainable_variables)
    variables = checkpoint.named(
        {"policy": model.variables, "optimizer": optimizer.variables}
    )
    for v in variables.values():
        if v.dtype == "float32":
            v.assign(tf.random.stateless_normal(v.shape, [seed, 1]))
        else:
            v.assign(tf.cast(tf.fill(v.shape, 2**31 + seed), v.dtype))
    return variables


def values(variables):
    return [np.array(v.value.numpy()) for v in variables.values()]


def test_every_bit_comes_back(tmp_path):
    variables = made(1)
    assert {v.dtype for v in variables.values()} >= {"float32", "int64"}
    state = {"best": 0.1 + 0.2, "window": {"loss": [1 / 3, 3]}}
    checkpoint.save(tmp_path / "c", 7, variables, state, DATA)
    others = made(2)
    assert checkpoint.restore(tmp_path / "c", others, DATA) == (7, state)
    for left, right in zip(values(others), values(variables), strict=True):
        assert left.dtype == right.dtype
        np.testing.assert_array_equal(left, right)


def test_names_are_the_same_next_time():
    assert list(made(1)) == list(made(2))


def test_no_checkpoint(tmp_path):
    assert checkpoint.restore(tmp_path / "c", made(1), DATA) == (0, {})


def test_two_are_kept(tmp_path):
    variables = made(1)
    for step in (1, 9, 10, 11):
        checkpoint.save(tmp_path, step, variables, {}, DATA)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["00000010", "00000011"]
    assert checkpoint.restore(tmp_path, variables, DATA)[0] == 11


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


DAMAGE = {
    "a bit": lambda folder: flip(folder / "state.safetensors"),
    "cut": lambda folder: (folder / "state.safetensors").write_bytes(b"123"),
    "no tensors": lambda folder: (folder / "state.safetensors").unlink(),
    "no state": lambda folder: (folder / "state.json").unlink(),
    "cut state": lambda folder: (folder / "state.json").write_text('{"step": 1'),
    "no sums": lambda folder: (folder / "SHA256SUMS").unlink(),
    "a sum": lambda folder: flip(folder / "SHA256SUMS"),
    "renamed": lambda folder: folder.rename(folder.with_name("00000030")),
    "list": lambda folder: (folder / "state.json").write_text("[]"),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_the_one_before_a_damaged_one(damage, tmp_path, capsys):
    first, second = made(1), made(2)
    checkpoint.save(tmp_path, 10, first, {"best": 1}, DATA)
    checkpoint.save(tmp_path, 20, second, {"best": 2}, DATA)
    damage(tmp_path / "00000020")
    third = made(3)
    assert checkpoint.restore(tmp_path, third, DATA) == (10, {"best": 1})
    for left, right in zip(values(third), values(first), strict=True):
        np.testing.assert_array_equal(left, right)
    assert "warning: checkpoint skipped" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["state.json", "SHA256SUMS"])
def test_every_bit_of_a_small_file_counts(name, tmp_path, capsys):
    variables = made(1)
    for step in (10, 20):
        checkpoint.save(tmp_path, step, variables, {"best": step}, DATA)
    path = tmp_path / "00000020" / name
    whole = path.read_bytes()
    for place in range(0, len(whole), 3):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        assert checkpoint.restore(tmp_path, variables, DATA) == (10, {"best": 10})
    path.write_bytes(whole)
    assert checkpoint.restore(tmp_path, variables, DATA) == (20, {"best": 20})
    capsys.readouterr()


@pytest.mark.parametrize(
    "data, words",
    [
        ({"a.txt": {"size": 4, "sha256": "abd"}}, "a.txt: 3 bytes became 4"),
        ({"a.txt": {"size": 3, "sha256": "abd"}}, "a.txt: the content changed"),
        ({**DATA, "b.txt": {"size": 4, "sha256": "x"}}, "b.txt: is new"),
    ],
)
def test_data_that_changed_are_refused(tmp_path, data, words):
    variables = made(1)
    checkpoint.save(tmp_path, 10, variables, {}, DATA)
    assert checkpoint.data_of(tmp_path) == DATA
    with pytest.raises(ValueError, match=f"the data of the run changed: {words}"):
        checkpoint.restore(tmp_path, variables, data)


def test_safetensors_reads_it(tmp_path):
    variables = made(1)
    checkpoint.save(tmp_path, 7, variables, {}, DATA)
    found = safetensors.numpy.load_file(tmp_path / "00000007/state.safetensors")
    assert found.keys() == variables.keys()
    for name, value in found.items():
        np.testing.assert_array_equal(value, variables[name].value.numpy())


def test_no_whole_one(tmp_path):
    variables = made(1)
    for step in (10, 20):
        checkpoint.save(tmp_path, step, variables, {}, DATA)
        flip(tmp_path / f"{step:08d}/state.safetensors")
    with pytest.raises(ValueError, match="is intact: .*checksum of .* differs"):
        checkpoint.restore(tmp_path, variables, DATA)


def test_of_another_model(tmp_path):
    checkpoint.save(tmp_path, 10, made(1), {}, DATA)
    keras.utils.set_random_seed(0)
    model = models.build("dense_net", features=4, widths=(5, 5))
    optimizer = optimizers.build(Optimizer(), 10, model.trainable_variables)
    variables = checkpoint.named(
        {"policy": model.variables, "optimizer": optimizer.variables}
    )
    with pytest.raises(ValueError, match="is of another run"):
        checkpoint.restore(tmp_path, variables, DATA)
    with pytest.raises(ValueError):
        checkpoint.restore(tmp_path, made(1, classes=4), DATA)


# ---- workdirs ----

RUN = Run(model=dense_net.Config(features=4), objective=Classify(), steps=3)


def test_begun_once_and_taken_up(tmp_path):
    folder = workdir.begin(tmp_path / "a/w", RUN)
    assert json.loads((folder / "run.json").read_text()) == to_json(RUN)
    assert workdir.read(folder) == RUN
    (folder / "checkpoints").mkdir()
    for name in (".model.77.new", "checkpoints/.00000001.77.new"):
        (folder / name).mkdir()  # of a process that was killed
    assert workdir.begin(tmp_path / "a/w", RUN) == folder
    assert sorted(p.name for p in folder.iterdir()) == ["checkpoints", "run.json"]
    assert not list((folder / "checkpoints").iterdir())


def test_another_run_is_refused_with_its_fields(tmp_path):
    workdir.begin(tmp_path, RUN)
    other = dataclasses.replace(RUN, steps=4, model=dense_net.Config(features=8))
    with pytest.raises(ValueError) as error:
        workdir.begin(tmp_path, other)
    assert "model.features: 4 -> 8; steps: 3 -> 4" in str(error.value)
    assert "clean" not in str(error.value)


def test_a_workdir_from_before_a_field_existed(tmp_path):
    """A field that run.json lacks has its default, and only then it is the same Run."""
    workdir.begin(tmp_path, RUN)
    fields = json.loads((tmp_path / "run.json").read_text())
    del fields["freeze"], fields["best"], fields["optimizer"]["momentum"]
    (tmp_path / "run.json").write_text(json.dumps(fields))
    assert workdir.begin(tmp_path, RUN) == tmp_path
    with pytest.raises(ValueError, match="best: 'loss' -> '\\+accuracy'"):
        workdir.begin(tmp_path, dataclasses.replace(RUN, best="+accuracy"))


def test_a_run_json_of_another_program_is_named(tmp_path):
    (tmp_path / "run.json").write_text(json.dumps({**to_json(RUN), "stepz": 3}))
    with pytest.raises(ValueError, match=r"run.json: Unknown field config.stepz"):
        workdir.begin(tmp_path, RUN)


def test_killed_before_the_first_file_was_whole(tmp_path):
    (tmp_path / ".run.json.new").write_text('{"st')
    workdir.begin(tmp_path, RUN)
    assert [p.name for p in tmp_path.iterdir()] == ["run.json"]


def test_strange_places_are_refused(tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full/x").write_text("x")
    with pytest.raises(ValueError, match="full: is not empty"):
        workdir.begin(tmp_path / "full", RUN)
    with pytest.raises(ValueError, match="x: is not empty"):
        workdir.begin(tmp_path / "full/x", RUN)
    with pytest.raises(ValueError, match="y: cannot be made: .*x is not a folder"):
        workdir.begin(tmp_path / "full/x/y", RUN)
    assert [p.name for p in tmp_path.rglob("*")] == ["full", "x"]
