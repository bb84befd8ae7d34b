"""`python -m trainers.train` and its neighbours, on good input and on bad.

Each mistake gives one line, `error: ...`, exit code 1, and leaves nothing behind.
"""

import json
import re

import pytest

HEAD = """
from trainers.run import Data, Optimizer, Run
from trainers.objectives import LanguageModel
from zoo import models, registry
from zoo.models.transformer_lm import Config


def get_config():
    return {}
"""
RUN = (
    "Run(model=Config(vocab_size=300, context=16, width=8, layers=1, heads=2),"
    " objective=LanguageModel(), data=Data(source='text:{corpus}', batch=8), steps=2)"
)


@pytest.fixture(scope="module")
def place(tmp_path_factory, corpus):
    """A folder of bad files, one good config, and no workdir `w`."""
    folder = tmp_path_factory.mktemp("train")
    (folder / "empty.txt").write_bytes(b"")
    (folder / "latin.txt").write_bytes(b"caf\xe9\n" * 50)
    (folder / "line.txt").write_bytes(b"one line\n")
    (folder / "short.txt").write_text("ab ab\n" * 3)
    (folder / "table.csv").write_text("a,b,label\n1,2,x\n1,two,y\n")
    (folder / "full").mkdir()
    (folder / "full/mine.txt").write_text("mine")
    write(folder / "good.py", RUN.format(corpus=corpus))
    return folder


def write(path, text):
    path.write_text(HEAD.format(text), encoding="utf-8")


def refused(commands, place, *args, module="trainers.train"):
    before = {p: p.read_bytes() for p in place.rglob("*") if p.is_file()}
    if module == "trainers.train" and not any("--workdir" in a for a in args):
        args = (*args, f"--workdir={place}/w")
    done = commands(module, *args)
    assert done.code == 1, done.out
    assert len(done.errors) == 1 and done.out.strip() == done.errors[0], done.out
    after = {p: p.read_bytes() for p in place.rglob("*") if p.is_file()}
    assert after == before
    assert not (place / "w").exists()
    return done.errors[0]


@pytest.mark.parametrize(
    "args, words",
    [
        # the command line
        (["optimizer.learning_rate=1"], "optimizer.learning_rate. Did you mean lr?"),
        (["stepz=1"], "Unknown --config.stepz. Did you mean steps?"),
        (["model.widht=1"], "Unknown --config.model.widht. Did you mean width?"),
        (["model.width.x=1"], "Unknown --config.model.width.x"),
        (["steps=many"], "--config.steps=many"),
        (["optimizer.lr=nan"], "config.optimizer.lr: nan is not a finite number"),
        (["model.heads=3"], "heads: 3 does not divide width 8"),
        (["precision=float16"], "'float16'. Did you mean bfloat16?"),
        (["steps=0"], "config.steps: 0, config.epochs: 0; one must be above 0"),
        (["epochs=3"], "config.steps: 2, config.epochs: 3; set one of the two to 0"),
        (["data.source={place}/line.txt"], "Did you mean text:{place}/line.txt?"),
        # data
        (["data.source=text:{place}/no.txt"], "/no.txt': no such file"),
        (["data.source=text:{place}/empty.txt"], "empty.txt: the file is empty"),
        (["data.source=text:{place}/latin.txt"], "byte 3 (0xe9) is not UTF-8"),
        (["data.source=text:{place}/line.txt"], "line.txt': The only document has one"),
        (["data.source=file:{place}/line.txt"], "Unknown source 'file:"),
        (["data.valid=text:{place}/no.txt"], "/no.txt': no such file"),
        (["data.source=sklearn:iris"], "a table of numbers has no text"),
        (["model.vocab_size=5000"], "vocab_size: 5000, but this corpus supports"),
        (["model.vocab_size=100"], "vocab_size: 100, at least 257"),
        (
            ["data.source=text:{place}/short.txt", "model.vocab_size=258"],
            "needs 17",
        ),
        (["data.length=17"], "config.data.length: 17, at most the model's context 16"),
        (["data.batch=6", "accumulate=4"], "config.data.batch: 6, a multiple of"),
        (["replicas=2"], "config.replicas: 2, at most 1 devices"),
        (["init_from={place}/full"], "config.json: there is no such file"),
    ],
    ids=lambda value: value[-1] if isinstance(value, list) else "",
)
def test_bad_field(commands, place, args, words):
    fields = [f"--config.{arg.format(place=place)}" for arg in args]
    error = refused(commands, place, f"--config={place}/good.py", *fields)
    assert words.format(place=place) in error


