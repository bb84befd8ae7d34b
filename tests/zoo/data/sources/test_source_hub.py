"""Data sets of Hugging Face: saved folders, and the Hub by recorded files."""

import shutil
import types

import huggingface_hub
import pytest
from source_texts import RECORDED, read

from zoo.data import fingerprints, sources
from zoo.data.sources import hub_layout, huggingface


@pytest.mark.parametrize("folder", ["saved", "hub"])
def test_hf_folders_have_splits_and_names_of_classes(folder):
    spec = f"hf:{RECORDED}/{folder}"
    assert sources.splits(spec) == ("train", "validation", "valid")
    assert read(spec)[0] == [f"text é {i}" for i in range(5)]
    assert sources.documents(spec, "valid") == ["text é 5", "text é 6"]
    assert len(sources.documents(f"{spec}:validation+train")) == 7
    assert sources.label_names(spec) == ("neg", "pos")
    assert sources.label_names(spec, "tags") == ("O", "B")
    assert sources.label_names(spec, "n") == ()
    place, row = next(sources.numbered(spec))
    assert place.endswith(", row 1")
    assert row == {"text": "text é 0", "label": 0, "tags": [0, 1], "n": 0}
    assert len(fingerprints.of_run(spec)) == (3 if folder == "saved" else 2)
    with pytest.raises(ValueError, match="split: 'test'. Allowed: train, validation"):
        sources.parts(spec, "test")
    with pytest.raises(ValueError, match="lable"):
        sources.label_names(spec, "lable")


def test_one_saved_split_is_train_and_its_state_is_checked(tmp_path):
    shutil.copytree(RECORDED / "saved/validation", tmp_path / "one")
    assert read(f"hf:{tmp_path}/one")[0] == ["text é 5", "text é 6"]
    state = tmp_path / "one/state.json"
    for text, message in [
        ("{", "state.json: not JSON"),
        ("{}", "state.json: no '_data_files'"),
        (
            '{"_data_files": [{"filename": "../x"}]}',
            "'../x', a file of the same folder",
        ),
        ('{"_indices_data_files": [{"filename": "i"}]}', "are not read; save"),
    ]:
        state.write_text(text)
        with pytest.raises(ValueError, match=message):
            sources.parts(f"hf:{tmp_path}/one")
    with pytest.raises(ValueError, match="no data set; a folder with dataset_dict"):
        sources.parts(f"hf:{tmp_path}")


@pytest.fixture
def hub(monkeypatch):
    """A Hub with one data set, by the two calls of its library that are used."""
    huggingface._on_hub.cache_clear()
    asked = []

    def dataset_info(self, name, revision=None):
        asked.append((name, revision))
        if name != "someone/texts":
            raise ConnectionError("no network\nsecond line")
        names = ["README.md", "load.py"]
        if revision == huggingface._CONVERTED:
            names = sorted(
                path.relative_to(RECORDED / "hub").as_posix()
                for path in (RECORDED / "hub").rglob("*.parquet")
            )
        files = [types.SimpleNamespace(rfilename=name) for name in names]
        return types.SimpleNamespace(sha="abc123", siblings=files)

    def snapshot_download(name, repo_type, revision, allow_patterns):
        assert (name, repo_type, revision) == ("someone/texts", "dataset", "abc123")
        asked.append(allow_patterns)
        return str(RECORDED / "hub")

    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", dataset_info)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    yield asked
    huggingface._on_hub.cache_clear()


def test_hub_gives_the_files_of_one_split_of_one_commit(hub):
    assert read("hf:someone/texts:validation")[0] == ["text é 5", "text é 6"]
    wanted = "data/validation-00000-of-00001.parquet"
    assert hub == [
        ("someone/texts", None),
        ("someone/texts", "refs/convert/parquet"),
        [wanted],
    ]
    assert list(sources.files("hf:someone/texts", "valid")) == [
        f"hf:someone/texts/{wanted}"
    ]
    with pytest.raises(ValueError, match="the revision has no Parquet"):
        sources.parts("hf:someone/texts@v1")


def test_without_network_the_message_says_what_to_do(hub):
    with pytest.raises(ValueError) as error:
        sources.parts("hf:someone/else")
    assert str(error.value) == (
        "hf:someone/else: is no folder, and cannot be fetched from the Hugging Face "
        "Hub (ConnectionError: no network). Without network, download the data set "
        "elsewhere and name its folder."
    )


README = """---
license: mit
configs:
- config_name: en
  data_files:
  - split: train
    path: en/part-*
  - split: test
    path: [en/held.parquet]
- config_name: de
  default: true
  data_files: "de/**/*.parquet"
---
# Texts
"""


@pytest.mark.parametrize(
    "paths, readme, config, expected",
    [
        (
            [
                "data/test-00000-of-00001.parquet",
                "data/train-00000-of-00001-ab.parquet",
            ],
            "",
            "",
            {"train": [1], "test": [0]},
        ),
        (
            ["en/partial-train/0000.parquet", "en/test/0000.parquet"],
            "",
            "en",
            {"train": [0], "test": [1]},
        ),
        (
            ["a.parquet", "dev/b.parquet", "my_test.parquet"],
            "",
            "",
            {"validation": [1]},
        ),
        (["a.parquet", "my_test.parquet"], "# no header", "", {"test": [1]}),
        (
            ["test/train.parquet", "train/b.parquet"],
            "",
            "",
            {"train": [1], "test": [0]},
        ),
        (["a.parquet", "mytrain.parquet"], "", "", {"train": [0, 1]}),
        (
            ["de/x/a.parquet", "en/held.parquet", "en/part-0.parquet", "en/y.parquet"],
            README,
            "en",
            {"train": [2], "test": [1]},
        ),
        (
            ["de/x/a.parquet", "en/held.parquet", "en/part-0"],
            README,
            "",
            {"train": [0]},
        ),
    ],
)
def test_files_have_the_splits_that_datasets_gives_them(
    paths, readme, config, expected
):
    found = hub_layout.splits(paths, readme, config, "hf:x")
    assert found == {split: [paths[i] for i in of] for split, of in expected.items()}
    assert list(found) == list(expected)


def test_several_configurations_need_a_name():
    paths = ["de/train/0000.parquet", "en/train/0000.parquet"]
    with pytest.raises(ValueError, match=r"hf:NAME/CONFIG\. Allowed: de, en"):
        hub_layout.splits(paths, "", "", "hf:x")
    with pytest.raises(ValueError, match=r"'en/held\.parquet' names no Parquet file"):
        hub_layout.splits(["en/part-0.parquet"], README, "en", "hf:x")
    with pytest.raises(ValueError, match="header is no YAML"):
        hub_layout.splits(paths, "---\nconfigs: [\n---\n", "", "hf:x")
