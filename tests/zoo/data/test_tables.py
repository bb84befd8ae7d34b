"""Tables: CSV in two layouts, scikit-learn's data, and messages that name the cell."""

import pathlib

import numpy as np
import pytest

from zoo.data import tables

SHARED = pathlib.Path(__file__).parents[3] / "../shared/data/breast_cancer.csv"


def write(tmp_path, text: str) -> str:
    path = tmp_path / "t.csv"
    path.write_bytes(text.encode())
    return f"csv:{path}"


def test_csv_with_a_header(tmp_path):
    spec = write(tmp_path, "\ufeffa,kind,b\r\n1,yes,-2.5e1\r\n\r\n.5,no,4\r\n")
    got = tables.table(f"{spec}#kind")
    np.testing.assert_array_equal(got.features_NF, [[1, -25], [0.5, 4]])
    assert got.features_NF.dtype == np.float32
    assert got.labels_N.tolist() == [1, 0] and got.labels_N.dtype == np.int32
    assert got.feature_names == ("a", "b") and got.label_names == ("no", "yes")


def test_csv_integer_labels_sort_by_value(tmp_path):
    got = tables.table(write(tmp_path, "a,label\n0,10\n0,9\n0,10\n"))
    assert got.label_names == ("9", "10") and got.labels_N.tolist() == [1, 0, 1]


def test_csv_decimal_labels_are_values(tmp_path):
    got = tables.table(write(tmp_path, "a,label\n0,3\n0,2.5\n"))
    assert got.label_names == () and got.labels_N.dtype == np.float32
    assert got.labels_N.tolist() == [3.0, 2.5]


def test_csv_takes_the_classes_of_another_table(tmp_path):
    spec = write(tmp_path, "a,label\n0,cat\n")
    assert tables.table(spec, ("ant", "bee", "cat")).labels_N.tolist() == [2]
    with pytest.raises(ValueError, match="line 2, column 'label': 'cat'"):
        tables.table(spec, ("ant", "bee"))


