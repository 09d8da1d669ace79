"""Tables in files: every format gives what was written, a part at a time too, and damage is named."""

from __future__ import annotations

import bz2
import gzip
import io
import math
import os
import re
import sys
import zipfile
from datetime import datetime

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nnarray.tables import limits
from nnarray.tables.cells import UNNAMED
from nnarray.tables.read import open_table
from nnarray.tables.text_format import MISSING, TextFormat
from nnarray.tables.write import write_table

pa = pytest.importorskip("pyarrow")
from pyarrow import feather, parquet  # noqa: E402

ENDINGS = [".csv", ".tsv", ".parquet", ".pq", ".feather", ".arrow", ".npz"]
TEXT = [".csv", ".tsv"]
ODD = ["a,b", 'say "no"', "two\nlines", "two\r\nlines", "tab\there", " spaces ", "ü €", "", "'", "\\", "null"]


def csv(tmp_path, content, name="table.csv"):
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def npz(tmp_path, **arrays):
    np.savez(tmp_path / "table.npz", **arrays)
    return tmp_path / "table.npz"


# --- Round trips ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ENDINGS)
def test_what_was_written_is_read(tmp_path, ending):
    path = tmp_path / f"table{ending}"
    first = {"x": np.asarray([1.5, -2.0, 0.1]), 'odd "name", ü': ODD[:3], "n": [1, 2, 3]}
    second = {"x": np.asarray([1e300]), 'odd "name", ü': ODD[3:4], "n": [4]}
    write_table(path, iter([first, second]))
    table = open_table(path)
    assert table.columns == ("x", 'odd "name", ü', "n")
    rows = table.read().to_pydict()
    assert rows['odd "name", ü'] == ODD[:4]
    assert [float(x) for x in rows["x"]] == [1.5, -2.0, 0.1, 1e300]
    assert [int(n) for n in rows["n"]] == [1, 2, 3, 4]


@pytest.mark.parametrize("ending", TEXT)
def test_every_column_of_text_is_text(tmp_path, ending):
    path = tmp_path / f"table{ending}"
    write_table(path, [{"n": [1, 2], "b": [True, False], "x": [0.5, None], "s": ["01", None]}])
    table = open_table(path).read()
    assert set(table.schema.types) == {pa.string()}
    assert table.to_pydict() == {"n": ["1", "2"], "b": ["true", "false"], "x": ["0.5", None], "s": ["01", None]}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.tuples(st.text(st.characters(codec="utf-8"), max_size=8), st.floats()), min_size=1))
@pytest.mark.parametrize("ending", TEXT)
def test_any_text_and_any_float_survive(tmp_path, ending, rows):
    path = tmp_path / f"table{ending}"
    write_table(path, [{"text": [text for text, _ in rows], "float": np.asarray([x for _, x in rows])}])
    table = open_table(path).read().to_pydict()
    assert table["text"] == [text for text, _ in rows]
    found = [math.nan if x is None else float(x) for x in table["float"]]
    np.testing.assert_array_equal(found, [x for _, x in rows])


def test_quotes_are_written_only_where_they_are_needed(tmp_path):
    text = ["007", "Meyer, Ann", 'say "no"', "NA", "", "two\nlines", " x", "a b", "ü€", "-1.5", None]
    write_table(tmp_path / "t.csv", [{"id": text, "a;b": range(11), "a,b": [0.5] * 11}])
    lines = (tmp_path / "t.csv").read_bytes().decode()
    quoted = ["007", '"Meyer, Ann"', '"say ""no"""', '"NA"', '""', '"two\nlines"', '" x"', "a b", "ü€", "-1.5", ""]
    assert lines == 'id,a;b,"a,b"\n' + "".join(f"{entry},{k},0.5\n" for k, entry in enumerate(quoted))
    write_table(tmp_path / "t.tsv", [{"a": ["b,c", "d\te"]}])
    assert (tmp_path / "t.tsv").read_text() == 'a\nb,c\n"d\te"\n'


@pytest.mark.parametrize("ending", TEXT)
def test_one_column_of_text_keeps_its_empty_entries(tmp_path, ending):
    path = tmp_path / f"table{ending}"
    write_table(path, [{"text": ODD}])
    assert open_table(path).read().to_pydict() == {"text": ODD}


@pytest.mark.parametrize(
    "content", ["a,b\n1,2\n3,4\n", "\n\na,b\n1,2\n\n3,4", "\ufeffa,b\r\n1,2\r\n3,4\r\n\r\n", 'a,"b"\n"1",2\n\n3,4']
)
def test_marks_line_ends_and_quotes_do_not_matter(tmp_path, content):
    table = open_table(csv(tmp_path, content))
    assert table.columns == ("a", "b")
    assert table.read().to_pydict() == {"a": ["1", "3"], "b": ["2", "4"]}


