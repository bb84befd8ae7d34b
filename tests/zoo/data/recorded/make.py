"""Writes the files beside it with `datasets` and pandas, which the tests do not need.

Made by: datasets 5.2.0, pandas 3.1.1, pyarrow 26.0.1, in an environment of their own:

    python tests/zoo/data/recorded/make.py
"""

import pathlib

import datasets  # pyright: ignore[reportMissingImports]
import pandas  # pyright: ignore[reportMissingImports]

HERE = pathlib.Path(__file__).parent
FEATURES = datasets.Features(
    {
        "text": datasets.Value("string"),
        "label": datasets.ClassLabel(names=["neg", "pos"]),
        "tags": datasets.List(datasets.ClassLabel(names=["O", "B"])),
        "n": datasets.Value("int64"),
    }
)


def rows(first, end):
    numbers = range(first, end)
    columns = {
        "text": [f"text é {i}" for i in numbers],
        "label": [i % 2 for i in numbers],
        "tags": [[0, 1] for _ in numbers],
        "n": list(numbers),
    }
    return datasets.Dataset.from_dict(columns, features=FEATURES)


if __name__ == "__main__":
    splits = {"train": rows(0, 5), "validation": rows(5, 7)}
    datasets.DatasetDict(splits).save_to_disk(
        HERE / "saved", num_shards={"train": 2, "validation": 1}
    )
    for name, split in splits.items():
        split.to_parquet(HERE / f"hub/data/{name}-00000-of-00001.parquet")
    table = pandas.DataFrame(
        {
            "text": ["a", "b", None, "d"],
            "cat": pandas.Categorical(["x", "y", "x", "y"]),
            "raw": [b"\xff", b"ok", b"", b"z"],
            "when": pandas.Timestamp("2020-01-01"),
            "f": [1.0, 2.0, None, 4.0],
        }
    )
    table.to_parquet(HERE / "pandas.parquet")
