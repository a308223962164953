"""Runs a reader on small files and shows what it wrote."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from din_train.config import ColumnsConfig, DataConfig
from din_train.logs import FileReport, RawLog, RawSamples, input_files, read_log, read_samples

COLUMNS = ColumnsConfig(user="user", item="item", timestamp="time", category="category")


@dataclass
class Outcome:
    """What a reader wrote, as plain rows in column order."""

    log: RawLog

    @property
    def events(self) -> list[tuple[Any, ...]]:
        return [tuple(row.values()) for row in pq.read_table(self.log.events).to_pylist()]

    @property
    def items(self) -> list[tuple[Any, ...]]:
        assert self.log.items is not None
        return [tuple(row.values()) for row in pq.read_table(self.log.items).to_pylist()]

    @property
    def users(self) -> list[tuple[Any, ...]]:
        assert self.log.users is not None
        return [tuple(row.values()) for row in pq.read_table(self.log.users).to_pylist()]

    @property
    def rejected(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.rejected.read_bytes().splitlines()]

    @property
    def report(self) -> FileReport:
        return self.log.reports[0]


@dataclass
class Runner:
    """Reads files that lie in `folder`, or contents that it writes there first."""

    folder: Path
    written: int = 0

    def amazon(
        self, reviews: Path | bytes, items: Path | bytes, release: str = "amazon-2018", max_bad_share: float = 0.5
    ) -> Outcome:
        return self.run(
            DataConfig.model_validate(
                {
                    "source": release,
                    "reviews": self.file(reviews),
                    "items": self.file(items),
                    "prepared": self.folder,
                    "max_bad_share": max_bad_share,
                }
            )
        )

    def table(self, events: Path | bytes, columns: ColumnsConfig = COLUMNS, max_bad_share: float = 0.5) -> Outcome:
        return self.run(
            DataConfig(
                source="table",
                events=self.file(events),
                columns=columns,
                prepared=self.folder,
                max_bad_share=max_bad_share,
            )
        )

    def source(self, source: str, *, max_bad_share: float = 0.5, **values: Any) -> Outcome:
        """Read a log of any source; contents and paths under the config's keys for files."""
        files = {key: self.file(value) if isinstance(value, bytes) else value for key, value in values.items()}
        common = {"source": source, "prepared": self.folder, "max_bad_share": max_bad_share}
        return self.run(DataConfig.model_validate({**common, **files}))

    def ready_made(
        self, train: Path | bytes, test: Path | bytes, max_bad_share: float = 0.5
    ) -> tuple[list[tuple[Any, ...]], RawSamples]:
        """The rows of an x1 log, see `show_samples`, and what was read."""
        files = {"train": self.file(train), "test": self.file(test)}
        common = {"source": "x1", "prepared": self.folder, "max_bad_share": max_bad_share}
        data = DataConfig.model_validate({**common, **files})
        raw = read_samples(data, self.folder, lambda _: None)
        return show_samples(raw), raw

    def run(self, data: DataConfig) -> Outcome:
        steps: list[int] = []
        log = read_log(data, self.folder, steps.append)
        assert sum(steps) == sum(path.stat().st_size for path in input_files(data))
        return Outcome(log)

    def file(self, content: Path | bytes) -> Path:
        if isinstance(content, Path):
            return content
        self.written += 1
        path = self.folder / f"input-{self.written}"
        path.write_bytes(content)
        return path


def show_samples(raw: RawSamples) -> list[tuple[Any, ...]]:
    """label, user, item, category, items and categories of the history joined by `^`, split and ordinal of each row."""
    items, categories = raw.items.to_pylist(), raw.values["category"].to_pylist() if "category" in raw.values else []
    histories = {row["history"]: row for row in pq.read_table(raw.histories).to_pylist()}

    def join(row: dict[str, Any], role: str, texts: list[str]) -> str:
        codes = histories[row["history"]].get(f"{role} 0") or []
        return "^".join("" if code is None else texts[code] for code in codes)

    return [
        (
            *(row["label"], row["user"], row["item"], row.get("category")),
            *(join(row, "item", items), join(row, "category", categories), row["split"], row["ordinal"]),
        )
        for row in pq.read_table(raw.log.events).to_pylist()
    ]


def lines(*records: object) -> bytes:
    """One JSON object a line; strings and bytes as they are."""
    return b"".join(_encode(record) + b"\n" for record in records)


def literals(*records: object) -> bytes:
    """One Python literal a line."""
    return "".join(f"{record!r}\n" for record in records).encode()


def review(user: object = "u", item: object = "i", time: object = 5, **more: object) -> dict[str, object]:
    return {"reviewerID": user, "asin": item, "unixReviewTime": time, **more}


def _encode(record: object) -> bytes:
    if isinstance(record, bytes):
        return record
    return record.encode() if isinstance(record, str) else json.dumps(record).encode()