def test_zeros_and_quoted_names_are_parsed(tmp_path):
    table = open_table(csv(tmp_path, '"a\nb",ü\nx\0y,"1,\n2"\n')).read()
    assert table.to_pydict() == {"a\nb": ["x\0y"], "ü": ["1,\n2"]}


@pytest.mark.parametrize(
    "values",
    [
        np.asarray([1.5, 2.5], dtype=">f4"),
        np.asarray([1.5, 2.5], dtype=np.longdouble),
        np.asarray([1, 2], dtype=np.uint8),
        np.asarray([True, False]),
        np.asarray(["a", "b\0c"]),
        np.asarray([b"a", "ü".encode()]),
    ],
    ids=lambda values: str(values.dtype),
)
def test_numpy_columns_keep_their_values(tmp_path, values):
    want = [v.decode() if isinstance(v, bytes) else v for v in values.tolist()]
    assert open_table(npz(tmp_path, x=values)).read().to_pydict() == {"x": want}
    np.save(tmp_path / "x.npy", values)
    assert open_table(tmp_path / "x.npy").read().to_pydict() == {"0": want}


@pytest.mark.parametrize("order", ["C", "F"])
def test_axes_of_numpy_arrays_become_columns(tmp_path, order):
    X = np.asarray(np.arange(6.0).reshape(3, 2), order=order)
    table = open_table(npz(tmp_path, X=X, y=np.asarray([1, 0, 1]), **{"../up/file": np.zeros(3)}))
    assert table.columns == ("X[0]", "X[1]", "y", "../up/file")
    assert table.read().column("X[1]").to_pylist() == [1, 3, 5]
    np.save(tmp_path / "X.npy", X)
    table = open_table(tmp_path / "X.npy")
    assert table.columns == ("0", "1")
    assert [part.to_pydict() for part in table.batches(2)] == [{"0": [0, 2], "1": [1, 3]}, {"0": [4], "1": [5]}]


def test_compressed_archives_and_typed_columns_are_read(tmp_path):
    np.savez_compressed(tmp_path / "c.npz", x=np.arange(4))
    assert open_table(tmp_path / "c.npz").read().to_pydict() == {"x": [0, 1, 2, 3]}
    typed = pa.table({"when": [datetime(2020, 1, 1)], "list": [[1]], "kind": pa.array(["a"]).dictionary_encode()})
    for write, name in ((parquet.write_table, "t.parquet"), (feather.write_feather, "t.feather")):
        write(typed, tmp_path / name)
        assert open_table(tmp_path / name).read().num_rows == 1  # only a preparation that uses them refuses them


# --- How a text is written ----------------------------------------------------------------------------------


def read(tmp_path, content, **options):
    return open_table(csv(tmp_path, content), TextFormat(**options)).read().to_pydict()


def test_a_blank_before_quotes_is_not_part_of_an_entry(tmp_path):
    table = read(tmp_path, 'a, "b ""c"""\nx, "x"\n "x" ,\t" say ""y"" "\n" x",NA\nNA , NA\n')
    assert table == {"a": ["x", "x", " x", None], 'b "c"': ["x", ' say "y" ', None, None]}


def test_words_in_quotes_are_no_missing_entries(tmp_path):
    content = 'a,b\nNA,"NA"\n"null",\n NA,""\n'
    assert read(tmp_path, content) == {"a": [None, "null", None], "b": ["NA", None, ""]}
    assert read(tmp_path, content, missing=["?"]) == {"a": [None, None, None], "b": [None, None, None]}
    for none in ([], [""]):
        assert read(tmp_path, content, missing=none) == {"a": ["NA", "null", " NA"], "b": ["NA", None, None]}


def test_the_words_of_pandas_are_missing_entries(tmp_path):
    words = [*MISSING, "na", "Na", "N/a", "Null", "none", "NONE", "-", "?", "-1", "1.#inf", "#n/a", "<na>", "missing"]
    content = "a,b\n" + "".join(f"{word},b\n" for word in words)
    column = read(tmp_path, content)["a"]
    assert column == [None] * len(MISSING) + words[len(MISSING) :]
    known = pytest.importorskip("pandas").read_csv(io.StringIO(content))["a"].isna()
    assert known.tolist() == [entry is None for entry in column]


