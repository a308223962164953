"""What is known of a behaviour beside its item, and sample weights: from the log to batches, by hand."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from log_factory import make_config, read_events, read_values, write_table

from din_train.batches import build_batch
from din_train.dataset.prepare import prepare_data
from din_train.dataset.protocols import Split
from din_train.dataset.store import PreparedData, open_store
from din_train.dataset.time_fields import VALUES, compute_time_gap
from din_train.errors import DataError
from din_train.training.training_batches import TrainingBatches

START = 1_400_000_000
HEADER = ["user", "item", "time", "type", "dwell"]
ROWS = [
    ["u", "a", START, "view", "3"],
    ["u", "b", START + 60, "cart", "50"],
    ["u", "c", START + 61, "", "7"],
    ["u", "d", START + 3600, "buy", "9"],
    ["v", "b", START, "view", ""],
    ["v", "e", START + 5, "view", "4"],
]
LOG: dict[str, Any] = {
    "columns": {"user": "user", "item": "item", "timestamp": "time"},
    "protocol": "paper",
    "behaviour_fields": ["type", "time_gap", "dwell"],
}


def prepare(folder: Path, rows: list[list[Any]] = ROWS, **data: Any) -> PreparedData:
    write_table(folder / "log.tsv", HEADER, rows)
    config = make_config(folder, data={**LOG, **data})
    prepare_data(config, force=False, progress=lambda _: None)
    return open_store(config.data.prepared)


def test_gaps_are_cut_by_powers_of_two() -> None:
    times = START - np.array([0, 1, 2, 3, 4, 7, 8, 60, 2**40, -5])
    ids = compute_time_gap(np.full(10, START), times)
    names = ["0", "1", "2-3", "2-3", "4-7", "4-7", "8-15", "32-63", f"{2**25}-", "0"]
    assert [VALUES["time_gap"][each - 2] for each in ids] == names
    assert len(VALUES["time_gap"]) == 27


def test_fields_stand_beside_the_events(tmp_path: Path) -> None:
    data = prepare(tmp_path)
    assert read_values(data, "type") == {2: "view", 3: "cart", 4: "buy"}
    events = read_events(data)
    assert events["type"] == [2, 3, 1, 4, 2, 2]  # no value is unknown
    assert {name: ids.tolist() for name, ids in data.event_fields.items()} == {
        "type": events["type"],
        "dwell": events["dwell"],
    }
    assert (data.num_values["type"], data.num_values["time_gap"]) == (5, 29)
    assert data.context_fields == ()


def test_a_batch_has_them_parallel_to_the_items(tmp_path: Path) -> None:
    data = prepare(tmp_path)
    test = data.samples(Split.TEST, 2)  # the newest two
    inputs, _ = build_batch(data, test, np.arange(len(test)), 2, ["type", "time_gap"])
    rows = [row for row in range(len(test)) if test.labels[row]]
    assert inputs["history_type"][rows].tolist() == [[3, 1], [2, 0]]
    # u's target is 3540 and 3539 s after its behaviours (2048-4095), v's 5 s after (4-7)
    gap = {name: place + 2 for place, name in enumerate(VALUES["time_gap"])}
    assert inputs["history_time_gap"][rows].tolist() == [[gap["2048-4095"]] * 2, [gap["4-7"], 0]]
    assert set(inputs) - {"history_type", "history_time_gap"} == set(build_batch(data, test, np.arange(1), 2)[0])


def test_a_column_may_be_context_and_behaviour_field(tmp_path: Path) -> None:
    data = prepare(tmp_path, context_fields=["type"], behaviour_fields=["type"])
    assert data.samples(Split.TEST, 9).context["type"].tolist() == [4, 4, 2, 2]
    assert data.event_fields["type"].tolist() == [2, 3, 1, 4, 2, 2]


def test_numbers_are_cut_where_training_behaviours_are(tmp_path: Path) -> None:
    """Training sees a and b of u: 3 and 50, the first and the second third; 7, 9 and 4 have no say."""
    data = prepare(tmp_path, numeric_fields=["dwell"], num_buckets=3)
    assert read_values(data, "dwell") == {2: "[-inf, 50)", 3: "[50, inf)"}
    assert data.event_fields["dwell"].tolist() == [2, 3, 2, 2, 1, 2]
    assert data.num_values["dwell"] == 4
    inputs, _ = build_batch(data, data.samples(Split.TEST, 9), np.arange(1), 9, ["dwell"])
    assert inputs["history_dwell"][0, :3].tolist() == [2, 3, 2]
    values = data.manifest.field_values["dwell"]
    assert (values.kind, values.size, values.missing, values.unread) == ("events", 6, 1, 0)


def test_numbers_of_behaviours_that_cannot_be_read_are_counted(tmp_path: Path) -> None:
    rows = [[*row[:4], {"50": "long", "9": "short"}.get(row[4], row[4])] for row in ROWS]
    with pytest.raises(DataError, match=r"data\.numeric_fields: dwell: 2 of 5 values are no numbers, such as 'long'"):
        prepare(tmp_path, rows, numeric_fields=["dwell"])
    data = prepare(tmp_path, rows, numeric_fields=["dwell"], max_unread_share=0.4)
    assert data.event_fields["dwell"].tolist()[1] == 1
    assert data.manifest.field_values["dwell"].unread == 2


def test_gaps_need_unix_times(tmp_path: Path) -> None:
    rows = [[*row[:2], place, *row[3:]] for place, row in enumerate(ROWS)]
    with pytest.raises(DataError, match=r"data\.behaviour_fields: time_gap: needs unix times"):
        prepare(tmp_path, rows)


def test_weights_of_the_log_are_those_of_samples_and_batches(tmp_path: Path) -> None:
    rows = [[*row[:4], str(place / 2)] for place, row in enumerate(ROWS)]
    data = prepare(tmp_path, rows, columns={**LOG["columns"], "weight": "dwell"}, behaviour_fields=[])
    train = data.samples(Split.TRAIN, 9)
    assert train.weights is not None
    # targets b, c of u; a sampled negative has its positive's
    assert train.weights.tolist() == [0.5, 0.5, 1.0, 1.0]
    assert train.take(np.array([3])).weights.tolist() == [1.0]
    options: dict[str, Any] = {"batch_size": 4, "max_history_length": 9, "unknown_rate": 0.0, "seed": 1}
    for padded in (False, True):
        batches = TrainingBatches(data, train, **options, padded=padded)
        (batch,) = batches
        inputs, labels, weights = batch
        by_length = {1: 0.5, 2: 1.0}  # b has one behaviour before it, c two
        lengths = inputs["history_length"] if padded else inputs["history_length"][inputs["history_row"]]
        assert weights.tolist() == [by_length[each] for each in lengths.tolist()]
        (tensors,) = batches.to_dataset()
        assert tensors[2].numpy().tolist() == weights.tolist()
        assert labels.shape == weights.shape
