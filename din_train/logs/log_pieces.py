"""Reading a log's files in pieces, at the same time, so that the result is that of reading them one after another."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from din_train.errors import DataError
from din_train.files import published
from din_train.logs.delta import measure_input
from din_train.logs.event_types import EventTypes
from din_train.logs.event_writer import PIECE, EventWriter, measure_events
from din_train.logs.lines import Piece
from din_train.logs.log import Cluster, Measures, Offset, Progress
from din_train.logs.rejects import FIRST_LINES, MANY_BAD_LINES, Rejects
from din_train.logs.row_files import RowFile

if TYPE_CHECKING:
    from din_train.logs.table import EventReader

# What the rows of a log tell of those that follow: the form of times, whether a counter was among them, whether -1 is
# a label.
State = tuple[str | None, bool, bool | None]


@dataclass(frozen=True)
class OpenFile:
    """One of the log's files. names: role or column of the events -> name of the file's column."""

    rows: RowFile
    names: Mapping[str, str]


@dataclass(frozen=True)
class Part:
    """A piece of one of the log's files, which a task reads into a Parquet file of its own.

    number: its place among the pieces of all files. state: what the pieces before are taken to tell of it.
    """

    number: int
    file: OpenFile
    piece: Piece | None
    state: State
    most_texts: int


@dataclass(frozen=True)
class _ReadPart:
    """What became of a part. lines: of the file, blank ones too. given, state: what is told before and after it."""

    rejects: Rejects
    types: EventTypes | None
    lines: int
    given: State
    state: State
    measures: Measures
    error: DataError | None = None


def read_on_cluster(
    reader: "EventReader", rejects: Sequence[Rejects], folder: Path, cluster: Cluster, progress: Progress
) -> tuple[tuple[Offset, ...], Measures]:
    """Read the pieces of the log's files at the same time, each into a Parquet file in `folder`.

    A task does not know what the pieces before its own tell. It takes what the first rows of the log tell; a piece of
    which that was wrong is read again.
    """
    total = sum(measure_input(each.report.path) for each in rejects)
    files = [reader.open(each.report) for each in rejects]
    cuts = [file.rows.cut(cluster.choose_piece_bytes(total)) for file in files]
    guess = reader.read_beginning(files[0])
    pieces = [(file, piece, len(cut)) for file, cut in zip(files, cuts, strict=True) for piece in cut]
    parts = [
        Part(number, file, piece, guess if number else reader.state, max(MANY_BAD_LINES // count, FIRST_LINES))
        for number, (file, piece, count) in enumerate(pieces)
    ]
    results: dict[int, _ReadPart] = {}
    while missing := [part for part in parts if part.number not in results]:
        found = cluster.run(partial(_read_part, reader, folder), missing)
        results |= {part.number: each for part, each in zip(missing, found, strict=True)}
        state = reader.state
        for part in parts:
            if part.state != state:
                parts[part.number :] = [replace(each, state=state) for each in parts[part.number :]]
                wrong = [each.number for each in parts[part.number :] if results[each.number].given != state]
                for number in wrong:
                    del results[number]
                break
            state = results[part.number].state
    offsets, measures = [Offset(0, 0)], Measures()
    for each, cut in zip(rejects, cuts, strict=True):
        lines = 0
        for _piece in cut:
            before = offsets[-1]
            result = results[len(offsets) - 1]
            if result.error is not None:
                raise result.error
            report = result.rejects.report
            offsets.append(Offset(before.events + report.kept, before.rows + report.lines))
            measures = measures.join(reader.shift(result.measures, before))
            each.add_part(result.rejects, lines)
            if reader.types is not None and result.types is not None:
                reader.types.add(result.types)
            lines += result.lines
        each.check_share()
    reader.state = results[len(parts) - 1].state
    progress(total)
    return tuple(offsets[:-1]), measures


def _read_part(reader: "EventReader", folder: Path, part: Part) -> _ReadPart:
    reader = copy.deepcopy(reader)
    reader.state = part.state
    rejects = reader.start_part(part)
    try:
        measures = _write_part(reader, folder, part, rejects)
    except DataError as error:  # which may come of a state that is wrong
        return _ReadPart(rejects, None, 0, part.state, part.state, Measures(), error)
    lines = 0 if part.piece is None else part.piece.lines
    return _ReadPart(rejects, reader.types, lines, part.state, reader.state, measures)


def _write_part(reader: "EventReader", folder: Path, part: Part, rejects: Rejects) -> Measures:
    number = pa.field(PIECE, pa.int32())
    with published(folder / f"{part.number:06}.parquet") as path:
        with EventWriter(path, [*reader.schema, number]) as events:
            for columns in reader.read(part.file, rejects, lambda _bytes: None, part.piece):
                events.add_columns([*columns, pa.repeat(pa.scalar(part.number, number.type), len(columns[0]))])
        return measure_events(path)