def test_delimiters_decimals_and_thousands_are_as_set(tmp_path):
    content = "a;b\n1.234,5;x,y\n-0,25;,5\n+1e3;1,e2\n"
    table = read(tmp_path, content, delimiter=";", decimal=",", thousands=".")
    assert table == {"a": ["1234.5", "-0.25", "+1e3"], "b": ["x,y", ".5", "1.e2"]}
    assert read(tmp_path, 'a\n"1,234.5"\n"1,23"\n', thousands=",") == {"a": ["1234.5", "1,23"]}
    assert read(tmp_path, "a\tb\n1\t2\n", delimiter="tab") == read(tmp_path, "a\tb\n1\t2\n", delimiter="\\t")
    with pytest.raises(ValueError, match=r"row 2, column 'a': '1.234' has a point, .* --thousands '\.'"):
        read(tmp_path, "a;b\n1,5;2\n1.234;2\n", delimiter=";", decimal=",")


@pytest.mark.parametrize("first", ["sep=;\n", "\ufeffsep=;\r\n", '"sep=;"\n'])
def test_the_first_line_of_a_spreadsheet_tells_the_delimiter(tmp_path, first):
    assert read(tmp_path, first + "a;b\n1,5;2\n") == {"a": ["1,5"], "b": ["2"]}


@pytest.mark.parametrize("encoding", ["utf-16", "cp1252", "utf-8"])
def test_encodings_are_as_set(tmp_path, encoding):
    assert read(tmp_path, "ü,b\n1,é\n".encode(encoding), encoding=encoding) == {"ü": ["1"], "b": ["é"]}


def test_what_cannot_be_decoded_as_set_is_one_error(tmp_path):
    with pytest.raises(
        ValueError, match=r"table.csv' is not ascii: .*can't decode byte 0xc3.*Pass .* --encoding utf-8"
    ):
        read(tmp_path, "ü,b\n1,é\n", encoding="ascii")


TEXTS = [
    ("名前,身長\n太郎,170\n", "cp932", "名前"),
    ("a,b\n1,サイズ\n", "cp932", "サイズ"),
    ("a,b\n1,価格①\n", "cp932", "価格①"),
    ("名前,身長\nさくら,170\n", "euc_jp", "名前"),
    ("名字,颜色\n张三,红\n", "gb18030", "名字"),
    ("名字,顏色\n紅色,藍\n", "big5", "名字"),
    ("이름,색\n홍길동,빨강\n", "cp949", "이름"),
    ("имя,цвет\nИван,красный\n", "cp1251", "имя"),
    ("größe,b\n1,x\n", "cp1252", "größe"),
    ("année,b\n1,été\n", "cp1252", "année"),
    ("a,b\n1,10°\n", "cp1252", "10°"),
    ("a,b\n1,2\n価格,3\n", "utf-8", "価格"),
    ("a,b\n1,2\n価格,3\n", "utf-16", ""),
]


@pytest.mark.parametrize("failed", ["utf-8", "cp932", "ascii"])
@pytest.mark.parametrize(("text", "encoding", "word"), TEXTS)
def test_the_encoding_that_fits_is_named_and_reads_the_file(tmp_path, text, encoding, word, failed):
    content = text.encode(encoding)
    try:
        content.decode(failed)
    except UnicodeDecodeError:
        with pytest.raises(ValueError, match=rf"--encoding {encoding}, or .*{word}") as caught:
            read(tmp_path, content, encoding=failed)
        assert f"--encoding {failed}" not in str(caught.value)
    assert read(tmp_path, content, encoding=encoding)


def test_half_width_katakana_are_among_the_encodings_that_fit(tmp_path):
    with pytest.raises(ValueError, match="cp932 'ｻｲｽﾞ'"):
        read(tmp_path, "a,b\n1,ｻｲｽﾞ\n".encode("cp932"))


def test_western_europe_is_not_named_for_other_text_nor_what_no_encoding_reads(tmp_path):
    with pytest.raises(ValueError, match="cp932") as caught:
        read(tmp_path, "サイズ,色\n大きい,赤\n".encode("cp932"))
    assert "cp1252" not in str(caught.value)
    with pytest.raises(ValueError, match=r"Save it as UTF-8\. Or pass its encoding"):
        read(tmp_path, b"a,b\n1,\x98\xff\n")


def test_the_encoding_of_a_compressed_file_and_of_a_late_row_is_found(tmp_path):
    content = gzip.compress(b"a,b\n" + b"1,2\n" * 100_000 + "1,名前\n".encode("cp932"), mtime=0)
    with pytest.raises(ValueError, match="--encoding cp932"):
        open_table(csv(tmp_path, content, "t.csv.gz")).read()


def test_names_may_be_numbers_or_absent(tmp_path):
    for names in ("0,1,2", "name,2019,2020", "2020,2019,x", "1100.5,1102.5,1104.5"):
        assert open_table(csv(tmp_path, names + "\n1,2,3\n")).columns == tuple(names.split(","))
    assert read(tmp_path, "5.1,a\n4.9,b\n", header=False) == {"0": ["5.1", "4.9"], "1": ["a", "b"]}
    assert read(tmp_path, "5.1,a\n4.9,b\n", header=True) == {"5.1": ["4.9"], "a": ["b"]}
    with pytest.raises(ValueError, match="row 2: 1 entries for 2 columns"):
        read(tmp_path, "1,2\n3\n", header=False)


