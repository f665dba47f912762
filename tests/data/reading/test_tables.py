"""Tables as people have them, and what is read of them: every value against what was written."""

import csv
import gzip
import io
import json
import logging
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnkit.config import catalog
from nnkit.data.reading import delimited, dialect
from nnkit.data.reading.dialect import ReadOptions
from nnkit.data.reading.table_file import open_table
from nnkit.errors import UserError


def written(folder, text, encoding="utf-8", name="table.csv"):
    path = folder / name
    path.write_bytes(text.encode(encoding))
    return str(path)


def rows_of(path, **reading):
    """All rows as lists of texts."""
    table = open_table(path, ReadOptions(**reading))
    chunks = [zip(*chunk, strict=True) for chunk in table.texts(table.names)]
    return [list(row) for chunk in chunks for row in chunk]


def said(path, **reading):
    """What is warned of."""
    findings = open_table(path, ReadOptions(**reading)).findings
    return "\n".join(sentence for level, sentence in findings if level >= logging.WARNING)


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_delimiters_and_line_ends_are_found(tmp_path, delimiter, ending):
    rows = [["a", "b", "c"], ["1", "x y", "2.5"], ["3", "z", "4"]]
    path = written(tmp_path, ending.join(delimiter.join(row) for row in rows))
    assert open_table(path).names == rows[0]
    assert rows_of(path) == rows[1:]


def test_commas_inside_cells_do_not_mislead(tmp_path):
    assert (
        rows_of(written(tmp_path, "name;note;y\nAnn;one, two, three;1\nBob;four;2\n"))[0][1]
        == "one, two, three"
    )


@pytest.mark.parametrize("typed", ["tab", "\\t", "\t", "TAB"])
def test_a_tab_can_be_typed(tmp_path, typed):
    assert rows_of(written(tmp_path, "a\tb\n1,5\t2\n"), delimiter=typed) == [["1,5", "2"]]


