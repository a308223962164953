"""A log that is read in pieces is the same log: rows, counts, bad lines with their numbers, and what is refused."""

import gzip
import json
import pickle
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from din_train.config import DataConfig
from din_train.errors import DataError
from din_train.logs import RawLog, read_log
from din_train.logs.lines import Piece, read_blocks

COLUMNS = {"user": "user", "item": "item", "timestamp": "time"}
T = 1_500_000_000


@dataclass
class OneByOne:
    """Tasks as another process would have them: what they are given and what they return is pickled."""

    folder: Path
    size: int
    tasks: int = 0

    def choose_piece_bytes(self, total: int) -> int:  # noqa: ARG002 - the tests say
        return self.size

    def run(self, function: Callable[[Any], Any], arguments: Sequence[Any]) -> list[Any]:
        self.tasks += len(arguments)
        sent = [pickle.loads(pickle.dumps((function, each))) for each in arguments]  # noqa: S301
        return [pickle.loads(pickle.dumps(task(argument))) for task, argument in sent]  # noqa: S301


def make_data(folder: Path, **changes: Any) -> DataConfig:
    paths = {"events": str(folder / "log*"), "prepared": str(folder / "prepared")}
    return DataConfig.model_validate({"source": "table", "columns": COLUMNS, **paths, "max_bad_share": 1.0, **changes})


def read(data: DataConfig, folder: Path, size: int | None) -> tuple[RawLog, pa.Table, OneByOne | None]:
    """The log, and its events with the numbers that they have in the whole."""
    folder.mkdir()
    cluster = None if size is None else OneByOne(folder, size)
    log = read_log(data, folder, lambda _: None, cluster)
    if cluster is None:
        return log, pq.read_table(log.events), None
    parts = []
    for path in sorted(log.events.iterdir()):
        part = pq.read_table(path)
        offset = log.offsets[int(path.stem)]
        for name, first in (("ordinal", offset.events), ("timestamp", offset.rows if log.in_file_order else 0)):
            moved = pa.array(part[name].to_numpy() + first)
            part = part.set_column(part.column_names.index(name), name, moved)
        assert part["piece"].to_pylist() == [int(path.stem)] * len(part)
        parts.append(part.drop("piece"))
    return log, pa.concat_tables(parts), cluster


def check_same(folder: Path, sizes: Sequence[int], **changes: Any) -> list[int]:
    """Read the files `log*` whole and in pieces of each size; returns how many tasks that took."""
    data = make_data(folder, **changes)
    whole, events, _ = read(data, folder / "whole", None)
    tasks = []
    for size in sizes:
        log, found, cluster = read(data, folder / f"pieces-{size}", size)
        assert cluster is not None
        assert found.equals(events), size
        assert log.reports == whole.reports
        assert log.rejected.read_bytes() == whole.rejected.read_bytes()
        assert (log.measures, log.ticks, log.remarks) == (whole.measures, whole.ticks, whole.remarks)
        tasks.append(cluster.tasks)
    return tasks


def test_lines_belong_to_the_piece_that_they_begin_in(tmp_path: Path) -> None:
    content = b"one\n\ntwo\r\nthree three three\n\nlast"
    (tmp_path / "log").write_bytes(content)
    for cut in range(len(content) + 1):
        parts, lines = [], []
        for piece in (Piece(0, cut), Piece(cut, len(content))):
            parts.append(b"".join(block for _, block in read_blocks(tmp_path / "log", lambda _: None, piece=piece)))
            lines.append(piece.lines)
        assert b"".join(parts) == content
        assert parts[0] in (b"one\n", *(content[:end] for end in range(len(content) + 1)))
        assert all(part.endswith(b"\n") for part in parts[:1] if part and parts[1])
        assert sum(lines) == 6


