"""Tables that begin as a truncated SVD: against NumPy's, and blind to events of other splits."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from log_factory import make_config, prepare_events
from threadpoolctl import threadpool_limits

from din_train.dataset.store import PreparedData
from din_train.dataset.training_rows import read_rows
from din_train.model.build import build_model
from din_train.model.embedding import ItemEmbedding
from din_train.model.spectral import compute_spectral_rows, initialize_spectral

USERS = np.array([2, 2, 2, 3, 3, 4, 4, 4, 5, 2])
IDS = np.array([2, 3, 4, 2, 3, 4, 6, 3, 6, 2])  # user 2 has id 2 twice; id 5 does not occur


def test_the_rows_are_those_of_numpys_decomposition() -> None:
    table = np.random.default_rng(1).normal(0, 0.01, (8, 4)).astype(np.float32)
    matrix = np.zeros((4, 4))
    matrix[USERS - 2, np.searchsorted([2, 3, 4, 6], IDS)] = 1
    assert matrix.tolist() == [[1, 1, 1, 0], [1, 1, 0, 0], [0, 1, 1, 1], [0, 0, 0, 1]]
    scaled = matrix / np.sqrt(np.outer(matrix.sum(1), matrix.sum(0)))
    _, values, right = np.linalg.svd(scaled)
    expected = right.T @ np.diag(values) @ right  # [ids, ids], whatever the signs
    got = compute_spectral_rows(USERS, IDS, table)
    rows = got[[2, 3, 4, 6]].astype(np.float64)
    np.testing.assert_allclose(rows @ rows.T / np.trace(rows @ rows.T), expected / np.trace(expected), atol=1e-6)
    assert np.sqrt(np.mean(rows**2)) == pytest.approx(0.01)
    assert np.array_equal(got[[0, 1, 5, 7]], table[[0, 1, 5, 7]])


def test_a_table_wider_than_the_rank_keeps_its_last_columns() -> None:
    table = np.random.default_rng(1).normal(0, 0.01, (8, 9)).astype(np.float32)
    got = compute_spectral_rows(USERS, IDS, table)
    assert np.array_equal(got[:, 4:], table[:, 4:])
    np.testing.assert_array_equal(got[:, :4], compute_spectral_rows(USERS, IDS, table[:, :4].copy()))
    nothing = np.zeros(0, np.int64)
    assert np.array_equal(compute_spectral_rows(nothing, nothing, table), table)


def test_bits_do_not_depend_on_threads() -> None:
    random = np.random.default_rng(2)
    users, ids = random.integers(2, 400, 4_000), random.integers(2, 300, 4_000)
    table = np.zeros((300, 16), np.float32)
    found = []
    for threads in (1, 4):
        with threadpool_limits(threads):
            found.append(compute_spectral_rows(users, ids, table))
    assert np.array_equal(*found)


def initialize(data: PreparedData, *, refit: bool, **model: Any) -> ItemEmbedding:
    config = make_config(data.folder, model={"item_embedding_size": 4, "category_embedding_size": 4, **model})
    embedding = build_model(config.model, data, seed=1).item_embedding
    initialize_spectral(embedding, data, read_rows(data, config, refit=refit, max_history_length=100))
    return embedding


def test_events_of_validation_and_test_do_not_change_the_bits(tmp_path: Path) -> None:
    items = np.random.default_rng(3).integers(0, 20, 180)
    data, _ = prepare_events(tmp_path, [(f"u{n % 30}", f"i{item}", f"c{item % 6}", n) for n, item in enumerate(items)])
    planted = data.event_item_ids.copy()
    validation, test = (np.append(data.user_starts[3:], len(planted)) - back for back in (2, 1))
    planted[test] = 2
    of_test = replace(data, event_item_ids=planted.copy())
    planted[validation] = 3
    of_both = replace(data, event_item_ids=planted)

    def read_tables(data: PreparedData, *, refit: bool) -> list[Any]:
        embedding = initialize(data, refit=refit)
        return [embedding.items.numpy().tolist(), embedding.categories.numpy().tolist()]

    assert read_tables(data, refit=False) == read_tables(of_both, refit=False)
    assert read_tables(data, refit=True) == read_tables(of_test, refit=True)
    assert read_tables(data, refit=True) != read_tables(data, refit=False)


def test_items_that_share_a_row_are_one_column(tmp_path: Path) -> None:
    events = [(f"u{n % 9}", f"i{n % 7}", "c", n + 5) for n in range(80)]
    events += [(f"u{n}", f"rare{n}", "d", n) for n in range(5)]
    data, _ = prepare_events(tmp_path, events)
    sizes = {"item_embedding_size": 3, "category_embedding_size": 3, "min_item_count": 3}
    begun = initialize(data, refit=False, **sizes)
    random = build_model(make_config(tmp_path, model=sizes).model, data, seed=1).item_embedding
    assert begun.item_row_ids is not None
    rows = begun.item_row_ids.numpy()
    assert (rows == 1).sum() == 6  # five rare items, and the unknown one
    changed = (begun.items.numpy() != random.items.numpy()).all(axis=1)
    assert set(np.flatnonzero(changed)) == set(rows.tolist()) - {0}