def test_columns_without_a_name_are_called_by_their_place(tmp_path):
    assert read(tmp_path, ",a,\n1,2,3\n") == {"Unnamed: 0": ["1"], "a": ["2"], "Unnamed: 2": ["3"]}
    for names in (",Unnamed: 0,a", ",Unnamed: 0.1,Unnamed: 0,a"):  # as pandas writes an index again and again
        entries = ",".join("1" for _ in names.split(","))
        columns = list(read(tmp_path, f"{names}\n{entries}\n"))
        assert len(set(columns)) == len(columns)
        assert all(re.fullmatch(UNNAMED, name) for name in columns[:-1])


def test_blanks_between_thousands_and_before_quotes_may_break_no_line(tmp_path):
    for blank in (" ", "\u00a0", "\u202f"):
        assert read(tmp_path, f"a\n12{blank}345.5\n", thousands=" ") == {"a": ["12345.5"]}
        assert read(tmp_path, f'a,b\n1,{blank}"x"\n')["b"] == ["x"]


def test_words_for_nothing_count_in_dictionaries_too(tmp_path):
    table = pa.table({"a": pa.array(["1,5", "unk"]).dictionary_encode()})
    parquet.write_table(table, tmp_path / "t.parquet")
    read = open_table(tmp_path / "t.parquet", TextFormat(missing=["unk"], decimal=",")).read()
    assert read["a"].cast(pa.string()).to_pylist() == ["1.5", None]


@pytest.mark.parametrize("ending", [".gz", ".bz2", ".zst"])
def test_compressed_text_is_read(tmp_path, ending, monkeypatch):
    content = b"a,b\n" + b"1,x\n2,y\n" * 1_000
    path = tmp_path / f"table.csv{ending}"
    if ending == ".zst":
        with pa.CompressedOutputStream(str(path), "zstd") as file:
            file.write(content)
    else:
        path.write_bytes({".gz": gzip, ".bz2": bz2}[ending].compress(content))
    assert open_table(path).read().to_pydict() == {"a": ["1", "2"] * 1_000, "b": ["x", "y"] * 1_000}
    monkeypatch.setattr(limits, "BLOCK", 256)
    assert sum(part.num_rows for part in open_table(path).batches(100)) == 2_000
    whole = path.read_bytes()
    for damaged in (whole[: len(whole) // 2], b"no such stream", b"a,b\n1,2\n"):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"table.csv\.\w+' "):
            open_table(path).read()
    with pytest.raises(ValueError, match=r"cannot be written to .*let its name end in \.csv, "):
        write_table(path, [{"a": [1]}])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"delimiter": ";;"}, "delimiter must be one character, such as ';' or 'tab'; got ';;'"),
        ({"delimiter": 5}, "delimiter must be text; got 5"),
        ({"decimal": ";"}, "decimal must be '.' or ','; got ';'"),
        ({"thousands": "."}, "thousands must be one character, .* and not the decimal mark"),
        ({"missing": "?"}, r"missing must be a sequence of words; got '\?'"),
        ({"missing": [1]}, r"missing must be a sequence of words; got \[1\]"),
        ({"header": "no"}, "header must be True, False or None; got 'no'"),
        ({"encoding": "utf8000"}, "unknown encoding 'utf8000'"),
    ],
)
def test_formats_that_are_none_are_refused(settings, message):
    with pytest.raises((TypeError, ValueError), match=message):
        TextFormat(**settings)
    with pytest.raises(TypeError, match="text must be a TextFormat"):
        open_table("table.csv", ";")


def test_text_as_polars_keeps_it_can_be_computed_with(tmp_path):
    polars = pytest.importorskip("polars")
    frame = polars.DataFrame({"s": ["a", "b"], "b": [b"a", None], "l": [[1], [2]], "t": [True, None]})
    frame = frame.with_columns(c=polars.Series(["u", "v"], dtype=polars.Categorical))
    frame.write_ipc(tmp_path / "t.arrow")
    frame.write_parquet(tmp_path / "t.parquet")
    for name in ("t.arrow", "t.parquet"):
        assert open_table(tmp_path / name).read().take([1]).to_pylist() == frame[1:].to_dicts()