def test_text(tmp_path: Path) -> None:
    """A byte order mark, blank lines, quotes, bytes that are no UTF-8, lines of wrong width, other units, two files."""
    odd = {3: "", 5: '"a ""b"", c",i,1500000000', 8: "u,i", 13: f"u,i,{T}000", 21: "  ", 34: "\0,i,9"}
    lines = ["\ufeffuser,item,time"]
    for row in range(60):
        lines += [f"ü{row % 7},東{row % 11},{T + row}", *([odd[row]] if row in odd else [])]
    (tmp_path / "log-1.csv").write_bytes("\n".join(lines).encode() + b"\nu\xff,i,1500000000\r\n")
    (tmp_path / "log-2.csv").write_text(f"item,user,time\r\ni,NULL,{T}\r\nlast,u,{T + 1}")
    assert check_same(tmp_path, [7, 50, 333, 10**6])[-1] == 2


def test_a_header_in_the_middle_and_rows_in_file_order(tmp_path: Path) -> None:
    rows = "".join(f"u{row % 5}\ti{row}\n" for row in range(40))
    (tmp_path / "log-1").write_text(f"user\titem\n{rows}user\titem\n{rows}")
    (tmp_path / "log-2").write_text(f"user\titem\n{rows}x\ty\n")
    check_same(tmp_path, [11, 100], columns={**COLUMNS, "timestamp": "file-order"})


def test_records_over_several_lines_and_packed_files_are_read_whole(tmp_path: Path) -> None:
    records = "".join(f'u{row % 3},"i\n{row % 4}",{T + row}\n' for row in range(50))
    (tmp_path / "log-1").write_text(f"user,item,time\n{records}")
    (tmp_path / "log-2").write_bytes(gzip.compress(f"user,item,time\n{records}x,y,{T}".encode()))
    assert check_same(tmp_path, [64]) == [2]


def test_other_encodings(tmp_path: Path) -> None:
    text = "user,item,time\n" + "".join(f"Zoë{row % 3},Ç{row % 4},{T + row}\n" for row in range(30))
    (tmp_path / "log").write_bytes(text.encode("cp1252"))
    assert check_same(tmp_path, [40], format={"encoding": "cp1252"})[0] > 5
    (tmp_path / "utf-16").mkdir()
    (tmp_path / "utf-16" / "log").write_bytes(text.encode("utf-16"))
    assert check_same(tmp_path / "utf-16", [40]) == [1]


def test_json_lines_and_an_array(tmp_path: Path) -> None:
    rows = [
        {"user": f"u{row % 4}", "item": row % 6, "time": T + row, "tags": ["b", "a"][: row % 3]} for row in range(40)
    ]
    fields = {"item_fields": ["tags"], "list_fields": {"tags": {}}}
    lines = [*map(json.dumps, rows), "{broken", json.dumps({"user": "u", "item": 1})]
    (tmp_path / "log").write_text("\n\n".join(lines))
    assert check_same(tmp_path, [30, 500], **fields)[0] > 20
    (tmp_path / "array").mkdir()
    (tmp_path / "array" / "log").write_text(json.dumps(rows))
    assert check_same(tmp_path / "array", [30], **fields) == [1]


def test_row_groups_of_parquet(tmp_path: Path) -> None:
    time = pa.array([T * 10**9 + row for row in range(50)], pa.timestamp("ns"))
    users = pa.array([row % 5 if row % 9 else None for row in range(50)], pa.int64())
    items = pa.array([float(row % 7) + (row == 33) / 2 for row in range(50)])
    pq.write_table(pa.table({"user": users, "item": items, "time": time}), tmp_path / "log", row_group_size=8)
    assert check_same(tmp_path, [1, 10**9]) == [7, 1]