@pytest.mark.parametrize(
    "args, words",
    [
        (
            ["--config={place}/good.py", "--stepz=3"],
            "Unknown command line flag 'stepz'",
        ),
        (["--config={place}/good.py", "steps=3"], "Unknown argument 'steps=3'"),
        (["--config={place}/no.py"], "--config: {place}/no.py: there is no such file"),
        (["--config={place}/no.py", "--config.steps=3"], "there is no such file"),
        ([], "--config: missing"),
        (["--config={place}/good.py", "--workdir="], "--workdir: missing"),
        (["--config={place}/good.py", "--workdir={place}/full"], "full: is not empty"),
        (
            ["--config={place}/good.py", "--workdir={place}/line.txt"],
            "line.txt: is not empty",
        ),
        (
            ["--config={place}/good.py", "--workdir={place}/line.txt/w"],
            "cannot be made: {place}/line.txt is not a folder",
        ),
    ],
)
def test_bad_command_line(commands, place, args, words):
    args = [arg.format(place=place) for arg in args]
    assert words.format(place=place) in refused(commands, place, *args)


@pytest.mark.parametrize(
    "change, words",
    [
        (("steps=", "stepz="), "argument 'stepz'. Did you mean steps?"),
        (("width=", "widht="), "argument 'widht'. Did you mean width?"),
        (("heads=2", "heads=3"), "heads: 3 does not divide width 8"),
        (
            ("Config(", "registry.config('transfomer_lm', "),
            "Unknown model 'transfomer_lm'. Did you mean transformer_lm?",
        ),
        (("LanguageModel()", "'language_model'"), "config.objective: 'language_model'"),
        (("Run(", "dict("), "gave <class 'dict'>, not a Run"),
        (("Run(", "Rum("), "name 'Rum' is not defined"),
        (("Run(", "Run(("), "bad.py, line 9"),
    ],
    ids=lambda value: value[1] if isinstance(value, tuple) else "",
)
def test_bad_config_file(commands, place, tmp_path, corpus, change, words):
    write(tmp_path / "bad.py", RUN.format(corpus=corpus).replace(*change))
    error = refused(commands, place, f"--config={tmp_path}/bad.py")
    assert words in error


def test_a_config_file_without_get_config(commands, place, tmp_path):
    (tmp_path / "bad.py").write_text("def config():\n    return 1\n")
    error = refused(commands, place, f"--config={tmp_path}/bad.py")
    assert "bad.py has no function get_config()" in error


def test_tables(commands, place):
    config = "--config=configs/dense_breast_cancer.py"
    for field, words in (
        ("model.features=29", "config.model.features: 29, but sklearn:breast_cancer"),
        ("data.source=sklearn:iris", "sklearn:iris"),
        ("data.source=sklearn:rose", "sklearn: 'rose'"),
        (f"data.source=csv:{place}/table.csv", "table.csv, line 3, column 'b': 'two'"),
        (f"data.source=csv:{place}/table.csv#c", "no column 'c'"),
    ):
        assert words in refused(commands, place, config, f"--config.{field}")


# ---- what it says when all is well, and the commands that read the result ----