# --- A part at a time -------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("rows", [1, 7, 100, 250, 1_000])
def test_batches_are_the_whole_in_order(tmp_path, ending, rows, monkeypatch):
    monkeypatch.setattr(limits, "BLOCK", 512)
    path = tmp_path / f"table{ending}"
    parts = [{"n": np.arange(i, i + 50), "s": [f"row\n{k}" for k in range(50)]} for i in range(0, 250, 50)]
    write_table(path, parts)
    table = open_table(path)
    found = list(table.batches(rows))
    assert [part.num_rows for part in found] == [rows] * (250 // rows) + [250 % rows] * (250 % rows > 0)
    assert pa.concat_tables(found).equals(table.read())
    assert [int(n) for part in found for n in part.column("n").to_pylist()] == list(range(250))


def test_a_batch_needs_a_number_of_rows(tmp_path):
    table = open_table(csv(tmp_path, "a\n1\n"))
    with pytest.raises(ValueError, match="rows must be an integer of at least 1; got 0"):
        table.batches(0)


def test_a_part_is_read_before_the_rest_is(tmp_path):
    path = csv(tmp_path, "a,b\n" + "1,2\n" * 3_000_000 + "3\n")  # larger than a block
    table = open_table(path)
    parts = table.batches(1_000)
    assert next(parts).num_rows == 1_000
    with pytest.raises(ValueError, match="row 3000001: 1 entries for 2 columns: '3'"):
        for _ in parts:
            pass


@pytest.mark.parametrize("ending", [".csv", ".parquet", ".feather"])
def test_the_parts_that_were_read_do_not_stay_in_memory(tmp_path, ending, monkeypatch):
    monkeypatch.setattr(limits, "BLOCK", 1 << 16)
    path = tmp_path / f"table{ending}"
    values = np.random.default_rng(0).random(50_000)
    write_table(path, ({"x": values + k, "y": values - k} for k in range(20)))
    before = pa.total_allocated_bytes()
    most = max(pa.total_allocated_bytes() for _ in open_table(path).batches(50_000))
    assert most - before < path.stat().st_size / 2


# --- What is refused --------------------------------------------------------------------------------------


def test_what_is_no_table_is_refused_by_name(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no file '.*none.csv'"):
        open_table(tmp_path / "none.csv")
    with pytest.raises(ValueError, match=r"table.xls' is a spreadsheet, which is not supported"):
        open_table(csv(tmp_path, "a\n1\n", "table.xls"))
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(IsADirectoryError, match=r"folder.csv' is a folder; pass the path"):
        open_table(tmp_path / "folder.csv")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")
def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(ValueError, match="is not a regular file"):
        open_table(tmp_path / "pipe.csv")


def test_no_permission_is_reported_with_the_path(tmp_path, monkeypatch):
    path = csv(tmp_path, "a\n1\n")

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(path), "open", refuse)
    with pytest.raises(PermissionError, match=r"no permission to read the table: '.*table.csv'"):
        open_table(path)


def test_a_missing_pyarrow_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ImportError, match=r"reading tables needs pyarrow; pip install 'nnarray\[tables\]'."):
        open_table(csv(tmp_path, "a\n1\n"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", r"table.csv' is empty; its first row must have the names"),
        ("\n\n", r"table.csv' has no rows: it needs the names"),
        ("a,b", r"table.csv' has columns but no rows"),
        ("a,b\n", r"table.csv' has columns but no rows"),
        ("a,b,a\n1,2,3\n", r"table.csv' has several columns with the same name: 'a'"),
        ("a;b\n1,5;2\n", r"single column, 'a;b', with ',' as the delimiter. If ';' .* --delimiter ';', or TextFormat"),
        ("a\tb\n1\t2\n", r"If 'tab' separates the entries: --delimiter 'tab'"),
        ("a, b;c\n1;2\n", r"row 1: 1 entries for 2 columns: .* If ';' separates the entries: --delimiter ';'"),
        ("a,b\n1,5,2\n2,6,3\n", r"row 1: 3 entries for 2 columns: .* such as 'row,' at its start"),
        ("a,b\n5,2,\n6,3,\n", r"or ',' at its end if they end so; else repair: an entry"),
        (
            "# flowers\na,b,c\n1,2,3\n",
            r"row 1: 3 .*: 'a,b,c'. If .* names of the columns, remove the lines above, '# flowers'",
        ),
        (
            "Flowers\nof 2020\na,b,c\n",
            r"row 2: 3 .*: 'a,b,c'. If .* names of the columns, remove the lines above, 'Flowers'",
        ),
        ("p,x,s,p\ne,x,y,t\n", r"the same name: 'p'. Rename .* If the first row is data: --no-header"),
        ('a,b\n1, "x,y,z"\n', r"row 1: 4 entries for 2 columns: .*quotes around it, and no blank before them"),
        ("sep=,\na,b\n1,2\n3\n", r"row 2: 1 entries for 2 columns"),
        (
            "5.1,3.5,0.2,setosa\n4.9,3.0,0.2,setosa\n",
            r"looks like data, not like the names of columns: '5.1', .*--no-header",
        ),
        ("1,0,3,male\n0,1,3,female\n", r"the first row looks like data"),
        ("5,0,0\n4,0,0\n", r"the first row looks like data"),
        ("a,b\n1,2\n3\n5,6\n", r"table.csv', row 2: 1 entries for 2 columns: '3'"),
        ("a,b\n1,2\n3,4,5\n", r"table.csv', row 2: 3 entries for 2 columns: '3,4,5'"),
        ('a,b\n"1\n\n1",2\n3\n', r"table.csv', row 2: 1 entries for 2 columns: '3'"),
        ('a,b\n1,2\n"3,4\n5,6\n', r"row 2: 1 entries for 2 columns: .*needs quotes around it"),
        ("a,b\n1,2\n3,\u00e9\n".encode("latin-1"), r"table.csv' is not UTF-8: row 2, column 'b' cannot be decoded"),
        ("a,b\n1,2\n3,4,\u00e9\n".encode("latin-1"), r"table.csv', row 2: 3 entries for 2 columns"),
        ("a,\u00e9\n1,2\n".encode("latin-1"), r"is not UTF-8: the names of its columns .* --encoding cp1252"),
        ("a,b\n1,2\n".encode("utf-16"), r"table.csv' is not UTF-8, but UTF-16. Save it .* --encoding utf-16"),
        ("a,b\n1,2\n".encode("utf-16-le"), r"table.csv' is not UTF-8, but UTF-16. Save it"),
    ],
)
def test_faults_of_text_are_named(tmp_path, content, message):
    path = csv(tmp_path, content)
    with pytest.raises(ValueError, match=message):
        open_table(path).read()
    with pytest.raises(ValueError, match=message):
        list(open_table(path).batches())


