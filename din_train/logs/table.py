"""Any log with one event a row: CSV, TSV (plain or .gz) or Parquet, told apart by content."""

from pathlib import Path

from din_train.config import ColumnsConfig, DataConfig
from din_train.logs.event_writer import EventWriter
from din_train.logs.lines import read_magic
from din_train.logs.log import FileReport, Progress, RawLog
from din_train.logs.rejects import Rejects
from din_train.logs.table_parquet import read_parquet
from din_train.logs.table_text import read_text


def read_table(data: DataConfig, columns: ColumnsConfig, path: Path, folder: Path, progress: Progress) -> RawLog:
    """Read a table of events into files in `folder`.

    Raises:
        DataError: where the file cannot be read, lacks a column, has too many bad lines, or no event.
    """
    report = FileReport(path)
    log = RawLog(folder / "events.parquet", None, folder / "rejected.jsonl", (report,))
    read = read_parquet if read_magic(path).startswith(b"PAR1") else read_text
    with log.rejected.open("wb") as rejected, EventWriter(log.events, with_category=True) as events:
        rejects = Rejects(rejected, report, data)
        read(columns, rejects, events, progress)
        rejects.check_share()
        rejects.check_kept()
    return log
