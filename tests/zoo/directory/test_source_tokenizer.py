"""Models whose sources have a tokenizer of their own."""

import copy

import pytest
from directory_cases import read

from trainers import feeds, loop, roles
from trainers.objectives import LanguageModel
from trainers.run import Data, Run
from zoo import directory, models
from zoo.text import tokenizer as tokenizers

TEXTS = [f"{n} {'xy ' * (n % 11 + 1)}" for n in range(90)]
SIZES = {
    "context": 32,
    "width": 8,
    "layers": 1,
    "encoder_layers": 1,
    "heads": 2,
    "start_id": 2,
    "padding_id": 3,
}


def built(source_vocab_size):
    return models.build(
        "encoder_decoder", vocab_size=300, source_vocab_size=source_vocab_size, **SIZES
    )


@pytest.fixture(scope="module")
def source():
    return tokenizers.train(TEXTS, 270)


@pytest.fixture(scope="module")
def target():
    return tokenizers.train(["ab" * 3, *(t.replace("xy", "abc") for t in TEXTS)], 266)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, source, target):
    path = tmp_path_factory.mktemp("models") / "m"
    generation = directory.GenerationConfig(beams=4, bad_words_ids=((7,),))
    directory.save(path, built(270), target, generation, source_tokenizer=source)
    return path


def test_a_directory_has_two_tokenizers(folder, source, target, tmp_path):
    loaded = directory.load(folder)
    model, tokenizer, generation = loaded  # of old, three values
    assert tokenizer.json == target.json
    assert loaded.source_tokenizer.json == source.json
    assert loaded.source_tokenizer.end_id == source.end_id
    for copied in (loaded._replace(generation=None), copy.copy(loaded)):
        assert copied.source_tokenizer is loaded.source_tokenizer
    with pytest.warns(UserWarning, match="source_tokenizer.json: the tokenizer has"):
        found = directory.read(folder)
        found.config["zoo"]["source_vocab_size"] = 268
        assert found.source_tokenizer().vocab_size == 268
    again = tmp_path / "again"
    directory.save(again, model, tokenizer, generation, False, loaded.source_tokenizer)
    settings = read(again, "generation_config.json")
    wanted = {"num_beams": 4, "bad_words_ids": [[7]], "decoder_start_token_id": 2}
    assert wanted.items() <= settings.items() and settings["pad_token_id"] == 3
    names = {path.name for path in folder.iterdir()}
    assert {"source_tokenizer.json", "source_tokenizer_config.json"} < names
    for name in names:
        assert (again / name).read_bytes() == (folder / name).read_bytes()


def test_a_tokenizer_of_sources_that_is_edited_or_lost(folder, tmp_path, caplog):
    with caplog.at_level("WARNING", logger="absl"):
        for path in folder.iterdir():
            (tmp_path / path.name).write_bytes(path.read_bytes())
        path = tmp_path / "source_tokenizer.json"
        path.write_text(path.read_text() + " ")
        assert directory.load(tmp_path).source_tokenizer is not None
    assert f"{path}: was edited" in caplog.text
    path.unlink()
    with pytest.raises(ValueError, match="has no source_tokenizer.json; .* 270"):
        directory.load(tmp_path)
    (tmp_path / "tokenizer.json").unlink()
    with pytest.warns(UserWarning, match="has no tokenizer"):
        assert directory.load(tmp_path).source_tokenizer is None


def test_save_refuses_what_load_would(source, target, tmp_path):
    with pytest.raises(ValueError, match="source_tokenizer: None; .* 270"):
        directory.save(tmp_path / "m", built(270), target)
    with pytest.raises(ValueError, match="None allowed without a tokenizer"):
        directory.save(tmp_path / "m", built(270), source_tokenizer=source)
    gru = models.build("gru_lm", vocab_size=300, context=8, width=8, layers=1, units=8)
    with pytest.raises(ValueError, match="the task 'generate'"):
        directory.save(tmp_path / "m", gru, target, source_tokenizer=source)
    assert not list(tmp_path.iterdir())


@pytest.fixture
def run(folder, tmp_path):
    rows = "".join(f'{{"source": "{t}", "target": "abc {t}"}}\n' for t in TEXTS[:8])
    (tmp_path / "rows.jsonl").write_text(rows)
    data = {"source": f"jsonl:{tmp_path / 'rows.jsonl'}", "format": "seq2seq"}
    return Run(
        init_from=str(folder),
        objective=LanguageModel(),
        data=Data(**data, batch=4, hold_out=0.0),
        steps=1,
    )


def test_a_feed_keeps_it(run, folder, source, target, tmp_path):
    feed = feeds.make(run, roles.start(run))
    assert feed.tokenizer.json == target.json
    assert feed.source_tokenizer.json == source.json
    target.save(str(tmp_path / "other"))  # for both sides
    run.data.tokenizer = str(tmp_path / "other")
    feed = feeds.make(run, roles.start(run))
    assert feed.source_tokenizer.json == feed.tokenizer.json == target.json


@pytest.mark.long
def test_a_run_keeps_it(run, source, tmp_path):
    loop.train(run, tmp_path / "w")
    loaded = directory.load(tmp_path / "w" / "model")
    assert loaded.source_tokenizer.json == source.json
