"""Text cut into columns: every row once, with its line, and what is wrong with it; only wanted columns need be good."""

import random
from pathlib import Path
from typing import Any

import pytest
from test_logs_fuzz import damaged_logs, split_plainly

from din_train.config.file_formats import FormatConfig
from din_train.logs import lines as lines_module
from din_train.logs.row_files import Chunk, open_row_file

ROWS = ("u\ti\t5\tA", "v\tj\t1400000000.0\t", '"w"\t"k"\t"6"\t"B"', "x\tl\t007\t")


def read(path: Path, *columns: str, **given: Any) -> Chunk:
    """The rows of a short file."""
    file = open_row_file(path, FormatConfig(**given))
    return next(file.read_chunks(10_000, lambda _: None, columns or None))


@pytest.mark.parametrize("block", [40, 200, 1 << 20])
@pytest.mark.parametrize("delimiter", ["\t", ",", "::", "|"])
def test_damaged_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, delimiter: str, block: int) -> None:
    monkeypatch.setattr(lines_module, "BLOCK_BYTES", block)
    good = [row.replace("\t", delimiter).encode() for row in ROWS]
    header = "user\titem\ttime\tcategory\n".replace("\t", delimiter).encode()
    given = FormatConfig(delimiter=delimiter, quote=None if delimiter == "," else "", header=True)
    path, seen = tmp_path / "log", 0
    for place, log in enumerate(damaged_logs(good, header)):
        if place % 3 != block % 3:  # a third of them for each size of a block
            continue
        path.write_bytes(log)
        file = open_row_file(path, None if delimiter in ",\t" and block > 1000 else given)
        got, expected = [], []
        for chunk in file.read_chunks(100, lambda _: None):
            for row, (fields, line) in enumerate(zip(chunk.table.to_pylist(), chunk.lines.tolist(), strict=True)):
                assert (fields["user"] is None) == (row in chunk.broken)
                assert bytes(chunk.show(row)).split(b"\n")[0] == log.split(b"\n")[line - 1]  # type: ignore[arg-type]
                got.append((line, None if row in chunk.broken else list(fields.values())))
        for number, line in enumerate(log.split(b"\n")[1:], 2):
            if line.strip() or delimiter.encode() in line:
                expected.append((number, split_plainly(line, delimiter, 4)))
        assert got == expected
        seen += len(got)
    assert seen > 2000


def test_rows_over_several_lines_keep_their_physical_lines_across_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines_module, "BLOCK_BYTES", 64)
    random_ = random.Random(3)  # noqa: S311 - not for secrets
    rows, lines, text, line = [], [], "user,text,t\n", 2
    for n in range(500):
        words = "".join(random_.choice(("a", ", ", "\n", '"', "é", "\n\n")) for _ in range(random_.choice((0, 3, 30))))
        rows.append((f"u{n}", words, str(n)))
        lines.append(line)
        doubled = words.replace('"', '""')
        record = f'u{n},"{doubled}",{n}\n' if set(words) & set(',"\n') else f"u{n},{words},{n}\n"
        text += record
        line += record.count("\n")
    path = tmp_path / "log.csv"
    path.write_text(text)
    chunk = read(path)
    assert [tuple(row.values()) for row in chunk.table.to_pylist()] == rows
    assert chunk.lines.tolist() == lines
    assert chunk.show(1) == text.encode().split(b"\nu1,")[1].join((b"u1,", b"")).split(b"\nu2,")[0]


def test_a_quote_that_is_never_closed_loses_one_line_of_a_text_with_newlines(tmp_path: Path) -> None:
    good = "".join(f'u{n},"a\nb",{n}\n' for n in range(20))
    path = tmp_path / "log.csv"
    path.write_text("user,text,t\n" + good + 'v,"open,5\nw,x,6\n' + "y,z,7\n" * 3)
    chunk = read(path)
    assert chunk.broken == {20: "broken quotes"}
    assert chunk.table["user"].to_pylist()[19:] == ["u19", None, "w", "y", "y", "y"]
    assert chunk.lines.tolist()[19:] == [40, 42, 43, 44, 45, 46]


def test_only_wanted_columns_need_be_good(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_bytes(
        b'user,title,t\nu,"12" vinyl",1\nv,caf\xe9,2\nw,nu\0l,3\n"x" y,ok,4\n'
        b'z,"open, and,5\na,"b"c, d",6\n"q, ""r""","s" t,7\n'
    )
    chunk = read(path, "user", "t")
    assert [tuple(row.values()) for row in chunk.table.to_pylist()] == [
        ("u", "1"),
        ("v", "2"),
        ("w", "3"),
        (None, None),
        (None, None),
        (None, None),
        ('q, "r"', "7"),
    ]
    assert chunk.broken == dict.fromkeys((3, 4, 5), "broken quotes")
    chunk = read(path)
    assert chunk.broken == {
        0: "broken quotes", 1: "invalid UTF-8", 2: "NUL character", **dict.fromkeys((3, 4, 5, 6), "broken quotes")
    }  # fmt: skip


def test_columns_come_in_the_order_they_are_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text('a,b,c\n1,2,3\n4,"5",6\n')
    assert read(path, "c", "a").table.to_pylist() == [{"c": "3", "a": "1"}, {"c": "6", "a": "4"}]


def test_a_stand_in_for_a_long_delimiter_may_be_text(tmp_path: Path) -> None:
    path = tmp_path / "log.dat"
    path.write_bytes(b"a::b\nu\x1fv::i\nw::j\nx::y::z\n\tq::::\n \t\n")
    chunk = read(path, delimiter="::", header=True)
    assert [tuple(row.values()) for row in chunk.table.to_pylist()][:2] == [("u\x1fv", "i"), ("w", "j")]
    assert chunk.broken == dict.fromkeys((2, 3), "wrong number of fields")
