"Tables on disk: what is read back equals what was written, from Parquet and from the CSV alone, whatever a model wrote; a spreadsheet runs none of it."
import csv, io, math
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, strategies as st
from unsaf.core import UnsafError
from unsaf.runs import _RUN, csv_of, edited, guarded, read_table, unguarded, write_table

WILD = ["B\rbecause", "\r", "a\r\nb", "\n", "\x00", "a\x00b", "", '"', "'", "''", "None", "NA", "nan", "null", "True", "\u2028x\x85y", "\x1b[31mred\x1b[0m",
        "\ufeffx", "x" * 300_000, "\\", '\\"', ",", ";", " x ", "\x1a", "007", "1e5", "-5", "+0.3", "50%", "'-5", "- a list", "+1-800-555",
        "-2+3+cmd|' /C calc'!A0", "=1+1", "==", '=HYPERLINK("http://x","y")', "@SUM(A1)", "\tx", " =1+1", "\u200b=1", "\x00=1", "＝1", "－1", "'=1", "''=1",
        "'tis so", "答案是B。", "👁️", "#NAME?", "<b>", "|calc", "%0A=1"]


def there_and_back(table, tmp_path, **types):
    path = write_table(table, tmp_path / "t.csv")
    both = read_table(path, **types)
    path.with_suffix(".parquet").unlink()
    alone = read_table(path, **types)
    pd.testing.assert_frame_equal(both, alone)
    return both


@pytest.mark.promise("files")
def test_whatever_a_model_wrote_comes_back(tmp_path):
    table = pd.DataFrame(dict(reply=WILD, cell=[None if i % 3 else "TA" for i in range(len(WILD))], n=range(len(WILD)),
                              p=[None if i % 5 == 4 else i / 7 - 2 for i in range(len(WILD))], flag=[i % 2 == 0 for i in range(len(WILD))]))
    back = there_and_back(table, tmp_path, numbers=("n", "p"), flags=("flag",), missing=("cell",))
    assert back.reply.tolist() == WILD and back.cell.tolist() == table.cell.astype(object).where(table.cell.notna(), None).tolist()
    assert back.n.tolist() == table.n.tolist() and back.flag.tolist() == table.flag.tolist()
    assert [x for x in back.p if not math.isnan(x)] == [x for x in table.p if not math.isnan(x)] and back.p.isna().sum() == table.p.isna().sum() > 3


text = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from("'=+-@\t\r\n\"\x00,; ＝"), max_size=12)


@pytest.mark.promise("inert")
@given(st.lists(text, min_size=1, max_size=6))
def test_any_text_comes_back_from_the_csv_and_none_runs(cells):
    assert [unguarded(guarded(x)) for x in cells] == cells
    written = csv_of(pd.DataFrame(dict(a=cells)))
    back = pd.read_csv(io.BytesIO(written.encode()), dtype=str, keep_default_na=False, engine="c")["a"].tolist()
    assert [unguarded(x) for x in back] == cells and list(csv.reader(io.StringIO(written, newline="")))[1:] == [[x] for x in back]
    for x in back: assert not _RUN.match(x) or float(x.replace(",", "").replace("%", "").replace("＋", "+").strip()) is not None


@pytest.mark.parametrize("cell", ["=1+1", "+1-800-555", "- a list", "-a", "@x", "\tx", "\rx", "\nx", "\r", " =1", "\ufeff=1", "＝1", "--5",
                                  "-5-5", "+", "-", "=", "\r+1", "\n-5", "\t7"])
def test_what_would_run_is_guarded(cell):
    assert guarded(cell) == "'" + cell and unguarded("'" + cell) == cell


@pytest.mark.parametrize("cell", ["-5", "+0.3", "-1.5e-7", "-50%", "red", "a=b", "x@y.z", "'tis", "", 5, -5, -.5, None, True])
def test_numbers_and_plain_texts_stay(cell):
    assert guarded(cell) is cell and unguarded(cell) is cell


def test_numbers_stay_numbers_in_the_csv():
    rows = csv_of(pd.DataFrame(dict(x=[-.5, 1e-9], n=[-3, 4], s=["-3", "-x"]))).splitlines()
    assert rows == ["x,n,s", "-0.5,-3,-3", "1e-09,4,'-x"]


def test_odd_columns_are_written_as_a_csv_would(tmp_path):
    table = pd.DataFrame(dict(mixed=["a", 1, None, .5], listed=[[1], [2], [], None], nothing=[None] * 4,
                              numbers=pd.Series([1, np.float64(.5), np.nan, None], dtype=object), truth=pd.array([True, None, False, None], "boolean"),
                              half=pd.Series(["\ud83d", "a", "b", "c"], dtype=object)))
    back = there_and_back(table, tmp_path, numbers=("numbers",), missing=("mixed", "listed", "nothing", "truth"))
    assert back.mixed.tolist() == ["a", "1", None, "0.5"] and back.listed.tolist() == ["[1]", "[2]", "[]", None] and back.nothing.tolist() == [None] * 4
    assert back.numbers.tolist()[:2] == [1, .5] and back.truth.tolist() == ["True", None, "False", None] and back.half[0] == "?"
    assert list(there_and_back(pd.DataFrame(columns=["a", "=b"]), tmp_path)) == ["a", "=b"]


def test_an_edited_csv_is_noticed_and_the_parquet_is_read(tmp_path):
    path = write_table(pd.DataFrame(dict(a=["x", "y"])), tmp_path / "t.csv")
    assert not edited(path)
    path.write_text("a\nz\n")
    assert edited(path) and read_table(path).a.tolist() == ["x", "y"]
    path.with_suffix(".parquet").unlink()
    assert not edited(path) and read_table(path).a.tolist() == ["z"]


def test_faults_are_one_line(tmp_path):
    path = write_table(pd.DataFrame(dict(a=["x"])), tmp_path / "t.csv")
    whole = path.with_suffix(".parquet").read_bytes()
    for broken in (b"", b"PAR1", whole[:-20], b"x" * 200):
        path.with_suffix(".parquet").write_bytes(broken)
        for look in (read_table, edited):
            with pytest.raises(UnsafError, match="t.parquet cannot be read .*remove it") as e: look(path)
            assert "\n" not in str(e.value)
    path.with_suffix(".parquet").unlink()
    with pytest.raises(UnsafError, match="should hold numbers") as e: read_table(path, numbers=("a",))
    for broken in (b"", b'a,b\n1\n2,3,4\n', b'a\n"\n', b"\xff\xfe"):
        path.write_bytes(broken)
        with pytest.raises(UnsafError, match="t.csv") as e: read_table(path)
        assert "\n" not in str(e.value)
    with pytest.raises(UnsafError, match="No such file"): read_table(tmp_path / "nowhere.csv")