@pytest.mark.parametrize(
    ("content", "name", "message"),
    [
        (gzip.compress(b"a,b\n1,2\n", mtime=0), "t.csv", "but compressed by gzip: let its name end in .gz"),
        (bz2.compress(b"a,b\n1,2\n"), "t.csv", "but compressed by bzip2"),
        (b"PK\x03\x04", "t.csv", "but a ZIP archive, or a spreadsheet: unpack it, or export"),
        (b"PAR1\x15\x04", "t.csv", "but Parquet: let its name end in .parquet"),
        (b"<!DOCTYPE html>", "t.csv", "but a web page: get the table itself"),
        (b"<!DOCTYPE html>", "t.parquet", "but a web page: get the table itself"),
        (b"a,b\n1,2\n", "t.csv.gz", "is plain text, not compressed; remove .gz from its name"),
        (b"", "t.csv.xz", "is an archive of type .xz, which is not supported; unpack it"),
        (b"", "t.zip", "is an archive of type .zip, which is not supported; unpack it"),
    ],
)
def test_other_content_than_the_name_says_is_reported(tmp_path, content, name, message):
    with pytest.raises(ValueError, match=message):
        open_table(csv(tmp_path, content, name))


@pytest.mark.parametrize(("name", "delimiter"), [("t.txt", ","), ("t.data", ","), ("t.tab", "\t"), ("t.txt", "|")])
def test_text_may_have_other_endings(tmp_path, name, delimiter):
    path = csv(tmp_path, delimiter.join(("PAR1", "b")) + "\n" + delimiter.join("12") + "\n", name)
    text = TextFormat(delimiter="|") if delimiter == "|" else TextFormat()
    assert open_table(path, text).read().to_pylist() == [{"PAR1": "1", "b": "2"}]


def test_a_saved_stream_of_arrow_is_read(tmp_path):
    table = pa.table({"a": [1, 2], "b": ["x", "y"]})
    with pa.OSFile(str(tmp_path / "t.arrow"), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    assert open_table(tmp_path / "t.arrow").read() == table


def test_integers_of_128_bits_are_reported(tmp_path):
    polars = pytest.importorskip("polars")
    polars.DataFrame({"a": polars.Series([1], dtype=polars.Int128)}).write_parquet(tmp_path / "t.parquet")
    with pytest.raises(ValueError, match="with its columns of 128-bit integers cast"):
        open_table(tmp_path / "t.parquet")


def test_a_late_fault_has_the_right_row(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "BLOCK", 512)
    path = csv(tmp_path, b"a,b\n" + b'"1\n",2\n' * 5_000 + b"3,\xe9\n")
    with pytest.raises(ValueError, match="row 5001, column 'b' cannot be decoded"):
        open_table(path).read()


def test_a_row_longer_than_a_block_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "BLOCK", 1 << 20)
    path = csv(tmp_path, 'a,b\n1,2\n3,"' + "x\n" * (2 << 20))
    with pytest.raises(ValueError, match=r"a row of more than 1 MiB. Is the closing quote"):
        open_table(path).read()


