"""How a text is written is told by how it begins; what is not plain is taken only if it reads more lines."""

from pathlib import Path
from typing import Any

import pytest

from din_train.config.file_formats import FormatConfig
from din_train.errors import DataError
from din_train.logs.dialect import Dialect, find_dialect
from din_train.logs.row_files import open_row_file

CSV = Dialect(",", '"', "", "utf-8", has_header=True, is_multiline=False)
TSV = Dialect("\t", "", "", "utf-8", has_header=True, is_multiline=False)


def find(path: Path, content: bytes, **given: Any) -> tuple[Dialect, list[str]]:
    path.write_bytes(content)
    return find_dialect(path, FormatConfig(**given))


def read(path: Path, **given: Any) -> list[tuple[str | None, ...]]:
    chunks = open_row_file(path, FormatConfig(**given)).read_chunks(1000, lambda _: None)
    return [tuple(row.values()) for chunk in chunks for row in chunk.table.to_pylist()]


BLANKS = {"delimiter": " "}


@pytest.mark.parametrize(
    ("content", "changes", "names", "rows"),
    [
        ("user item t\nu i 5\n\nv j 6\n", BLANKS, ["user", "item", "t"], [("u", "i", "5"), ("v", "j", "6")]),
        ("1 2 5\n3 4 6\n", {**BLANKS, "has_header": False}, ["1", "2", "3"], [("1", "2", "5"), ("3", "4", "6")]),
        # In columns of one width, with Windows' line ends and a line of blanks.
        ("  user item\r\n    u    i \r\n   \r\n   vv   jj\r\n", BLANKS, ["user", "item"], [("u", "i"), ("vv", "jj")]),
        ('user item\n"a  b"  i\n  c "j ""k"" "  \n', BLANKS, ["user", "item"], [("a  b", "i"), ("c", 'j "k" ')]),
        # R's write.table: a header without a name for the row names.
        ('"user" "t"\n"1" "u" 5\n"2" "v" 6\n', BLANKS, ["", "user", "t"], [("1", "u", "5"), ("2", "v", "6")]),
        ("user\tt\n1\tu\t5\n2\tv\t6\n", vars(TSV), ["", "user", "t"], [("1", "u", "5"), ("2", "v", "6")]),
        # A delimiter after the last field, but not in the header.
        ("user,t\nu,5,\nu,6,\n", {}, ["user", "t", ""], [("u", "5", ""), ("u", "6", "")]),
        # Neither: an id that comes again, and numbers instead of names.
        ("user,t\nu,1,5\nu,2,6\n", {}, ["user", "t"], [(None, None), (None, None)]),
        # Blanks in the header and in all values, between commas.
        ("user id,at day\nu 1,2 a\nv 2,3 b\n", {}, ["user id", "at day"], [("u 1", "2 a"), ("v 2", "3 b")]),
    ],
)
def test_blanks_and_headers_that_lack_a_name(
    tmp_path: Path, content: str, changes: dict[str, Any], names: list[str], rows: list[tuple[str | None, ...]]
) -> None:
    found, columns = find(tmp_path / "log", content.encode())
    assert (found, columns) == (Dialect(**(vars(CSV) | changes)), names)
    assert read(tmp_path / "log") == rows


