"""A source becomes shards with a data card; killed anywhere, with the same bytes."""

import hashlib
import json
import pathlib
import random
import re
import shutil
import subprocess
import sys

import pytest

from zoo import files
from zoo.data import shards
from zoo.data.preparation import Recipe, run, work
from zoo.data.preparation import recipe as recipes

ROOT = pathlib.Path(__file__).parents[3]
STAGES = ("newlines", "control", "trim")


def lines(count, seed=0):
    rng = random.Random(seed)
    words = ["".join(rng.choices("abcdefgh", k=rng.randint(2, 6))) for _ in range(90)]
    return [" ".join(rng.choices(words, k=rng.randint(6, 30))) for _ in range(count)]


@pytest.fixture(scope="module")
def texts():
    """Documents, some of them equal, near or empty, and two with one line in common."""
    found = [f"{line}\r\nPage footer, 2026\n\nthe end" for line in lines(60)]
    found[20:20] = [found[3].replace("\r\n", "\n"), "", "\x00", found[5] + " again"]
    return found


def write(path, texts):
    rows = [json.dumps({"body": text}) for text in texts]
    rows[7:7] = ['{"body": 5}', "not json"]
    path.write_text("\n".join(rows))
    return f"jsonl:{path}#body"


@pytest.fixture
def recipe(texts, tmp_path):
    (tmp_path / "known.txt").write_text(texts[3])
    return Recipe(
        source=write(tmp_path / "texts.jsonl", texts),
        stages=STAGES,
        near=0.7,
        lines=30,
        valid=0.2,
        test=0.1,
        vocab_size=280,
        max_bad_rows=2,
        unit_chars=2500,
        against=(f"text:{tmp_path}/known.txt",),
        name="Lines | *of* words",
        licence="cc0-1.0",
    )


def digests(folder):
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(
            path.read_bytes()
        ).hexdigest()
        for path in sorted(pathlib.Path(folder).rglob("*"))
        if path.is_file()
    }


def documents(folder):
    """The texts of each split, as their tokens say."""
    found = shards.read(folder)
    return {
        split: [
            found.tokenizer.decode(part)
            for part in split_ids(found.stream(split), found.tokenizer.end_id)
        ]
        for split in ("train", "valid", "test")
    }


def split_ids(stream, end):
    """The ids between end tokens."""
    parts, part = [], []
    ((ids,), _) = stream.windows([0], stream.tokens)
    for token in ids.tolist()[1:]:
        if token == end:
            parts.append(part)
            part = []
        else:
            part.append(token)
    return parts


def test_the_card_says_what_was_done(recipe, texts, tmp_path):
    card = run(recipe, str(tmp_path / "out"))
    assert card["rows"] == 66 and card["bad"]["rows"] == 2
    assert "texts.jsonl, line 8: " in card["bad"]["samples"][0]
    stages = {stage["stage"]: stage for stage in card["stages"]}
    assert list(stages) == ["empty", *STAGES, "exact", "near", "lines"]
    read = sum(map(len, texts))
    assert stages["empty"]["characters_in"] == read
    assert stages["empty"]["documents_out"] == stages["control"]["documents_in"] == 63
    dropped = {name: sum(s["dropped"].values()) for name, s in stages.items()}
    assert dropped == {
        "empty": 1, "newlines": 0, "control": 1, "trim": 0, "exact": 1, "near": 1,
        "lines": 0,
    }  # fmt: skip
    (sample,) = stages["exact"]["samples"]["an earlier document"]
    assert sample["place"].endswith("line 23") and sample["earlier"].endswith("line 4")

    found = documents(tmp_path / "out")
    everything = sorted(text for part in found.values() for text in part)
    expected = [text.replace("\r\n", "\n") for text in (*texts[:20], *texts[24:])]
    # the first 30 documents that stay keep their footer
    expected = expected[:30] + [
        re.sub("Page.*\n", "", text).replace("\nthe end", "") for text in expected[30:]
    ]
    assert everything == sorted(text.rstrip("\n") for text in expected)
    assert stages["lines"]["changed"] == 30
    for split, part in found.items():
        numbers = card["splits"][split]
        assert numbers["documents"] == len(part) > 0
        assert numbers["bytes"] == sum(len(text.encode()) for text in part)
    assert sum(card["lengths"]) == 60
    assert not (tmp_path / "out/work").exists()
    made = digests(tmp_path / "out")
    assert made.pop("card.json")
    assert {k: v["sha256"] for k, v in card["outputs"].items()} == made
    (entry,) = card["contamination"]
    assert entry["documents"] == 1 and entry["contaminated"] in (0, 1)
    page = (tmp_path / "out/README.md").read_text()
    assert page.startswith('---\npretty_name: "Lines | *of* words"\nlicense: "cc0-1.0"')
    assert "# Lines \\| \\*of\\* words" in page and "size_categories:\n- n<1K\n" in page
    assert (tmp_path / "out/card.png").read_bytes().startswith(b"\x89PNG")


class Killed(BaseException):
    pass


def test_ended_anywhere_it_goes_on_to_the_same_bytes(recipe, tmp_path, monkeypatch):
    """Each file and folder gets its name by a rename; the end comes before any."""
    run(recipe, str(tmp_path / "whole"))
    whole = digests(tmp_path / "whole")
    flush, count, stop = files.flush_one, 0, 0

    def killed(path):
        nonlocal count
        count += 1
        if count == stop:
            raise Killed
        flush(path)

    monkeypatch.setattr(files, "flush_one", killed)
    ends, rng = 0, random.Random(0)
    while True:
        count, stop = 0, rng.randint(2, 25)
        try:
            run(recipe, str(tmp_path / "ended"))
            break
        except Killed:
            ends += 1
            shutil.copy(tmp_path / "texts.jsonl", tmp_path / "ended/.a.txt.7.new")
    assert ends > 5
    assert digests(tmp_path / "ended") == whole