def complaint(path):
    """What reading the file says is wrong with it; nothing if it can be read."""
    try:
        open_table(path).read()
    except ValueError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_of_npz_come_in_parts(save, order, tmp_path, monkeypatch):
    X, city = np.arange(60.0).reshape(20, 3), np.asarray(["Thun", "Bern"] * 10)
    save(tmp_path / "t.npz", X=np.asarray(X, order=order), one=np.asarray(X[:, :1], order=order), city=city)
    if order == "C" or save is np.savez:
        monkeypatch.setattr(np.lib.format, "read_array", lambda *_, **__: pytest.fail("an array was read as a whole"))
    parts = list(open_table(tmp_path / "t.npz").batches(7))
    assert [part.num_rows for part in parts] == [7, 7, 6]
    got = pa.concat_tables(parts).to_pydict()
    assert got == {f"X[{j}]": X[:, j].tolist() for j in range(3)} | {"one[0]": X[:, 0].tolist(), "city": city.tolist()}


@pytest.mark.parametrize("order", ["C", "F"])
def test_an_array_of_npz_that_is_damaged_is_refused(order, tmp_path):
    path = npz(tmp_path, X=np.asarray(np.arange(60.0).reshape(20, 3), order=order))
    whole = bytearray(path.read_bytes())
    whole[whole.index(np.float64(31).tobytes())] ^= 1
    path.write_bytes(whole)
    with pytest.raises(ValueError, match=r"table.npz' cannot be read as NPZ: .*CRC-32.*X.npy"):
        list(open_table(path).batches(7))


@pytest.mark.parametrize("ending", [".parquet", ".feather", ".npz"])
def test_damage_is_one_error_that_names_the_file(tmp_path, ending):
    path = tmp_path / f"table{ending}"
    write_table(path, [{"n": np.arange(1_000), "s": [f"text {i}" for i in range(1_000)]}])
    whole = path.read_bytes()
    random = np.random.default_rng(0)
    for kind in ("empty", "noise", "cut", *["flipped"] * 40):
        spoilt = bytearray(whole)
        if kind == "flipped":
            spoilt[int(random.integers(len(whole)))] ^= int(random.integers(1, 256))
        content = {"empty": b"", "noise": random.bytes(500), "cut": whole[: len(whole) // 2]}.get(kind, bytes(spoilt))
        path.write_bytes(content)
        said = complaint(path)
        assert f"table{ending}'" in said or (not said and kind == "flipped")
        assert "\n" not in said


def test_damaged_arrays_are_refused(tmp_path):
    path = tmp_path / "table.npy"
    np.save(path, np.arange(100))
    whole = path.read_bytes()
    path.write_bytes(whole[:-8])
    with pytest.raises(ValueError, match=r"table.npy' is damaged or truncated: its header declares 928 bytes, .* 920"):
        open_table(path)
    path.write_bytes(b"no array")
    with pytest.raises(ValueError, match=r"table.npy' has no valid header of an array"):
        open_table(path)
    path.write_bytes(whole.replace(b"(100,)", b"(1E9,)"))
    with pytest.raises(ValueError, match=r"table.npy' has no valid header of an array"):
        open_table(path)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.asarray([{}, 1], dtype=object), "has Python objects"),
        (np.asarray([1j]), "has values of dtype complex128, which cannot be a column"),
        (np.asarray(["2020-01-01"], dtype="M8[D]"), r"has values of dtype datetime64\[D\]"),
        (np.asarray([(1, 2)], dtype="i4,i4"), "which cannot be a column"),
        (np.asarray(1.0), r"has shape \(\); a table needs \(rows,\) or \(rows, columns\)"),
        (np.zeros((2, 2, 2)), r"has shape \(2, 2, 2\)"),
        (np.zeros((2, 0)), r"has shape \(2, 0\)"),
        (np.zeros(0), "has columns but no rows"),
        (np.zeros((0, 3)), "has columns but no rows"),
        (np.asarray([b"\xff"]), "cannot be read as NP"),
    ],
    ids=lambda values: getattr(values, "name", ""),
)
def test_arrays_that_are_no_columns_are_refused(tmp_path, values, message):
    with pytest.raises(ValueError, match=message):
        open_table(npz(tmp_path, x=values)).read()
    np.save(tmp_path / "x.npy", values)
    with pytest.raises(ValueError, match=message):
        open_table(tmp_path / "x.npy").read()


def archive(tmp_path, **members):
    path = tmp_path / "table.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return path