@given(
    st.lists(
        st.lists(
            st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), max_size=8),
            min_size=3,
            max_size=3,
        ),
        min_size=1,
        max_size=5,
    )
)
@settings(max_examples=60, deadline=None)
def test_what_the_csv_module_writes_is_read_back(tmp_path_factory, rows):
    file = io.StringIO(newline="")
    csv.writer(file, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows([["a", "b", "c"], *rows])
    path = written(tmp_path_factory.mktemp("csv"), file.getvalue())
    assert rows_of(path, header=True, delimiter=",", quotes=True) == rows


@pytest.mark.parametrize("codec", ["utf-8-sig", "utf-16", "utf-16-le", "cp1252", "gb18030", "gbk"])
def test_encodings(tmp_path, codec):
    chinese = codec not in ("cp1252",)
    header, cell = ("名字,城市", "小明，北京的学生") if chinese else ("Größe,Ort", "Köln – 5€")
    # The letter stands beyond the sample from which the delimiter is found.
    text = f"{header}\n" + "1,Bonn\n" * 40_000 + f"2,{cell}\n"
    given_codec = "utf-16-le" if codec == "utf-16-le" else None
    path = written(tmp_path, text, codec)
    table = open_table(path, ReadOptions(encoding=given_codec))
    assert table.names == header.split(",")
    rows = rows_of(path, encoding=given_codec)
    assert (len(rows), rows[0], rows[-1]) == (40_001, ["1", "Bonn"], ["2", cell])


def test_a_guessed_encoding_is_said_with_an_example(tmp_path):
    assert "gb18030, such as '名字,城市'" in said(written(tmp_path, "名字,城市\n小明,北京\n", "gbk"))
    assert "cp1252, such as 'x,café'" in said(written(tmp_path, "a,b\nx,café\n", "latin-1"))
    assert not said(written(tmp_path, "a,b\nx,café\n"))


def test_a_wrong_encoding_is_refused(tmp_path):
    with pytest.raises(UserError, match="not in the encoding ascii"):
        rows_of(written(tmp_path, "a,b\n1,é\n"), encoding="ascii")
    for name in ("utf-16-le", "utf-16-be"):
        with pytest.raises(UserError, match=f"zero bytes.*data.encoding={name}"):
            rows_of(written(tmp_path, "a,b\n1,2\n", name))
        assert rows_of(written(tmp_path, "a,b\n1,2\n", name), encoding=name) == [["1", "2"]]


def test_gzip(tmp_path):
    path = tmp_path / "table.csv.gz"
    path.write_bytes(gzip.compress(b"a,b\n1,2\n"))
    assert rows_of(str(path)) == [["1", "2"]]
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(UserError, match="damaged gzip"):
        rows_of(str(path))


def test_cells_of_any_length(tmp_path):
    # Longer than a block, which pyarrow refuses by itself.
    long = "word, " * 500_000
    path = written(tmp_path, f'a,b\n1,x\n2,"{long}"\n3,"{long}\n"\n')
    assert rows_of(path) == [["1", "x"], ["2", long], ["3", long + "\n"]]


def test_all_bad_rows_are_counted_and_the_first_is_named(tmp_path):
    path = written(tmp_path, "a,b\n1,2\n\n3\n4,5\n6,7,8\n")
    with pytest.raises(UserError, match=r"line 4: 1 field, the header has 2 \(2 such rows in all\): '3'"):
        rows_of(path)


def test_comments_and_blank_lines_are_no_rows(tmp_path):
    path = written(tmp_path, "# made by hand\n# id,value\nid,value\n1,2\n\n# later\n3,4\n")
    assert (open_table(path).names, rows_of(path)) == (["id", "value"], [["1", "2"], ["3", "4"]])
    path = written(tmp_path, "#id,value\n1,2\n3,4\n")
    assert rows_of(path) == [["1", "2"], ["3", "4"]]


def test_a_line_for_excel_names_the_delimiter(tmp_path):
    path = written(tmp_path, "sep=;\na;b\n1,5;2,5\n")
    assert (open_table(path).names, rows_of(path)) == (["a", "b"], [["1,5", "2,5"]])


def test_prose_before_the_table_is_said(tmp_path):
    path = written(tmp_path, "Sales of 2024\n\nregion,sales\nnorth,1\nsouth,2\n")
    assert (open_table(path).names, rows_of(path)) == (["region", "sales"], [["north", "1"], ["south", "2"]])
    assert "begins after 'Sales of 2024'" in said(path)


def test_blanks_between_cells(tmp_path):
    path = written(tmp_path, "  name  x   y \n  a   1   2.5\n  b  -3    4\n\n  c\t5 6\n")
    assert open_table(path).names == ["name", "x", "y"]
    assert rows_of(path) == [["a", "1", "2.5"], ["b", "-3", "4"], ["c", "5", "6"]]
    text = "name x\n" + "".join(f"   n{number}    {number}  \n" for number in range(200_000))
    assert rows_of(written(tmp_path, text))[-1] == ["n199999", "199999"]


def test_numbers_that_tell_of_the_table_are_no_header(tmp_path):
    # As scikit-learn's files begin.
    path = written(tmp_path, "2,3,malignant\n" + "1.5,2.5,3.5,4.5,0\n0.5,1.5,2.5,3.5,1\n")
    assert rows_of(path) == [["1.5", "2.5", "3.5", "4.5", "0"], ["0.5", "1.5", "2.5", "3.5", "1"]]
    assert "begins after '2,3,malignant'" in said(path)
    with pytest.raises(UserError, match="is the first line the one with the column names"):
        rows_of(written(tmp_path, "a,b,c\n1,2,3,4,5\n1,2,3,4,5\n"))


def test_blanks_before_quotes(tmp_path):
    path = written(tmp_path, 'a, b\n1, "x, y"\n2,   "z"\n')
    assert rows_of(path) == [["1", "x, y"], ["2", "z"]]


class TestQuotes:
    def test_hold_delimiters_quotes_and_line_ends(self, tmp_path):
        path = written(tmp_path, 'a,b\n"x, ""y""","two\nlines"\nz,1\n')
        assert rows_of(path) == [['x, "y"', "two\nlines"], ["z", "1"]]

    def test_are_letters_where_lines_are_rows_without_them(self, tmp_path):
        lines = ['"the first\tpos', 'a "second" one\tneg', 'bye"\tpos', '"whole"\tneg', '"so" he said\tpos']
        path = written(tmp_path, "text\tlabel\n" + "\n".join(lines) + "\n", name="t.tsv")
        texts = ['"the first', 'a "second" one', 'bye"', "whole", '"so" he said']
        assert [row[0] for row in rows_of(path)] == texts

    def test_that_make_one_row_of_several_behind_the_sample_are_refused(self, tmp_path):
        plain = "some text here,pos\n" * 30_000
        path = written(
            tmp_path, f'text,label\n"q",x\n{plain}"stray,pos\nmore"\'s,neg\nmore,neg\nend",pos\n{plain}'
        )
        with pytest.raises(UserError, match=r"the quote in '\"stray'.*data\.quotes=false"):
            rows_of(path)
        assert len(rows_of(path, quotes=False)) == 60_005

    def test_that_are_never_closed_are_refused(self, tmp_path):
        with pytest.raises(UserError, match="line 2: a quote that is never closed"):
            rows_of(written(tmp_path, 'a,b\n1,"x\ny"\n'.replace('y"', "y")), quotes=True)
        # Of several lines that would be one row.
        with pytest.raises(UserError, match="never closed"):
            rows_of(written(tmp_path, 'a,b\n"1\n2",2\n3,"4\n5,6\n'))


class TestHeader:
    @pytest.mark.parametrize(
        ("text", "why"),
        [
            ("62,town,rich\n47,town,poor\n", "numbers where they do"),
            ("0.5,1.5\n2.5,3.5\n", "a number with decimals"),
            ("good film,pos\nbad film,neg\ngood film,pos\n", "'good film' is a value"),
        ],
    )
    def test_a_first_line_like_the_others_is_data_and_that_is_said(self, tmp_path, text, why):
        path = written(tmp_path, text)
        width = text.split("\n")[0].count(",") + 1
        assert open_table(path).names == [f"column_{number}" for number in range(1, width + 1)]
        assert len(rows_of(path)) == text.count("\n")
        assert why in said(path)
        assert "data.header=true" in said(path)
        assert len(rows_of(path, header=True)) == text.count("\n") - 1

    @pytest.mark.parametrize("names", ["0,1,2", "1,2,3", "2019,2020,2021", "a,b,c", "x,2020,2021"])
    def test_names_are_names(self, tmp_path, names):
        path = written(tmp_path, f"{names}\n5,6,7\n8,9,10\n")
        assert open_table(path).names == names.split(",")
        assert not said(path)

    def test_names_in_single_quotes(self, tmp_path):
        assert open_table(written(tmp_path, "'OBS' 'GPA'\n1 2.66\n2 2.89\n")).names == ["OBS", "GPA"]

    def test_years_beside_words_are_names(self, tmp_path):
        path = written(tmp_path, "country,code,1960,1961\nAruba,ABW,4.8,4.6\nChad,TCD,,6.2\n")
        assert open_table(path).names == ["country", "code", "1960", "1961"]

    def test_a_header_may_be_denied(self, tmp_path):
        path = written(tmp_path, "a,b\nc,d\n")
        assert rows_of(path, header=False) == [["a", "b"], ["c", "d"]]

    def test_names_of_rows_without_a_name_above_them(self, tmp_path):
        path = written(tmp_path, "x,y\nr1,1,2\nr2,3,4\n")
        assert (open_table(path).names, rows_of(path)[0]) == (["unnamed", "x", "y"], ["r1", "1", "2"])

    def test_names_become_unique_and_that_is_said(self, tmp_path):
        path = written(tmp_path, "a,a,,b\n1,2,3,x\n")
        assert open_table(path).names == ["a", "a (2)", "unnamed", "b"]
        assert "a second column 'a'" in said(path)

    def test_without_rows_or_names(self, tmp_path):
        assert rows_of(written(tmp_path, "a,b\n")) == []
        with pytest.raises(UserError, match="no rows"):
            open_table(written(tmp_path, "\n\n"))
        with pytest.raises(UserError, match="no column names"):
            open_table(written(tmp_path, ",,\n1,2,3\n"))


class TestJson:
    def test_lines_and_arrays_are_the_same_table(self, tmp_path):
        rows = [
            {"t": "a\nb", "n": 1},
            {"t": "c", "n": 2.5},
            {"t": None, "n": 3, "x": True},
            {"t": "d", "x": ["p", "q"]},
        ]
        lines = written(tmp_path, "\n".join(map(json.dumps, rows)) + "\n\n", name="a.jsonl")
        array = written(tmp_path, json.dumps(rows, indent=1), name="a.json")
        expected = [["a\nb", "1", None], ["c", "2.5", None], [None, "3", "true"], ["d", None, '["p", "q"]']]
        assert rows_of(lines) == rows_of(array) == expected

    def test_bad_lines_are_named(self, tmp_path):
        path = written(tmp_path, '{"t": 1}\n{"t": 2\n[1]\n"x"\n', name="a.jsonl")
        with pytest.raises(
            UserError,
            match=r"3 lines cannot be read\n    line 2: no JSON.*\n    line 3: .*a list\n.*a string",
        ):
            rows_of(path)

    def test_labels_keep_how_they_are_written(self, tmp_path):
        path = written(tmp_path, '{"y": "01"}\n{"y": 1}\n{"y": true}\n', name="a.jsonl")
        assert rows_of(path) == [["01"], ["1"], ["true"]]


def arrow_table():
    return pa.table(
        {
            "i": pa.array([1, 2, None]),
            "f": pa.array([1.0, 2.5, float("nan")]),
            "s": pa.array(["a", None, "c"]).dictionary_encode(),
            "b": pa.array([True, False, None]),
            "l": pa.array([["x"], [], None]),
        }
    )


def test_typed_files_are_the_same_table(tmp_path):
    pq.write_table(arrow_table(), tmp_path / "a.parquet")
    pyarrow.feather.write_feather(arrow_table(), tmp_path / "a.feather")
    with (
        pa.OSFile(str(tmp_path / "a.arrow"), "wb") as file,
        pa.ipc.new_stream(file, arrow_table().schema) as writer,
    ):
        writer.write_table(arrow_table())
    expected = [
        ["1", "1", "a", "true", '["x"]'],
        ["2", "2.5", None, "false", "[]"],
        [None, "nan", "c", None, None],
    ]
    for name in ("a.parquet", "a.feather", "a.arrow"):
        assert rows_of(str(tmp_path / name)) == expected, name
    (tmp_path / "b.parquet").write_bytes((tmp_path / "a.parquet").read_bytes()[:200])
    with pytest.raises(UserError, match="cannot be read"):
        rows_of(str(tmp_path / "b.parquet"))


def test_a_folder_and_a_pattern_are_one_table_in_order(tmp_path):
    folder = tmp_path / "parts"
    folder.mkdir()
    for number in (2, 0, 1):
        # Columns in another order, and a delimiter of its own, are no matter.
        text = f"x;y\n{number};a\n" if number else f"y,x\na,{number}\n"
        written(folder, text, name=f"part-{number}.csv")
    (folder / "state.json").write_text("{}")
    assert sorted(rows_of(str(folder))) == [["a", "0"], ["a", "1"], ["a", "2"]]
    assert rows_of(str(folder / "part-[12].csv")) == [["1", "a"], ["2", "a"]]
    written(folder, "x,z\n1,2\n", name="part-3.csv")
    with pytest.raises(UserError, match=r"part-3.csv lacks 'y'"):
        open_table(str(folder))
    with pytest.raises(UserError, match="no file fits"):
        open_table(str(folder / "*.parquet"))


def test_a_folder_of_several_kinds_is_refused(tmp_path):
    written(tmp_path, "a,b\n1,2\n", name="a.csv")
    written(tmp_path, '{"a": 1}\n', name="a.jsonl")
    with pytest.raises(UserError, match=r"several kinds \(.csv, .jsonl\)"):
        open_table(str(tmp_path))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"PK\x03\x04rest", "zip file or an Excel workbook"),
        (b"%PDF-1.4", "a PDF file"),
        (b"a,b\n\0\0\0,1\n", "zero bytes"),
    ],
)
def test_other_formats_are_named(tmp_path, content, words):
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(UserError, match=words):
        open_table(str(tmp_path / "a.csv"))


def test_columns_are_chosen_and_rows_keep_their_order(tmp_path):
    table = open_table(written(tmp_path, "a,b,c\n" + "".join(f"{n},x,{-n}\n" for n in range(200_000))))
    values = np.concatenate(
        [batch.column("c").cast("int64").to_numpy() for batch in table.batches(["c", "a"])]
    )
    assert (values == -np.arange(200_000)).all()


@pytest.mark.parametrize(
    ("data", "without"), [("table", ""), ("series", ""), ("texts", "decimal"), ("text_pairs", "decimal")]
)
def test_what_a_finding_asks_to_type_is_an_option(data, without):
    sources = [Path(module.__file__).read_text(encoding="utf-8") for module in (dialect, delimited)]
    asked = {name for source in sources for name in re.findall(r"data\.(\w+)[=)]", source)}
    assert {"delimiter", "encoding", "header", "quotes", "decimal"} <= asked
    assert asked - {without} <= set(catalog.read("data", data))
