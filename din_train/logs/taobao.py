"""Taobao's UserBehavior.csv: user, item, category, behaviour type, unix seconds; no header."""

from pathlib import Path
from typing import get_args

from din_train.config import DataConfig
from din_train.config.data import Behaviour
from din_train.logs.event_writer import EventWriter
from din_train.logs.log import FileReport, Progress, RawLog, field_column
from din_train.logs.rejects import Rejects
from din_train.logs.table_text import Layout, WantedTypes, read_text
from din_train.logs.time_unit import TimeUnit

_USER, _ITEM, _CATEGORY, _BEHAVIOUR, _TIMESTAMP, _WIDTH = range(6)


def read_taobao(data: DataConfig, path: Path, folder: Path, progress: Progress) -> RawLog:
    """Read the events of the behaviour types in `data.behaviours` into files in `folder`.

    Raises:
        DataError: where the file cannot be read, has too many bad lines, or no event.
    """
    texts = {"category": _CATEGORY}
    if "behaviour" in data.context_fields:
        texts[field_column("behaviour")] = _BEHAVIOUR
    layout = Layout(
        delimiter=",",
        width=_WIDTH,
        user=_USER,
        item=_ITEM,
        timestamp=_TIMESTAMP,
        texts=texts,
        types=WantedTypes(_BEHAVIOUR, get_args(Behaviour), data.behaviours or get_args(Behaviour)),
        nulls=frozenset(data.null_values),
    )
    report, unit = FileReport(path), TimeUnit("seconds")
    events_path, rejected_path = folder / "events.parquet", folder / "rejected.jsonl"
    with rejected_path.open("wb") as rejected, EventWriter(events_path, texts=list(texts)) as events:
        rejects = Rejects(rejected, report, data)
        read_text(lambda _: (layout, False), rejects, events, unit, progress)
        rejects.check_share()
        rejects.check_kept()
    return RawLog(events_path, None, None, rejected_path, (report,), labelled=False, ticks=unit.ticks)
