import gzip

import pytest

from nnkit.data.reading.delimited import Dialect, read_dialect, read_header, read_rows, unique_names
from nnkit.data.reading.user_files import find_file
from nnkit.errors import UserError


def written(folder, text, encoding="utf-8", name="table.csv"):
    path = folder / name
    path.write_bytes(text.encode(encoding))
    return path


def rows_of(path):
    return [row for _, row in read_rows(path, read_dialect(path))]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_found(tmp_path, delimiter):
    text = "\n".join(delimiter.join(row) for row in (("a", "b", "c"), ("1", "x y", "2.5"), ("3", "z", "4")))
    path = written(tmp_path, text)
    assert read_dialect(path).delimiter == delimiter
    assert rows_of(path) == [["a", "b", "c"], ["1", "x y", "2.5"], ["3", "z", "4"]]


def test_commas_inside_fields_do_not_mislead(tmp_path):
    path = written(tmp_path, "name;note;y\nAnn;one, two, three;1\nBob;four;2\n")
    assert read_dialect(path).delimiter == ";"


@pytest.mark.parametrize(
    ("text", "decimal"),
    [
        ("a;b\n1,5;2\n3,25;4\n", True),
        ("a;b\n1.5;2\n", False),
        ('a,b\n"1,5",2\n"2,75",3\n', True),
        ('a,b\n"1,500",2\n"2,750",3\n', False),
        ("a,b\n1,2\n", False),
    ],
)
def test_the_decimal_comma_is_told_from_a_separator(tmp_path, text, decimal):
    assert read_dialect(written(tmp_path, text)).decimal_comma is decimal


@pytest.mark.parametrize(
    ("codec", "found"),
    [("utf-8", "utf-8-sig"), ("utf-8-sig", "utf-8-sig"), ("utf-16", "utf-16"), ("latin-1", "latin-1")],
)
def test_the_encoding_is_found(tmp_path, codec, found):
    # The letter stands beyond the sample the delimiter is found from.
    text = "Größe,Ort\n" + "1,Bonn\n" * 20_000 + "2,Köln\n"
    path = written(tmp_path, text, codec)
    assert read_dialect(path).encoding == found
    rows = rows_of(path)
    assert rows[0] == ["Größe", "Ort"]
    assert rows[-1] == ["2", "Köln"]


def test_quotes_hold_delimiters_quotes_and_line_ends(tmp_path):
    path = written(tmp_path, 'a,b\r\n"x, ""y""\nz",1\r\n\r\nw, "2"\r\n')
    assert list(read_rows(path, read_dialect(path))) == [
        (1, ["a", "b"]),
        (2, ['x, "y"\nz', "1"]),
        (5, ["w", "2"]),
    ]


def test_a_compressed_file_is_unpacked(tmp_path):
    path = tmp_path / "table.csv.gz"
    path.write_bytes(gzip.compress(b"a;b\n1;2\n"))
    assert rows_of(path) == [["a", "b"], ["1", "2"]]
    path.write_bytes(path.read_bytes()[:-6])
    with pytest.raises(UserError, match="damaged gzip file"):
        rows_of(path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"a,b\n1,\0\0\n", "binary file"),
        (b"PK\x03\x04rest", "Excel workbook"),
        (b"PAR1rest", "Parquet"),
    ],
)
def test_other_formats_are_named(tmp_path, content, words):
    path = tmp_path / "table.csv"
    path.write_bytes(content)
    with pytest.raises(UserError, match=words):
        read_dialect(path)


def test_an_open_quote_is_found_at_its_start(tmp_path):
    path = written(tmp_path, 'a,b\n1,2\n3,"4\n' + "5,6\n" * 40_000)
    with pytest.raises(UserError, match=r"line 3: .*quote"):
        list(read_rows(path, Dialect("utf-8-sig", ",", False)))


def test_a_wrong_encoding_is_said(tmp_path):
    path = written(tmp_path, "a,b\n1,é\n", "latin-1")
    with pytest.raises(UserError, match="not in the encoding ascii"):
        list(read_rows(path, Dialect("ascii", ",", False)))


def test_files_that_cannot_be_read_are_refused(tmp_path):
    written(tmp_path, "a,b\n1,2\n", name="houses.csv")
    written(tmp_path, "", name="empty.csv")
    for given, words in (
        (tmp_path / "house.csv", "no such file: .*house.csv, did you mean .*houses.csv"),
        (tmp_path / "zzz.csv", r"no such file: .*zzz\.csv$"),
        (tmp_path / "nowhere" / "x.csv", "no such file: .*no folder"),
        (tmp_path, "is a folder"),
        (tmp_path / "empty.csv", "is empty"),
        ("https://example.org/x.csv", "is a URL"),
    ):
        with pytest.raises(UserError, match=words):
            find_file(str(given))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("5.1,3.5,setosa\n4.9,3.0,setosa\n", "holds data, not column names"),
        ("1,2\n3,4\n", "holds data, not column names"),
        (",,\n1,2,3\n", "its first line is blank"),
        ("\n\n", "its first line is blank"),
    ],
)
def test_a_file_without_names_is_refused(tmp_path, text, words):
    path = written(tmp_path, text)
    with pytest.raises(UserError, match=words):
        read_header(path, read_dialect(path))


def test_years_may_be_names(tmp_path):
    path = written(tmp_path, "country,2019,2020\nA,1,2\n")
    assert read_header(path, read_dialect(path)) == ["country", "2019", "2020"]


def test_names_become_unique():
    assert unique_names(["x", "y", "x", "", "x (2)", "x", ""]) == [
        *("x", "y", "x (3)", "unnamed", "x (2)", "x (4)", "unnamed (2)"),
    ]
