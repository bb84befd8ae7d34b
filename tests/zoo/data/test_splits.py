"""What a run learns from and what it holds out."""

import numpy as np
import pytest

from zoo.data import sources, splits, tables


@pytest.fixture
def corpus(tmp_path):
    """Forty files, one document each."""
    for i in range(40):
        (tmp_path / f"{i}.txt").write_bytes(f"text {i} \r\n".encode())
    return f"text:{tmp_path}/*.txt"


def test_the_first_of_valid_own_split_and_share_is_held_out(corpus, tmp_path):
    everything = sources.documents(corpus)
    kept, held_out = splits.documents(corpus, hold_out=0.25)
    assert (kept, held_out) == sources.hold_out(everything, 0.25, seed=0)
    assert splits.documents(corpus) == (everything, [])
    assert splits.documents(corpus, f"text:{tmp_path}/3.txt", 0.25) == (
        everything,
        ["text 3 \r\n"],
    )
    _, own = splits.documents("kjv", hold_out=0.25)
    assert own == sources.documents("kjv", "valid")


def test_both_parts_are_cleaned(corpus, tmp_path):
    for part in splits.documents(corpus, "", 0.25, ("newlines", "trim")):
        assert part and all(text == text.strip() for text in part)
    (valid,) = splits.documents(corpus, f"text:{tmp_path}/3.txt", 0, ["trim"])[1]
    assert valid == "text 3"


def test_a_source_too_small_names_the_way_out(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"one line")
    with pytest.raises(ValueError, match="a.txt'.*one line.*Or set hold_out to 0"):
        splits.documents(f"text:{tmp_path}/a.txt", hold_out=0.1)


def test_tables_hold_out_by_the_same_seed():
    got, held_out = splits.table("sklearn:iris", hold_out=0.2, classes=3)
    wanted = tables.hold_out_rows(tables.table("sklearn:iris"), 0.2, seed=0)
    np.testing.assert_array_equal(got.features_NF, wanted[0].features_NF)
    np.testing.assert_array_equal(held_out.features_NF, wanted[1].features_NF)
    assert splits.table("sklearn:iris")[1] is None


def test_a_validation_table_follows_the_training_table(tmp_path):
    (tmp_path / "a.csv").write_text("x,y,label\n1,2,ant\n3,4,cat\n5,6,bee\n")
    (tmp_path / "b.csv").write_text("label,y,x\ncat,8,7\n")
    got, held_out = splits.table(f"csv:{tmp_path}/a.csv", f"csv:{tmp_path}/b.csv")
    assert held_out.label_names == got.label_names == ("ant", "bee", "cat")
    assert held_out.labels_N.tolist() == [2]
    assert held_out.features_NF.tolist() == [[7, 8]]


def test_a_validation_table_of_integers_is_values_as_well(tmp_path):
    (tmp_path / "a.csv").write_text("x,label\n1,0.5\n3,2\n")
    (tmp_path / "b.csv").write_text("x,label\n1,3\n")
    _, held_out = splits.table(f"csv:{tmp_path}/a.csv", f"csv:{tmp_path}/b.csv")
    assert held_out.labels_N.tolist() == [3.0]