def test_csv_bytes_that_are_not_utf8(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes("\ufeffa,label\n1,gr".encode() + b"\xfc\xdf\n")
    with pytest.raises(ValueError, match="t.csv: byte 15 .0xfc. is not UTF-8"):
        tables.table(f"csv:{path}")
    with pytest.raises(ValueError, match="Did you mean csv:/"):
        tables.table(str(path))


@pytest.mark.parametrize("names", [("malignant", "benign"), ("benign", "malignant")])
def test_the_names_of_the_model_decide(tmp_path, names):
    rows = ["malignant", "benign", "benign"]
    spec = write(tmp_path, "a,label\n" + "".join(f"0,{row}\n" for row in rows))
    wanted = [names.index(row) for row in rows]
    assert tables.table(spec, names, 2).labels_N.tolist() == wanted
    cancer = tables.table("sklearn:breast_cancer", names, 2)
    assert np.bincount(cancer.labels_N)[names.index("benign")] == 357
    assert cancer.label_names == names


def test_a_table_without_one_class_shifts_no_other(tmp_path):
    spec = write(tmp_path, "a,label\n0,cat\n0,ant\n")
    got = tables.table(spec, ("ant", "bee", "cat"), 3)
    assert got.labels_N.tolist() == [2, 0]
    spec = write(tmp_path, "a,label\n0,0\n0,2\n")
    got = tables.table(spec, classes=3)
    assert got.labels_N.tolist() == [0, 2] and got.label_names == ("0", "1", "2")
    # The names of a model may be words where a table has indices.
    assert tables.table(spec, ("ant", "bee", "cat")).labels_N.tolist() == [0, 2]
    with pytest.raises(ValueError, match="line 2, column 'label': '0'. Allowed: 1, 2"):
        tables.table(spec, ("1", "2"))


@pytest.mark.parametrize(
    "labels, names, classes, message",
    [
        ("1 2.5", (), 3, "line 3, column 'label': '2.5' is a value to regress"),
        ("1 2.5", ("a", "b"), 2, "line 3, column 'label': '2.5' is a value to regress"),
        ("1 2", ("a", "b"), 2, "line 2, column 'label': '1'. Allowed: a, b"),
        ("no yes", (), 3, "the table has 2 classes (no, yes), the model has 3"),
        ("1 no", (), 0, "line 3, column 'label': 'no', expected a finite number"),
        ("0 1", ("a", "a"), 2, "a class name appears twice"),
    ],
)
def test_labels_that_do_not_fit_the_model(tmp_path, labels, names, classes, message):
    spec = write(tmp_path, "a,label\n" + "".join(f"0,{x}\n" for x in labels.split()))
    with pytest.raises(ValueError) as error:
        tables.table(spec, names, classes)
    assert message in str(error.value)


def test_a_model_that_regresses_takes_integers_as_values(tmp_path):
    spec = write(tmp_path, "a,label\n0,30\n0,10\n")
    got = tables.table(spec, classes=0)
    assert got.labels_N.tolist() == [30.0, 10.0] and got.labels_N.dtype == np.float32
    with pytest.raises(ValueError, match="classes .setosa, versicolor, virginica."):
        tables.table("sklearn:iris", classes=0)


@pytest.mark.parametrize(
    "text, message",
    [
        ("a,b,label\n1,2,x\n1,,x\n", "t.csv, line 3, column 'b': empty"),
        ("a,b,label\n1,2,x\n1,NaN,x\n", "t.csv, line 3, column 'b': 'NaN'"),
        ("a,b,label\n1,inf,x\n", "t.csv, line 2, column 'b': 'inf'"),
        ("a,b,label\n1,1e99,x\n", "t.csv, line 2, column 'b': '1e99'"),
        ("a,b,label\n1,1_0,x\n", "t.csv, line 2, column 'b': '1_0'"),
        ("a,b,label\n1,two,x\n", "t.csv, line 2, column 'b': 'two'"),
        ("a,b,label\n1,2,\n", "t.csv, line 2, column 'label': no label"),
        ("a,b,label\n1,2\n", "t.csv, line 2: 2 columns, expected 3"),
        ("a,a,label\n1,2,x\n", "line 1: a column name appears twice"),
        ("a,b,lable\n1,2,x\n", "no column 'label'. Did you mean lable"),
        ("a,b,label\n", "no rows under the header"),
        ("3,1,x,y\n1,0\n2,1\n", "2 rows, but line 1 expects 3"),
        ("2,1,x,y\n1,0\n2,2\n", "line 3, column 'label': '2'"),
        ("2,1,x,y\n1,0\nz,1\n", "line 3, column 'x0': 'z'"),
        ("", "the file is empty"),
        ("1" * 5000 + ",1,x\n1,0\n", "no column 'label'"),
        ("a,label\n0,10\n0," + "9" * 5000, "line 3, column 'label': '99"),
    ],
)
def test_csv_errors_name_file_line_and_column(tmp_path, text, message):
    with pytest.raises(ValueError) as error:
        tables.table(write(tmp_path, text))
    assert message in str(error.value)


def test_csv_in_the_layout_of_scikit_learn(tmp_path):
    spec = write(tmp_path, "3,2,malignant,benign\n1,2,0\n3,4,1\n5,6,0\n")
    got = tables.table(spec)
    np.testing.assert_array_equal(got.features_NF, [[1, 2], [3, 4], [5, 6]])
    assert got.labels_N.tolist() == [0, 1, 0]
    assert got.label_names == ("malignant", "benign")
    got = tables.table(spec, ("benign", "malignant"))
    assert got.labels_N.tolist() == [1, 0, 1]


@pytest.mark.skipif(not SHARED.exists(), reason="needs the shared data")
def test_shared_csv_is_the_packages_table():
    own, package = tables.table(f"csv:{SHARED}"), tables.table("sklearn:breast_cancer")
    np.testing.assert_array_equal(own.features_NF, package.features_NF)
    np.testing.assert_array_equal(own.labels_N, package.labels_N)
    assert own.label_names == package.label_names == ("malignant", "benign")


def test_scikit_learn_tables():
    got = tables.table("sklearn:breast_cancer")
    assert got.features_NF.shape == (569, 30) and got.features_NF.dtype == np.float32
    assert np.bincount(got.labels_N).tolist() == [212, 357]
    assert tables.table("sklearn:diabetes").labels_N.dtype == np.float32
    with pytest.raises(ValueError, match="'boston'"):
        tables.table("sklearn:boston")
    with pytest.raises(ValueError, match="is no table"):
        tables.table("kjv")


def test_hold_out_rows():
    got = tables.table("sklearn:iris")
    kept, held = tables.hold_out_rows(got, 0.2, seed=1)
    assert len(kept.labels_N) == 120 and len(held.labels_N) == 30
    rows = np.concatenate([kept.features_NF, held.features_NF])
    np.testing.assert_array_equal(np.sort(rows, 0), np.sort(got.features_NF, 0))
    again = tables.hold_out_rows(got, 0.2, seed=1)[1]
    np.testing.assert_array_equal(again.features_NF, held.features_NF)
    other = tables.hold_out_rows(got, 0.2, seed=2)[1]
    assert (other.features_NF != held.features_NF).any()
    with pytest.raises(ValueError, match="fraction: 1.0"):
        tables.hold_out_rows(got, 1.0)