@pytest.fixture(scope="module")
def trained(commands, place, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained") / "w"
    done = commands(
        "trainers.train",
        f"--config={place}/good.py",
        f"--workdir={folder}",
        "--config.eval_every=2",
    )
    assert done.code == 0, done.out
    return folder, done.out


def test_says_where_and_what(trained):
    folder, out = trained
    last = json.loads((folder / "metrics.jsonl").read_text().splitlines()[-1])
    assert out.splitlines()[-1].startswith(f"{folder}: step 2  loss {last['loss']:.6g}")
    run = json.loads((folder / "run.json").read_text())
    assert run["model"]["name"] == "transformer_lm" and run["eval_every"] == 2


def test_the_same_command_again(commands, place, trained):
    folder, out = trained
    args = [f"--config={place}/good.py", f"--workdir={folder}"]
    done = commands("trainers.train", *args, "--config.eval_every=2")
    assert done.code == 0 and done.out.strip() == out.splitlines()[-1]
    error = refused(commands, place, *args)
    assert "another Run; it differs in: eval_every: 2 -> 0" in error


def test_evaluate(commands, place, corpus, trained):
    folder, _ = trained
    done = commands(
        "trainers.evaluate", f"--model={folder}/model", f"--source=text:{corpus}"
    )
    assert done.code == 0 and "bits_per_byte" in done.out, done.out
    short = place / "short.txt"  # than the context: no window is longer than it
    short.write_text("abc")
    done = commands(
        "trainers.evaluate", f"--model={folder}/model", f"--source=text:{short}"
    )
    found = re.search(r"(\d+) tokens; window (\d+), stride", done.out)
    assert found and 1 < int(found[2]) == int(found[1]) < 16, done.out
    for args, words in (
        (["--model=/no/such"], "/no/such: there is no such model directory"),
        ([f"--model={folder}"], f"Did you mean {folder}/model?"),
        (["--model={model}", "--source=text:/no"], "'/no': no such file"),
        (["--model={model}", "--source=text:{corpus}", "--split=test"], "only 'train'"),
        (["--model={model}", "--source=text:{corpus}", "--length=17"], "--length: 17"),
        (["--model={model}", "--source=text:{corpus}", "--stride=17"], "stride: 17"),
    ):
        args = [a.format(model=f"{folder}/model", corpus=corpus) for a in args]
        assert words in refused(commands, place, *args, module="trainers.evaluate")


def numbers(out):
    return re.findall(r"\b(?:loss|bits_per_byte|accuracy) [\d.]+", out)


def test_evaluate_what_a_run_held_out(commands, corpus, trained):
    """The last numbers of training, not those of a source that was trained on."""
    folder, out = trained
    done = commands("trainers.evaluate", f"--workdir={folder}")
    assert done.code == 0 and "warning" not in done.out, done.out
    last = json.loads((folder / "metrics.jsonl").read_text().splitlines()[-1])
    assert last["split"] == "eval"
    assert f"bits_per_byte {last['bits_per_byte']:.4f}" in done.out, done.out
    done = commands(
        "trainers.evaluate", f"--model={folder}/model", f"--source=text:{corpus}"
    )
    assert done.code == 0
    assert f"warning: the model was trained on {corpus}" in done.out, done.out
    assert f"--workdir={folder} evaluates what its run held out" in done.out
    other = corpus.with_name("other.txt")
    other.write_text(corpus.read_text()[::-1])
    done = commands(
        "trainers.evaluate", f"--model={folder}/model", f"--source=text:{other}"
    )
    assert done.code == 0 and "warning" not in done.out, done.out


def test_evaluate_what_a_run_of_a_table_held_out(commands, tmp_path):
    config = "--config=configs/dense_breast_cancer.py"
    fields = ["--config.epochs=1", "--config.eval_every=15", "--config.log_every=0"]
    done = commands("trainers.train", config, *fields, f"--workdir={tmp_path}/w")
    assert done.code == 0, done.out
    last = json.loads((tmp_path / "w/metrics.jsonl").read_text().splitlines()[-1])
    done = commands("trainers.evaluate", f"--workdir={tmp_path}/w")
    assert "rows 114" in done.out and f"accuracy {last['accuracy']:.4f}" in done.out
    done = commands(
        "trainers.evaluate",
        f"--model={tmp_path}/w/model",
        "--source=sklearn:breast_cancer",
    )
    assert "rows 569" in done.out and "warning: the model was trained on" in done.out


def test_evaluate_asks_for_one_of_two(commands, place):
    for args in ([], ["--model=a", "--workdir=b"]):
        error = refused(commands, place, *args, module="trainers.evaluate")
        assert "--model, --workdir: give one of the two" in error
    error = refused(
        commands, place, f"--workdir={place}/full", module="trainers.evaluate"
    )
    assert "run.json: there is no such file" in error


def test_plot(commands, trained, tmp_path):
    folder, _ = trained
    work = f"--workdir={folder}"
    done = commands("trainers.plot", work, f"--output={tmp_path}/c.png")
    assert done.code == 0 and (tmp_path / "c.png").stat().st_size > 5000, done.out
    rollouts = tmp_path / "rollouts"
    rollouts.mkdir()
    (rollouts / "metrics.jsonl").write_text(
        '{"step": 1, "split": "train", "rollout/reward": 0.5, "loss": 2}\n'
        '{"step": 1, "split": "eval", "reward": 0.25}\n'
    )
    panels = [f"--workdir={rollouts}", "--metric=reward", "--metric=loss"]
    done = commands("trainers.plot", *panels, f"--output={tmp_path}/c.svg")
    assert done.code == 0, done.out
    drawn = (tmp_path / "c.svg").read_text()
    for words in ("reward", "loss", "rollouts, train", "rollouts, eval"):
        assert f"<!-- {words} -->" in drawn, words
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "metrics.jsonl").write_text('{"step": 1, "split": "train"}\n{\n')
    for args, words in (
        ([work, "--output=/no/such/x.png"], "--output: /no/such: there is no such"),
        ([work, f"--output={tmp_path}/x.bmp"], "a file *.png or *.svg allowed"),
        ([f"--workdir={broken}", "--output=x.png"], "metrics.jsonl, line 2: is broken"),
        ([*panels, "--metric=kl", "--output=x.png"], "allowed: loss, reward."),
        (["--workdir=/no", "--output=x.png"], "/no/metrics.jsonl: there is no such"),
        (["--attention=a", "--output=x.png"], "--attention, --model: give both"),
        (["--output=x.png"], "--workdir, --attention: give one of the two"),
    ):
        done = commands("trainers.plot", *args)
        assert done.code == 1 and len(done.errors) == 1, done.out
        assert done.out.strip() == done.errors[0] and words in done.out, done.out


def test_help(commands):
    done = commands("trainers.train", "--help")
    for words in ("--config", "data.batch=32", "optimizer.lr=0.001", "--workdir"):
        assert words in done.out, done.out


def test_generate(commands, place, trained):
    folder, _ = trained
    model = f"--model={folder}/model"
    done = commands("zoo.generate", model, "--prompt=abc", "--max_new_tokens=3")
    assert done.code == 0 and done.out.startswith("abc"), done.out
    for args, words in (
        (["--model=/no/such"], "/no/such: there is no such model directory"),
        ([model, "--max_new_tokens=0"], "max_new_tokens: 0, at least 1"),
        ([model, "--top_p=0"], "top_p: 0.0, above 0 and at most 1"),
        ([model, "--temperature=nan"], "temperature: nan"),
        ([model, "--max_new_tokens=16"], "the model's context is 16"),
        ([model, "--top_k=301", "--max_new_tokens=3"], "top_k: 301, at most"),
    ):
        assert words in refused(commands, place, *args, module="zoo.generate")