def test_a_line_between_blanks_may_have_too_few_fields(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("user item t\n" + "u i   5\n" * 20 + "v j\n" + " w  k 7\n")
    (chunk,) = open_row_file(path).read_chunks(1000, lambda _: None)
    assert chunk.broken == {20: "wrong number of fields"}
    assert chunk.lines[-2:].tolist() == [22, 23]
    assert chunk.show(20) == b"v j"
    assert chunk.table.to_pylist()[-1] == {"user": "w", "item": "k", "t": "7"}


@pytest.mark.parametrize(
    ("content", "changes", "rows"),
    [
        ("user,item\nu,i\nv,j\n", {}, [("u", "i"), ("v", "j")]),
        ("user;item;price\nu;i;1,5\nv;j;2,5\n", {"delimiter": ";"}, [("u", "i", "1,5"), ("v", "j", "2,5")]),
        ("user|item|t\nu|i, k|5\nv|j|6\n", {"delimiter": "|", "quote": ""}, [("u", "i, k", "5"), ("v", "j", "6")]),
        (
            "1::T, the::A|B\n2::S::C\n",
            {"delimiter": "::", "quote": "", "has_header": False},
            [("1", "T, the", "A|B"), ("2", "S", "C")],
        ),
        # Genres in a CSV; a list as long in every row.
        ("user,item,genres\nu,i,a|b\nv,j,c|d\n", {}, [("u", "i", "a|b"), ("v", "j", "c|d")]),
        ('user,item\n"u, 1",i\nv,"j ""k"""\n', {}, [("u, 1", "i"), ("v", 'j "k"')]),
        # As Spark writes it; a backslash before anything else is text.
        (
            'user,title\nu,"12\\" vinyl, 1"\nv,"C:\\dir \\"x\\""\nw,"a\\\\"\n',
            {"escape": "\\"},
            [("u", '12" vinyl, 1'), ("v", 'C:\\dir "x"'), ("w", "a\\")],
        ),
        # A pandas export with newlines in a text, blank ones among them.
        (
            'user,text,t\nu,"one\ntwo, more\n\nthree",5\nv,plain,6\nw,"x\ny",7\n',
            {"is_multiline": True},
            [("u", "one\ntwo, more\n\nthree", "5"), ("v", "plain", "6"), ("w", "x\ny", "7")],
        ),
    ],
)
def test_commas_and_other_signs(
    tmp_path: Path, content: str, changes: dict[str, Any], rows: list[tuple[str, ...]]
) -> None:
    found, _ = find(tmp_path / "log", content.encode())
    assert found == Dialect(**(vars(CSV) | changes))
    assert read(tmp_path / "log") == rows


@pytest.mark.parametrize(
    ("content", "changes", "rows"),
    [
        # R's write.table; its numbers and NA have no quotes.
        ('"u"\t"i"\n"1"\t5\n"2"\tNA\n', {"quote": '"'}, [("1", "5"), ("2", "NA")]),
        ('u\ti\n"1"\t"a\tb"\n"2"\tc\n"3"\td\n', {"quote": '"'}, [("1", "a\tb"), ("2", "c"), ("3", "d")]),
        # Titles that have quotes of their own: what is not quoted as a whole column is text.
        ('u\ttitle\n1\t"Heat"\n2\tUp\n3\t"So" he said\n', {}, [("1", '"Heat"'), ("2", "Up"), ("3", '"So" he said')]),
        ('u\ttitle\n1\tsay "hi"\n2\tno\n', {}, [("1", 'say "hi"'), ("2", "no")]),
    ],
)  # fmt: skip
def test_tabs(tmp_path: Path, content: str, changes: dict[str, Any], rows: list[tuple[str, ...]]) -> None:
    found, _ = find(tmp_path / "log", content.encode())
    assert found == Dialect(**(vars(TSV) | changes))
    assert read(tmp_path / "log") == rows


def test_stray_quotes_swallow_no_rows(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text('user,item,t\n"u,i,1\nv,j,2\nw",k,3\nx,"l"m,4\ny,n,5\n')
    chunk = next(open_row_file(path).read_chunks(10, lambda _: None))
    assert chunk.table["user"].to_pylist() == [None, "v", 'w"', None, "y"]
    assert chunk.broken == {0: "broken quotes", 3: "broken quotes"}


TEXT = "user,title\n" + "".join(f"{n},Misérables, Les {n}\n".replace(", ", " ") for n in range(1, 30))


@pytest.mark.parametrize(
    ("content", "encoding"),
    [
        (TEXT.encode("utf-16"), "utf-16"),
        (TEXT.encode("utf-16-le"), "utf-16-le"),
        (TEXT.encode("utf-16-be"), "utf-16-be"),
        (b"\xef\xbb\xbf" + TEXT.encode(), "utf-8"),
        (TEXT.encode("latin-1"), "latin-1"),
        (TEXT.replace("é", "é–").encode("cp1252"), "cp1252"),
    ],
    ids=["bom", "le", "be", "utf-8", "latin-1", "cp1252"],
)
def test_encodings(tmp_path: Path, content: bytes, encoding: str) -> None:
    found, names = find(tmp_path / "log", content)
    assert (found.encoding, names) == (encoding, ["user", "title"])
    title = "Misé–rables Les 29" if encoding == "cp1252" else "Misérables Les 29"
    assert read(tmp_path / "log")[-1] == ("29", title)


def test_accented_letters_may_stand_side_by_side(tmp_path: Path) -> None:
    german = "user,title\n" + "".join(f"{n},Süß{n}\n" for n in range(1, 30))
    assert find(tmp_path / "log", german.encode("latin-1"))[0].encoding == "latin-1"
    assert read(tmp_path / "log")[-1] == ("29", "Süß29")


def test_what_may_be_damage_is_no_other_encoding(tmp_path: Path) -> None:
    one_line = TEXT.encode("ascii", "ignore") + b"30,caf\xe9\n"
    assert find(tmp_path / "log", one_line)[0].encoding == "utf-8"
    with_another = TEXT.encode("latin-1") + "31,Amélie\n".encode()
    assert find(tmp_path / "log", with_another)[0].encoding == "utf-8"
    cyrillic = "".join(f"{n},Привет мир\n" for n in range(30)).encode("cp1251")
    assert find(tmp_path / "log", cyrillic)[0].encoding == "utf-8"
    assert find(tmp_path / "log", one_line, encoding="latin-1")[0].encoding == "latin-1"
    assert read(tmp_path / "log", encoding="latin-1")[-1] == ("30", "café")


def test_utf_16_that_ends_inside_a_letter_is_a_bad_row(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes("user,item\nu,i\nv,j".encode("utf-16")[:-1])
    chunk = next(open_row_file(path).read_chunks(10, lambda _: None))
    assert (chunk.table["item"].to_pylist(), chunk.broken) == (["i", None], {1: "invalid UTF-8"})


@pytest.mark.parametrize(
    ("content", "has_header"),
    [
        ("A1,B2,5.0,1365811200\nA3,B4,1.0,1341100800\n", False),  # Amazon's ratings
        ("1,2014-04-07T10:51:09.277Z,214536502,0\n2,2014-04-07T10:54:09.868Z,214536500,S\n", False),  # Yoochoose
        ("user,item,t\nu,i,5\nv,j,6\n", True),
        ("user,item\nu,i\nv,j\n", True),  # all text: unsure, so a header
        ("user,item,5\nu,i,5\n", False),
        ("0,1,2\n5,6,7\n8,9,9\n", True),  # pandas' names
        ("user,item,t\n", True),
        ("b,y,1600000000\n", False),  # a part of one row
        ("b,2020-01-01 10:00\n", False),
        ("1,2,3\n", True),
        ("1,10,\n2,11,5\n3,12,\n", False),  # histories that are mostly empty
        ("1,10,3^4\n2,11,5\n3,12,\n", False),
        ("1,10,[3; 4]\n2,11,5\n3,12,\n", False),
        ("1,10,NULL\n2,11,5\n3,12,\n", False),
        (",user,item\n0,5,6\n1,7,8\n", True),  # row names of pandas
        ("item,0,1\n5,.1,.2\n6,.3,.4\n", True),
    ],
)
def test_header(tmp_path: Path, content: str, has_header: bool) -> None:
    found, names = find(tmp_path / "log", content.encode())
    width = content.partition("\n")[0].count(",") + 1
    assert found.has_header is has_header
    assert names == (content.partition("\n")[0].split(",") if has_header else [str(n + 1) for n in range(width)])
    assert find(tmp_path / "log", content.encode(), header=not has_header)[0].has_header is not has_header


def test_what_the_config_says_is_so(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("a;b,c\n'x;1';2\n")
    assert read(path, delimiter=";", quote="'") == [("x;1", "2")]
    assert read(path, quote="") == [(None, None)]
    path.write_text('a,b\n"x,1"\n')
    assert read(path, quote="") == [('"x', '1"')]
    path.write_text("a,b\n'x^', y',1\n'z\nz',2\n")
    assert read(path, quote="'", escape="^") == [("x', y", "1"), ("z\nz", "2")]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b'"user,item\n', "broken quotes"),
        (b"user,\xff\xfe\n", "invalid UTF-8"),
        (b"us\0er,item\n", "NUL character"),
        (b"user,item\ru,i\r", "carriage return inside the line"),
    ],
)
def test_first_lines_that_are_no_header(tmp_path: Path, content: bytes, reason: str) -> None:
    with pytest.raises(DataError) as caught:
        find(tmp_path / "log", content)
    assert str(caught.value).startswith(f"{tmp_path / 'log'}: its first line is no header ({reason}); expected a CSV")