def array_bytes(values, declared=None):
    stream = io.BytesIO()
    np.save(stream, values)
    data = stream.getvalue()
    if declared is None:
        return data
    old, new = f"({len(values)},), }}", f"({declared},), }}"
    return data.replace(old.encode() + b" " * (len(new) - len(old)), new.encode())


def test_an_array_that_declares_more_than_it_has_is_refused(tmp_path):
    path = archive(tmp_path, **{"x.npy": array_bytes(np.zeros(10), declared=10**12)})
    with pytest.raises(ValueError, match=r"'x' declares 8000000000128 bytes in its header, but 208 in the archive"):
        open_table(path)


def test_what_inflates_too_much_is_refused(tmp_path, monkeypatch):
    path = archive(tmp_path, **{"x.npy": array_bytes(np.zeros(100_000))})
    assert open_table(path).read().num_rows == 100_000
    monkeypatch.setattr(limits, "LARGE", 10_000)
    with pytest.raises(ValueError, match=r"'x.npy' would inflate from \d+ to 800128 bytes"):
        open_table(path)
    random = np.random.default_rng(0).random(100_000)  # large, and honest
    assert open_table(archive(tmp_path, **{"x.npy": array_bytes(random)})).read().num_rows == 100_000


def test_archives_that_hold_something_else_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"table.npz' cannot be read as NPZ: its member 'read.me' is not an array"):
        open_table(archive(tmp_path, **{"x.npy": array_bytes(np.zeros(2)), "read.me": b"hello"}))
    with pytest.raises(ValueError, match="'x' has no valid header of an array"):
        open_table(archive(tmp_path, **{"x.npy": b"hello"}))
    with pytest.raises(ValueError, match="has no columns"):
        open_table(archive(tmp_path))
    with pytest.raises(ValueError, match="must have the same number of rows: 'x' has 2, 'y' has 3"):
        open_table(npz(tmp_path, x=np.zeros(2), y=np.zeros(3)))
    with pytest.raises(ValueError, match=r"several columns with the same name: 'X\[0\]'"):
        open_table(npz(tmp_path, X=np.zeros((2, 1)), **{"X[0]": np.zeros(2)}))


def test_names_in_archives_are_never_paths(tmp_path):
    before = set(tmp_path.parent.iterdir())
    path = archive(tmp_path, **{"../../evil.npy": array_bytes(np.zeros(2)), "/root.npy": array_bytes(np.zeros(2))})
    assert open_table(path).read().column_names == ["../../evil", "/root"]
    assert set(tmp_path.parent.iterdir()) == before


# --- Writing ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("batches", "message"),
    [
        ([], "there are no batches to write"),
        ([{}], "needs at least one column"),
        ([{"a": [1], "b": [1, 2]}], r"must have equal lengths; batch 0 has lengths {'a': 1, 'b': 2}"),
        ([{"a": [1]}, {"b": [1]}], r"every batch must have the columns of the first, \['a'\]; batch 1 has \['b'\]"),
        ([{"a": [1]}, {"a": ["x"]}], "column 'a' cannot be written as int64, the type of the first batch"),
        ([{"a": np.zeros((2, 2))}], r"column 'a' must have one axis; got shape \(2, 2\)"),
        ([{"a": [1, "x"]}], "column 'a' cannot be written"),
    ],
)
@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_a_table_that_cannot_be_written_leaves_the_old_one(tmp_path, ending, batches, message):
    path = tmp_path / f"table{ending}"
    write_table(path, [{"old": [1]}])
    with pytest.raises(ValueError, match=message):
        write_table(path, batches)
    assert open_table(path).columns == ("old",)
    assert list(tmp_path.iterdir()) == [path]


def test_endings_that_cannot_be_written_are_refused(tmp_path):
    (tmp_path / "old.xlsx").touch()
    for name in ("x.npy", "x.json", "x", "x.csv.gz", "x.zip", "old.xlsx"):
        with pytest.raises(ValueError, match=r"cannot be written to .*: let its name end in \.csv, .*\.") as refused:
            write_table(tmp_path / name, [{"a": [1]}])
        said = str(refused.value)
    endings = said.partition("end in ")[2].rstrip(".").split(", ")
    for ending in endings:  # every one that is named can be written
        write_table(tmp_path / f"x{ending}", [{"a": [1]}])
        assert open_table(tmp_path / f"x{ending}").columns == ("a",)
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        write_table(tmp_path / "none" / "x.csv", [{"a": [1]}])


def test_missing_entries_in_archives_are_nan_and_empty(tmp_path):
    write_table(tmp_path / "x.npz", [{"x": [1, None], "s": ["a", None], "file": [True, False]}])
    table = open_table(tmp_path / "x.npz").read().to_pydict()
    assert table["s"] == ["a", ""]
    assert table["x"][0] == 1
    assert np.isnan(table["x"][1])
    assert table["file"] == [True, False]
