"""Beam on this machine: a preparation like the local one, and batch inference."""

import json
import pathlib

import pytest

beam = pytest.importorskip("apache_beam")

from zoo.data.beam import filters, inference, preparation  # noqa: E402
from zoo.data.preparation import Recipe, run  # noqa: E402

# In this process: other direct runners start servers.
LOCAL = ["--runner=apache_beam.runners.portability.fn_api_runner.FnApiRunner"]


def files(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in pathlib.Path(folder).rglob("*")
        if path.is_file()
    }


@pytest.fixture
def corpus(tmp_path):
    for part in range(3):
        rows = [
            f"Document {part * 7 + i % 11} tells of river {i} and house {i * i % 17}, "
            f"and it ends with word {i % 5}.\nA second line of text number {i}."
            for i in range(60)
        ]
        lines = [json.dumps({"text": text}) for text in [*rows, rows[0], ""]]
        if part == 1:
            lines.insert(5, "{broken")
        (tmp_path / f"part{part}.jsonl").write_text("\n".join(lines))
    (tmp_path / "exam.jsonl").write_text(json.dumps({"text": rows[3] * 3}))
    return tmp_path


def recipe(corpus, **fields):
    return Recipe(
        source=f"jsonl:{corpus}/part*.jsonl",
        stages=("newlines", "control", "trim", "gopher_repetition"),
        vocab_size=300,
        valid=0.1,
        test=0.1,
        max_bad_rows=1,
        unit_chars=4000,
        **fields,
    )


@pytest.mark.parametrize("more", [{}, {"near": 0.7, "lines": 3, "algorithm": "bpe"}])
def test_bytes_of_a_local_run(corpus, more):
    given = recipe(corpus, **more)
    if more:
        given.against = (f"jsonl:{corpus}/exam.jsonl",)
    run(given, str(corpus / "local"))
    preparation.run(given, str(corpus / "beam"), LOCAL)
    local, made = files(corpus / "local"), files(corpus / "beam")
    assert len([name for name in local if name.endswith(".tfrecord")]) > 6
    assert made.keys() == local.keys()
    assert [name for name in local if made[name] != local[name]] == []


def test_goes_on_after_a_failure(corpus, monkeypatch):
    given = recipe(corpus)
    run(given, str(corpus / "local"))
    write, calls = preparation.writing.write_unit, []

    def failing(place, output, number, *rest):
        calls.append(number)
        if len(calls) == 3:
            raise RuntimeError("the worker died")
        return write(place, output, number, *rest)

    monkeypatch.setattr(preparation.writing, "write_unit", failing)
    with pytest.raises(Exception, match="the worker died"):
        preparation.run(given, str(corpus / "beam"), LOCAL)
    first = len(calls)
    preparation.run(given, str(corpus / "beam"), LOCAL)
    assert len(calls) - first < len(set(calls))  # two units were written before
    assert files(corpus / "beam") == files(corpus / "local")
    preparation.run(given, str(corpus / "beam"), LOCAL)  # nothing is left to do
    given.seed = 1
    with pytest.raises(ValueError, match="recipe.seed: 0 -> 1"):
        preparation.run(given, str(corpus / "beam"), LOCAL)


def test_too_many_bad_rows(corpus):
    given = recipe(corpus)
    given.max_bad_rows = 0
    with pytest.raises(Exception, match="1 bad rows.*part1.jsonl, line 6"):
        preparation.run(given, str(corpus / "beam"), LOCAL)


