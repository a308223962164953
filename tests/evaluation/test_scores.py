"""The scores of a run's rows: written whole, read back to the bit, refused when damaged."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scored_rows import make_rows

from din_train.checksums import indexed_file
from din_train.errors import DamagedError, RunError
from din_train.evaluation.scores import read_scores, write_scores

ROWS = make_rows(
    user_id=np.array([2, 2, 3], np.int32),
    target_item_id=np.array([5, 1, 7], np.int32),
    history_length=np.array([0, 4, 9], np.int32),
    label=np.array([1, 0, 1], np.int8),
    logit=np.array([0.1, -2.5, 30.0], np.float32),
)


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    write_scores(tmp_path / "scores.test.parquet", ROWS)
    back = read_scores(tmp_path / "scores.test.parquet")
    for name in ("user_id", "target_item_id", "history_length", "label", "logit"):
        np.testing.assert_array_equal(getattr(back, name), getattr(ROWS, name))
        assert getattr(back, name).dtype == getattr(ROWS, name).dtype
    assert back.click_probabilities == pytest.approx(1 / (1 + np.exp(-ROWS.logit.astype(float))))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checksums.json", "scores.test.parquet"]


def test_rows_are_taken_in_all_columns() -> None:
    taken = ROWS.take(np.array([True, False, True]))
    assert (taken.user_id.tolist(), taken.label.tolist(), len(taken)) == ([2, 3], [1, 1], 2)


def test_missing_cut_and_foreign_files_are_refused_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "run" / "scores.test.parquet"
    path.parent.mkdir()
    with pytest.raises(RunError, match=r"no such file; write it with `din-train eval --run-dir .*run`"):
        read_scores(path)
    write_scores(path, ROWS)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(
        DamagedError, match=r"scores.test.parquet: damaged or changed .*; write it with `din-train eval"
    ):
        read_scores(path)
    with indexed_file(path) as temporary:
        pq.write_table(pa.table({"user": ["a"]}), temporary)
    with pytest.raises(RunError, match="its columns are not those of scores"):
        read_scores(path)