@pytest.mark.long
def test_processes_that_are_killed_give_the_same_bytes():
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.kill_prepare", "--kills=2"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.long
def test_processes_give_the_bytes_of_one(recipe, tmp_path):
    run(recipe, str(tmp_path / "one"))
    run(recipe, str(tmp_path / "two"), workers=2)
    assert digests(tmp_path / "one") == digests(tmp_path / "two")


def test_equal_texts_stay_in_one_split(recipe, tmp_path):
    recipe.exact, recipe.near, recipe.lines, recipe.stages = False, 0.0, 0, ()
    run(recipe, str(tmp_path / "out"))
    found = {
        k: {" ".join(t.split()) for t in v}
        for k, v in documents(tmp_path / "out").items()
    }
    assert sum(map(len, found.values())) == len(set().union(*found.values()))


def test_held_out_splits_of_a_source_win(tmp_path, monkeypatch):
    """A training book that equals a test book goes."""
    from zoo.data.sources import kjv

    books = {
        "train": {"A": "one two", "B": "three four", "C": "five"},
        "valid": {"D": "three  four"},
        "test": {"E": "five", "F": "one"},
    }
    monkeypatch.setattr(kjv, "books", lambda split: books[split])
    recipe = Recipe(stages=(), vocab_size=257, valid=0.5)
    run(recipe, str(tmp_path / "out"))
    assert documents(tmp_path / "out") == {
        "train": ["one two"],
        "valid": ["three  four"],
        "test": ["five", "one"],
    }


def test_splits_and_units_may_be_empty(tmp_path, monkeypatch):
    from zoo.data.sources import kjv

    books = {
        "train": {"A": "one", "B": "two"},
        "valid": {"C": "\n"},
        "test": {"D": "!"},
    }
    monkeypatch.setattr(kjv, "books", lambda split: books[split])
    fields = {"near": 0.5, "lines": 1, "vocab_size": 257, "unit_chars": 1}
    card = run(Recipe(stages=("trim",), **fields), str(tmp_path / "out"))
    assert list(card["splits"]) == ["train", "test"]
    assert card["splits"]["train"]["documents"] == 2


def test_a_tokenizer_of_a_folder_is_used(recipe, tokenizer, tmp_path):
    tokenizer.save(str(tmp_path / "own"))
    recipe.tokenizer = str(tmp_path / "own")
    run(recipe, str(tmp_path / "out"))
    assert shards.read(tmp_path / "out").tokenizer.json == tokenizer.json
    made = type(tokenizer)(tokenizer.json, {"eos_token": None})
    made.save(str(tmp_path / "own"))
    with pytest.raises(ValueError, match="no token that ends a text"):
        run(recipe, str(tmp_path / "other"))
    tokenizer.save(str(tmp_path / "own"))
    recipe.stages = ("gopher_quality",)
    with pytest.raises(ValueError, match=r"No document is left.*few words 63\); exact"):
        run(recipe, str(tmp_path / "none"))


def test_what_began_with_something_else_is_refused(recipe, tmp_path):
    out = tmp_path / "out"
    run(recipe, str(out))
    before = digests(out)
    run(recipe, str(out))  # is complete
    for field, value in (("near", 0.5), ("stages", ("trim",)), ("valid", 0.0)):
        other = recipes.from_json({**recipes.to_json(recipe), field: value})
        with pytest.raises(ValueError, match=f"recipe.{field}: .* -> "):
            run(other, str(out))
    with open(tmp_path / "texts.jsonl", "a") as file:
        file.write("\n")
    with pytest.raises(ValueError, match=r"texts.jsonl: \d+ bytes became \d+"):
        run(recipe, str(out))
    assert digests(out) == before
    (tmp_path / "other").mkdir()
    (tmp_path / "other/file").touch()
    with pytest.raises(ValueError, match="is not empty"):
        run(recipe, str(tmp_path / "other"))
    with work.opened(tmp_path / "new", work.begin(recipe)):
        with pytest.raises(ValueError, match="another process"):
            run(recipe, str(tmp_path / "new"))


@pytest.mark.parametrize(
    "fields, words",
    [
        ({"stages": ("trimm",)}, "Did you mean trim?"),
        ({"near": 1.5}, "recipe.near: 1.5, 0 to 1 allowed"),
        ({"valid": 0.5, "test": 0.5}, "recipe.valid [+] recipe.test: 1.0"),
        ({"algorithm": "bpee"}, "Did you mean bpe?"),
        ({"vocab_size": 256}, "recipe.vocab_size: 256, at least 257"),
        ({"unit_chars": 0}, "recipe.unit_chars: 0, at least 1"),
        ({"source": "jsonl:none.jsonl"}, "'none.jsonl': no such file"),
        ({"against": ("text:none.txt",)}, "'none.txt': no such file"),
        ({"tokenizer": "none"}, "none/tokenizer.json: no such file"),
        ({"max_bad_rows": 1}, "2 bad rows, recipe.max_bad_rows 1 allowed; .*line 8"),
        ({"stages": ("language:xx",)}, "language"),
    ],
)
def test_wrong_recipes(fields, words, recipe, tmp_path):
    with pytest.raises(ValueError, match=words):
        run(
            recipes.from_json({**recipes.to_json(recipe), "against": (), **fields}),
            str(tmp_path / "out"),
        )
    assert not list(tmp_path.glob("out/*.json"))
