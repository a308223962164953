"""`predict` on rows of which nothing is known: refused with one id of each side, unless asked for."""

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from log_factory import write_table
from workplace import EVENTS, QUICK, Workplace

START = 1_700_000_000
HISTORIES = [[f"i{(n + k) % 97}" for k in range(n % 3 + 2)] for n in range(60)]


def write_rows(workplace: Workplace, header: list[str], rows: list[list[Any]]) -> None:
    write_table(workplace.folder / "new.tsv", header, rows)


def predict(workplace: Workplace, *options: str) -> tuple[int, str]:
    """Exit code, and all that was said."""
    result = workplace.run("predict", "--input", "new.tsv", "--output", "out.parquet", "--overwrite", *options)
    if result.exit_code:
        assert not Path("out.parquet").exists()
        assert not list(Path().glob("*unfinished*/*.arrow"))
    return result.exit_code, result.stderr


def refused(workplace: Workplace, *options: str) -> str:
    code, said = predict(workplace, *options)
    (line,) = [line for line in said.splitlines() if line.startswith("error: ")]
    assert code == 1
    return line


@pytest.mark.parametrize(("role", "place", "spelling"), [("user", 0, "{}.0"), ("item", 1, "0{}")])
def test_ids_of_another_spelling(fitted: Workplace, role: str, place: int, spelling: str) -> None:
    rows = [[f"u{n % 40}", f"i{n % 97}"] for n in range(50)]
    for row in rows:
        row[place] = spelling.format(row[place])
    write_rows(fitted, ["user", "item"], rows)
    known = "u0" if role == "user" else "i"
    line = refused(fitted)
    assert f"new.tsv: none of 50 values of the {role} is known: the file has {rows[0][place]!r}, " in line
    assert f"prepared/small has '{known}" in line
    assert f"or give --allow-unmatched {role} to score such rows all the same" in line
    assert predict(fitted, "--allow-unmatched", role)[0] == 0


def test_one_known_id_is_enough_and_null_words_are_bad_rows(fitted: Workplace) -> None:
    write_rows(fitted, ["user", "item"], [["new", "i1"]] * 98 + [["u1", "new"], ["None", "i1"]])
    code, said = predict(fitted)
    assert code == 0
    assert "not scored: no user: 1 (the first is row 100)" in said
    assert "98 of unknown users, 1 of unknown items" in said


def test_it_is_decided_after_a_thousand_rows(fitted: Workplace) -> None:
    rows = [[f"x{n % 40}", f"i{n % 97}"] for n in range(3000)]
    write_rows(fitted, ["user", "item"], [*rows, ["u1", "i1"]])
    assert "none of 1,000 values of the user is known" in refused(fitted, "--chunk-rows", "500")
    write_rows(fitted, ["user", "item"], [*rows[:990], ["u1", "i1"]])
    assert predict(fitted, "--chunk-rows", "100")[0] == 0


def test_histories_of_another_separator(fitted: Workplace) -> None:
    rows = [[f"u{n % 40}", f"i{n % 97}", "::".join(history)] for n, history in enumerate(HISTORIES)]
    write_rows(fitted, ["user", "item", "history"], rows)
    line = refused(fitted)
    assert f"new.tsv: none of 60 ids in its histories is known: a history is {rows[0][2]!r}, an item in " in line
    assert "prepared/small is 'i" in line
    assert "give --history-separator" in line
    code, said = predict(fitted, "--allow-unmatched", "history")
    assert (code, "60 of 60 ids in histories are unknown" in said) == (0, True)
    assert predict(fitted, "--history-separator", "::")[0] == 0
    scores = pq.read_table("out.parquet")["logit"].to_pylist()
    written = [[*row[:2], "^".join(ids)] for row, ids in zip(rows, HISTORIES, strict=True)]
    write_rows(fitted, ["user", "item", "history"], written)
    assert predict(fitted)[0] == 0
    assert pq.read_table("out.parquet")["logit"].to_pylist() == scores


def test_some_histories_of_another_separator(fitted: Workplace) -> None:
    single = [["u1", "i1", "i5"]] * 40
    write_rows(fitted, ["user", "item", "history"], [*single, *[["u1", "i1", "i5|i6"]] * 20])
    line = refused(fitted)
    assert "20 of 60 histories are joined by something else than '^', such as 'i5|i6'; give --history-separator" in line
    write_rows(fitted, ["user", "item", "history"], [*single * 5, ["u1", "i1", "i5|i6"], ["u1", "i1", "i5^new-1"]])
    code, said = predict(fitted)
    assert code == 0
    assert "2 of 203 ids in histories are unknown" in said
    assert "1 of 202 histories are joined by something else than the separator" in said


def test_brackets_that_hold_no_list_are_bad_rows(fitted: Workplace) -> None:
    write_rows(fitted, ["user", "item", "history"], [["u1", "i1", "i5^i6"]] * 9 + [["u1", "i1", "[i5; i6]"]])
    code, said = predict(fitted, "--set", "data.max_bad_share=0.2")
    assert code == 0
    assert "not scored: history in brackets that is no list of ids: 1 (the first is row 10)" in said


def test_times_and_context_values_of_another_kind(workplace: Workplace) -> None:
    rows = [[*event[:3], 45245 + event[3] // 90, ("phone", "desk")[event[3] % 2]] for event in EVENTS]
    write_table(workplace.folder / "log.tsv", ["user", "item", "category", "time", "device"], rows)
    workplace.write_config(data={"context_fields": ["device"]})
    workplace.fit(*QUICK)
    write_rows(workplace, ["user", "item", "device"], [["u1", "i1", "Phone"], ["u1", "i2", ""], ["u1", "i2", "NULL"]])
    line = refused(workplace)
    assert "none of 1 values of the device is known: the file has 'Phone', " in line
    assert "or give --allow-unmatched context" in line
    write_rows(workplace, ["user", "item", "device", "time"], [["u1", f"i{n}", "desk", START] for n in range(20)])
    line = refused(workplace)
    assert "none of 20 times fits those in prepared/small, which go from 45245 to 45251: the first is " in line
    assert f"'{START}'; give times as the log has them" in line
    assert predict(workplace, "--allow-unmatched", "timestamp")[0] == 0
    mixed = [["u1", "i1", "Phone", START], ["u1", "i2", "desk", 45249]]
    write_rows(workplace, ["user", "item", "device", "time"], mixed)
    code, said = predict(workplace)
    assert code == 0
    assert "1 of 2 values of 'device' are unknown" in said
    assert "1 of 2 times are before every stored event, or no times of the log's kind" in said


def test_a_column_for_two_roles(fitted: Workplace) -> None:
    write_rows(fitted, ["user", "item"], [["u1", "i1"]])
    code, said = predict(fitted, "--columns", "user=item")
    assert (code, said.splitlines()[-1]) == (
        2,
        "error: --columns item=item: is the column of user already; every role needs a column of its own",
    )
