"""Which rows of a log are new, and what is in their histories."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from log_factory import Event, make_config, write_log

from din_train.dataset.prepare import prepare_data
from din_train.dataset.protocols import Split
from din_train.dataset.store import PreparedData, open_store
from din_train.drift.distributions import compare_distributions
from din_train.drift.new_log import check_source, choose_scored, open_new_log
from din_train.errors import ConfigError, DataError

DAY = 86_400
START = 1_600_000_000 // DAY * DAY
OLD = [("u", f"i{day}", "c", START + day * DAY) for day in range(6)] + [
    ("v", f"i{day + 1}", "c", START + day * DAY) for day in range(6)
]
# A user who is new, and one who is not; i0 to i6 are known.
NEW = [("u", "i3", "c", START + 6 * DAY), ("u", "i9", "d", START + 7 * DAY), ("w", "i4", "c", START + 7 * DAY)]
TIME = {"protocol": "time", "time_split": {"validation_from": START + 3 * DAY, "test_from": START + 5 * DAY}}


def prepare(folder: Path, events: Sequence[Event] = OLD, **changes: Any) -> tuple[Any, PreparedData]:
    write_log(folder / "log.tsv", events)
    config = make_config(folder, **changes)
    prepare_data(config, force=False, progress=lambda _: None)
    return config, open_store(config.data.prepared)


def read_targets(data: PreparedData, most: int = 100) -> list[tuple[int, int]]:
    """History length and days since the newest behaviour of each positive, by user and time."""
    samples = data.samples(Split.TEST, most)
    chosen = samples.labels == 1
    gap = samples.context["days_since_last"][chosen].tolist()
    return list(zip(samples.history_length[chosen].tolist(), gap, strict=True))


def test_new_rows_have_the_history_before_them(tmp_path: Path) -> None:
    config, run_data = prepare(tmp_path, data={"context_fields": ["days_since_last"]})
    log_file = write_log(tmp_path / "new.tsv", OLD + NEW)
    with open_new_log(config, run_data, {"input": log_file}) as log:
        assert log.last == START + 5 * DAY
        assert sorted(set(log.moments.tolist())) == [START + 6 * DAY, START + 7 * DAY]
        assert (log.has_history, log.is_frozen, log.is_new_event.sum()) == (True, False, 3)
        # Ids 2 and 3 are 0 and 1 days; id 1: there is none before.
        assert read_targets(log.data) == [(6, 3), (7, 3), (0, 1)]
        assert read_targets(choose_scored(log, config).data) == [(6, 3), (7, 3)]
        assert log.data.num_items == run_data.num_items + 1
        assert not any("shorter history" in line for line in log.describe())
        folder = log.data.folder
        assert folder.exists()
    assert not folder.exists()
    with open_new_log(config, run_data, {"input": write_log(tmp_path / "new.tsv", OLD[4:6] + NEW)}) as log:
        assert [length for length, _ in read_targets(log.data)] == [2, 3, 0]
        assert f"begins at {log.times.show(OLD[4][3])}, and the run's data set at 2020-09-13" in log.describe()[1]


def test_under_protocol_time_histories_end_at_the_last_known_event(tmp_path: Path) -> None:
    config, run_data = prepare(tmp_path, data={"context_fields": ["days_since_last"], **TIME})
    with open_new_log(config, run_data, {"input": write_log(tmp_path / "new.tsv", OLD + NEW)}) as log:
        assert log.is_frozen
        assert read_targets(log.data) == [(6, 3), (6, 4), (0, 1)]  # 2 to 3 days since the last are id 4
        train, test = (run_data.samples(split, 100) for split in (Split.TRAIN, Split.TEST))
        rows = log.data.samples(Split.TEST, 100)
        compared = compare_distributions(config.data, run_data, log, training=train, tested=test, targets=rows)
        (gap,) = [each for each in compared if each.name == "days_since_last"]
        assert (gap.psi, (gap.not_compared or "").startswith("histories end at the run's last event")) == (None, True)
    with open_new_log(config, run_data, {"input": write_log(tmp_path / "new.tsv", NEW)}) as log:
        assert not log.is_frozen
        assert [length for length, _ in read_targets(log.data)] == [0, 1, 0]


def test_times_of_another_kind_are_refused(tmp_path: Path) -> None:
    config, run_data = prepare(tmp_path)
    log_file = write_log(
        tmp_path / "new.tsv", [(user, item, category, time - START) for user, item, category, time in NEW]
    )
    with (
        pytest.raises(DataError, match="one of the two has no unix times, so what is new cannot be told"),
        open_new_log(config, run_data, {"input": log_file}),
    ):
        pass


def test_negatives_by_popularity_are_drawn_as_in_the_run(tmp_path: Path) -> None:
    negatives = {"distribution": "popularity", "exclude": "history", "evaluation_per_positive": 3}
    others = [("x", f"j{day % 4}", "c", START + day * 9_000) for day in range(20)]
    config, run_data = prepare(tmp_path, OLD + others, negatives=negatives)
    log_file = write_log(tmp_path / "new.tsv", OLD + others + NEW)
    with open_new_log(config, run_data, {"input": log_file}) as log:
        samples = log.data.samples(Split.TEST, 100)
        drawn = samples.target_item_ids[samples.labels == 0]
        assert len(drawn) == 3 * 3
        assert (run_data.training_events[drawn] > 0).all()


def test_what_the_filters_of_the_training_would_leave_out_is_measured(tmp_path: Path) -> None:
    filters = {"until": START + 5 * DAY, "k_core": 2}
    config, run_data = prepare(tmp_path, filters=filters, vocabulary={"min_count": 1})
    with open_new_log(config, run_data, {"input": write_log(tmp_path / "new.tsv", OLD + NEW)}) as log:
        assert log.last == START + 5 * DAY - 1
        assert len(log.moments) == 2 * (len(NEW) + 2)
        assert "filters.k_core" in log.describe()[-1]


def test_runs_of_which_nothing_can_be_new(tmp_path: Path) -> None:
    columns = {"user": "user", "item": "item", "timestamp": "file-order"}
    with pytest.raises(ConfigError, match="has no times"):
        check_source(make_config(tmp_path, data={"columns": columns}))
    files = {"train": "a.txt", "test": "b.txt", "events": None, "columns": None}
    with pytest.raises(ConfigError, match="whose rows come with their histories"):
        check_source(make_config(tmp_path, data={"source": "x1", **files}))