@pytest.mark.parametrize(
    ("values", "rereads"),
    [
        # The first label that is no click tells what the others may be; here the log's first rows tell nothing.
        ({"label": [1] * 5 + [-1] + [1, -1, 0] * 8}, True),
        ({"label": [0, -1] + [1, 0] * 12}, False),
        # 0 is no time in any unit, so that the unit is told later, and a counter after it is a bad row.
        ({"time": [0] * 5 + [T + row for row in range(15)] + ["2017-05-06", T * 1000, 3]}, True),
        ({"time": [5, 6, 7, 8, "2017-05-06", 20170506, T * 1000, *range(9, 25)]}, True),
        ({"time": ["2017-05-06", "2017-05-07 10:00:00", 20170506, T, "x", *["2017-05-08"] * 9]}, False),
        ({"time": [20170506, 20170507, 20171332, "2017-05-06", T, 20170508] * 3}, False),
    ],
)
def test_what_rows_tell_of_later_ones(
    tmp_path: Path, values: dict[str, list[Any]], rereads: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("din_train.logs.table.CHUNK_ROWS", 3)  # what the driver reads first
    (size,) = {len(each) for each in values.values()}
    columns = {
        "user": ["u"] * size,
        "item": [f"i{row}" for row in range(size)],
        "time": list(range(T, T + size)),
        **values,
    }
    rows = zip(*columns.values(), strict=True)
    (tmp_path / "log").write_text("\n".join("\t".join(map(str, row)) for row in [columns, *rows]))
    named = {name: name for name in columns} | {"timestamp": "time"}
    del named["time"]
    (tasks,) = check_same(tmp_path, [24], columns=named)
    pieces = -(-(tmp_path / "log").stat().st_size // 24)
    assert (tasks > pieces) == rereads


def test_types_of_events_are_counted_together(tmp_path: Path) -> None:
    kinds = ["view", "buy", "cart", "view", ""] * 12
    rows = "".join(f"u{row % 3},i{row},{T + row},{kind}\n" for row, kind in enumerate(kinds))
    (tmp_path / "log").write_text(f"user,item,time,kind\n{rows}")
    types = {"column": "kind", "click": ["buy"], "impression": ["view", "show"]}
    check_same(tmp_path, [100], columns={**COLUMNS, "events": types})


def refuse(folder: Path, size: int | None, **changes: Any) -> tuple[str, ...]:
    with pytest.raises(DataError) as caught:
        read(make_data(folder, **changes), Path(tempfile.mkdtemp(dir=folder)) / "tables", size)
    return caught.value.problems


def test_bad_logs_are_refused_alike(tmp_path: Path) -> None:
    good = "".join(f"u,i,{T + row}\n" for row in range(200))
    (tmp_path / "log").write_text(f"user,item,time\n{good}\n\nu,i\n{good}u,i,x\n")
    (problem,) = refuse(tmp_path, None, max_bad_share=0.001)
    assert "log:204: wrong number of fields" in problem
    assert refuse(tmp_path, 99, max_bad_share=0.001) == (problem,)
    (tmp_path / "log").write_text("user,item,time\n" + "u,i,x\n" * 2500 + good)
    (problem,) = refuse(tmp_path, None)
    assert "none of its first 1,000 lines can be read" in problem
    assert refuse(tmp_path, 10_000) == (problem,)
    (tmp_path / "log").write_text("user,item,time\n")
    assert refuse(tmp_path, 5) == refuse(tmp_path, None)


def test_texts_of_many_bad_lines_are_kept_up_to_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("din_train.logs.rejects.MANY_BAD_LINES", 30)
    monkeypatch.setattr("din_train.logs.table.FIRST_LINES", 30)
    (tmp_path / "log").write_text("user,item,time\n" + "".join(f"u,i,{T + row}\nu,i\n" for row in range(100)))
    check_same(tmp_path, [200])
    log, _, _ = read(make_data(tmp_path), tmp_path / "again", 200)
    assert log.reports[0].notes == {"bad lines after the first 30, whose texts are not kept": 70}
    assert log.reports[0].rejected == {"wrong number of fields": 100}
    assert [json.loads(line)["line"] for line in log.rejected.read_text().splitlines()] == [*range(3, 63, 2)]