def test_stages_of_ones_own_pipeline(tmp_path):
    pairs = [("a", "One two.\r\nThree"), ("b", ""), ("c", "Four five six. Seven.")]
    with beam.Pipeline(
        options=beam.options.pipeline_options.PipelineOptions(LOCAL)
    ) as p:
        found = (
            p
            | beam.Create(pairs)
            | filters.Stages(["newlines", "c4_quality:min_words=1,min_sentences=2"])
        )
        kept = found[filters.KEPT] | "kept" >> beam.combiners.ToList()
        dropped = found[filters.DROPPED] | "dropped" >> beam.combiners.ToList()
        for name, collection in (("kept", kept), ("dropped", dropped)):
            collection | f"write {name}" >> beam.Map(
                lambda value, path: pathlib.Path(path).write_text(json.dumps(value)),
                str(tmp_path / name),
            )
    assert json.loads((tmp_path / "kept").read_text()) == [["c", pairs[2][1]]]
    assert sorted(json.loads((tmp_path / "dropped").read_text())) == [
        ["a", ["c4_quality:min_words=1,min_sentences=2", "too few sentences"]],
        ["b", ["empty", "no character"]],
    ]  # fmt: skip


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A SavedModel with one signature: it repeats a text, and refuses "bad"."""
    import tensorflow as tf

    class Repeat(tf.Module):
        @tf.function(
            input_signature=[
                tf.TensorSpec([None], tf.string, "prompt"),
                tf.TensorSpec([None], tf.int32, "times"),
            ]
        )
        def call(self, prompt, times):
            check = tf.debugging.Assert(~tf.reduce_any(prompt == "bad"), ["refused"])
            with tf.control_dependencies([check]):
                parts = tf.strings.join([prompt, tf.strings.as_string(times)], "*")
            return {"text": parts, "ids": tf.stack([times, times + 1], 1)}

    folder, model = tmp_path_factory.mktemp("served") / "1", Repeat()
    tf.saved_model.save(model, str(folder), signatures={"repeat": model.call})
    about = {
        "inputs": {
            "prompt": {"dtype": "string"},
            "times": {"dtype": "int32", "default": 2},
        },
        "outputs": {"text": {}, "ids": {}},
    }
    (folder / "assets.extra").mkdir()
    (folder / "assets.extra/signature.json").write_text(
        json.dumps({"format": 1, "signatures": {"repeat": about}})
    )
    return str(folder)


def test_inference(tmp_path, exported, monkeypatch):
    rows = [{"question": f"q{i}", "label": i} for i in range(25)]
    rows[7] = {"question": "bad", "label": 7}
    rows[8] = {"label": 8}
    rows[9]["times"] = 5
    lines = [json.dumps(row) for row in rows]
    lines[11] = "{broken"
    (tmp_path / "rows.jsonl").write_text("\n".join(lines))
    job = inference.Job(
        model=exported,
        source=f"jsonl:{tmp_path}/rows.jsonl",
        signature="repeat",
        columns={"prompt": "question"},
        keep=("label",),
        batch=4,
        chunk=10,
    )
    output = tmp_path / "answers"
    inference.run(job, str(output), LOCAL)
    names = sorted(path.name for path in output.glob("*.jsonl"))
    assert names == [f"answers-000000-00000{i}.jsonl" for i in range(3)]
    answers = [
        json.loads(line)
        for name in names
        for line in (output / name).read_text().splitlines()
    ]
    assert len(answers) == 25
    place = f"{tmp_path}/rows.jsonl, line"
    assert answers[0] == {"id": f"{place} 1", "label": 0, "text": "q0*2", "ids": [2, 3]}
    assert answers[9]["text"] == "q9*5"
    assert answers[6]["text"] == "q6*2"  # beside a row that is refused
    assert answers[7]["error"] == "refused"
    assert "no column 'question'" in answers[8]["error"]
    assert "line 12" in answers[11]["error"]
    before = files(output)
    (output / names[1]).unlink()
    (output / "work/done" / names[1]).unlink()
    seen = []
    call = inference.Handler._call
    monkeypatch.setattr(
        inference.Handler, "_call", lambda *a: seen.extend(a[3]) or call(*a)
    )
    inference.run(job, str(output), LOCAL)
    assert files(output) == before
    assert {row["prompt"] for row in seen} == {f"q{i}" for i in range(10, 20)} - {"q11"}
    with pytest.raises(ValueError, match="another job: keep"):
        inference.run(job._replace(keep=()), str(output), LOCAL)
    with pytest.raises(ValueError, match="'prompts'. Did you mean prompt"):
        inference.check(job._replace(columns={"prompts": "question"}))
