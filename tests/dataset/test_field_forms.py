"""Fields of several values, standardised numbers, given vectors and hashed ids, by hand, from the log to the model."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from log_factory import make_config, read_values, write_table

from din_train.batches import EvaluationBatches
from din_train.config.field_kinds import ListFieldConfig
from din_train.dataset.fields import ListIds, measure_numbers, pad_lists, split_values
from din_train.dataset.prepare import prepare_data
from din_train.dataset.protocols import Split
from din_train.dataset.store import PreparedData, open_store
from din_train.dataset.vocabulary import RawIds, hash_values
from din_train.errors import ConfigError, DataError
from din_train.model.build import build_model

HEADER = ["user", "item", "category", "time", "genres", "price", "tags", "age"]
ROWS = [
    ["u", "a", "x", 1, "drama|war", 1, "new|hot", 20],
    ["u", "b", "y", 2, "war", 3, "hot", 20],
    ["u", "c", "x", 3, "", "", "", 20],
    ["u", "d", "x", 4, "comedy|drama|war", 8, "new|late", 20],
    ["v", "a", "x", 1, "drama|war", 1, "new", 40],
    ["v", "c", "x", 2, "", "", "hot|new", 40],
    ["v", "e", "x", 3, "['drama', 'war']", 1000, "late", 40],
]
FORMS: dict[str, Any] = {
    "item_fields": ["genres", "price"],
    "user_fields": ["age"],
    "context_fields": ["tags"],
    "standardized_fields": ["price", "age"],
    "list_fields": {"genres": {"pooling": "sum", "max_values": 2}, "tags": {"pooling": "max"}},
    "protocol": "paper",
}


def prepare(folder: Path, rows: list[list[Any]] = ROWS, **changes: Any) -> PreparedData:
    write_table(folder / "log.tsv", HEADER, rows)
    data = {**FORMS, **changes.pop("data", {})}
    config = make_config(folder, data=data, **changes)
    prepare_data(config, force=False, progress=lambda _: None)
    return open_store(config.data.prepared)


def hash_by_hand(text: str, buckets: int) -> int:
    return 2 + int(hashlib.sha256(text.encode()).hexdigest()[:16], 16) % buckets


def test_a_field_of_several_values_has_their_ids(tmp_path: Path) -> None:
    data = prepare(tmp_path)
    # by events: drama a a d(second of three, kept) e, war a a b e; d keeps its first two
    assert read_values(data, "genres") == {2: "drama", 3: "war", 4: "comedy"}
    # padding, unknown, a, c, b, d, e
    assert data.item_fields["genres"].tolist() == [[0, 0], [1, 0], [2, 3], [1, 0], [3, 0], [4, 2], [2, 3]]
    assert data.num_values["genres"] == 5
    stored = pq.read_table(data.folder / "items.parquet")["genres_ids"]
    assert stored.to_pylist() == [[2, 3], [1], [3], [4, 2], [2, 3]]


def test_a_context_field_of_several_values_is_a_list_a_sample(tmp_path: Path) -> None:
    data = prepare(tmp_path)
    assert read_values(data, "tags") == {2: "new", 3: "hot", 4: "late"}
    train, test = (data.samples(split, 100) for split in (Split.TRAIN, Split.TEST))
    # positives b, c of u and c of v, a negative each; the tests are d and e
    assert train.context["tags"].tolist() == [[3, 0], [3, 0], [1, 0], [1, 0], [3, 2], [3, 2]]
    assert test.context["tags"].tolist() == [[2, 4], [2, 4], [4, 0], [4, 0]]
    assert data.context_widths == {"tags": 2}
    rare = prepare(tmp_path, vocabulary={"min_count": 1})  # late is in no training event
    assert read_values(rare, "tags") == {2: "new", 3: "hot"}
    assert rare.samples(Split.TEST, 100).context["tags"].tolist() == [[2, 0], [2, 0], [1, 0], [1, 0]]


def test_numbers_are_standardised_by_the_training_rows(tmp_path: Path) -> None:
    data = prepare(tmp_path)
    # training items a (1), b (3), c (none): mean 2, deviation 1; d and e are only tested
    prices = [[0, 0], [0, 1], [-1, 0], [0, 1], [1, 0], [6, 0], [998, 0]]
    assert data.item_fields["price"].tolist() == prices
    assert data.user_fields["age"].tolist() == [[0, 0], [0, 1], [-1, 0], [1, 0]]
    price = data.manifest.field_values["price"]
    assert (price.mean, price.standard_deviation, price.missing) == (2.0, 1.0, 1)
    assert "price" not in data.num_values


def test_numbers_without_spread_or_training_rows() -> None:
    nothing = np.array([np.nan, np.nan])
    assert measure_numbers(nothing, np.array([1, 1])) == (0.0, 1.0)
    assert measure_numbers(np.array([5.0, 5, 9]), np.array([1, 2, 0])) == (5.0, 1.0)
    assert measure_numbers(np.array([1.0, 3, np.nan]), np.array([0, 0, 4])) == (2.0, 1.0)


def test_texts_and_lists_are_cut_alike() -> None:
    spec = ListFieldConfig(separator=",", max_values=2)
    expected = [["a", "b"], ["c"], [], [], ["a", "a"]]
    texts = pa.array(["a, b,c", "c", "", None, "a,NULL,a"])
    lists = pa.array([["a", "b", "c"], ["", "c"], [], None, ["a", None, "a"]])
    for column in (texts, lists):
        assert split_values(column, spec, ["NULL"])[0].to_pylist() == expected
    cut, broken = split_values(pa.array(["[1, 2]", "[1, [2]]"]), spec, [])
    assert (cut.to_pylist(), broken.tolist()) == ([["1", "2"], []], [False, True])


def test_unknown_values_are_left_out_unless_there_is_no_other() -> None:
    assert pad_lists(np.array([3, 1, 0]), np.array([1, 5, 4, 1], np.int32)).tolist() == [[5, 4], [1, 0], [1, 0]]
    known = ListIds(RawIds([None, None, "a", "b"]), ListFieldConfig(max_values=2), [])
    assert known.find(pa.array(["x|b", "x|y", "a|b|x", None])).tolist() == [[3, 0], [1, 0], [2, 3], [1, 0]]


def test_brackets_without_a_list_are_bad_lines(tmp_path: Path) -> None:
    rows = [[*row[:4], "[drama, [war]]", *row[5:]] if row[1] in "bd" else row for row in ROWS]
    with pytest.raises(DataError, match=r"2 of 7 lines cannot be read \(field in brackets that is no list: 2\)"):
        prepare(tmp_path, rows)


def test_hashed_ids_are_of_the_text_alone(tmp_path: Path) -> None:
    assert hash_values(pa.array(["a", None, "é"]), 1000).tolist() == [
        hash_by_hand("a", 1000), 1, hash_by_hand("é", 1000)
    ]  # fmt: skip
    buckets = {"item": 50, "category": 7, "genres": 100, "tags": 100}
    data = prepare(tmp_path, vocabulary={"hash_buckets": buckets})
    assert data.item_rows is not None
    assert data.item_rows.tolist() == [0, 1, *(hash_by_hand(item, 50) for item in "acbde")]
    assert data.item_fields["category"].tolist() == [0, 1, *(hash_by_hand(each, 7) for each in "xxyxx")]
    war, drama = hash_by_hand("war", 100), hash_by_hand("drama", 100)
    assert data.item_fields["genres"].tolist()[2:5] == [[drama, war], [1, 0], [war, 0]]
    assert data.samples(Split.TEST, 100).context["tags"].tolist()[2] == [hash_by_hand("late", 100), 0]
    assert {name: data.num_values[name] for name in buckets} == {"item": 52, "category": 9, "genres": 102, "tags": 102}
    config = make_config(tmp_path, data=FORMS, vocabulary={"hash_buckets": buckets})
    model = build_model(config.model, data, seed=1, fields=config.data)
    embedding = model.item_embedding
    assert embedding.items.shape == (52, 64)
    assert embedding.categories.shape == (9, 64)
    rows = embedding(np.array([2, 3])).numpy()
    assert rows[0, :64].tolist() == embedding.items.numpy()[hash_by_hand("a", 50)].tolist()
    assert rows[1, 64:128].tolist() == embedding.categories.numpy()[hash_by_hand("x", 7)].tolist()


def write_vectors(path: Path, items: list[str], vectors: Any) -> dict[str, Any]:
    pq.write_table(pa.table({"asin": items, "vector": vectors}), path)
    return {"item_vectors": {"image": {"path": str(path), "key": "asin", "units": 3}}}


def test_given_vectors_by_item(tmp_path: Path) -> None:
    lists = [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0], [7.0, 8.0]]
    image = write_vectors(tmp_path / "image.parquet", ["a", "other", "d", "a"], lists)
    data = prepare(tmp_path, data=image)
    # padding, unknown, a, c, b, d, e
    assert data.item_vectors["image"].tolist() == [[0, 0], [0, 0], [1, 2], [0, 0], [0, 0], [5, 6], [0, 0]]
    join = next(each for each in data.manifest.joins if each.file == "image.parquet")
    assert (join.kind, join.size, join.found) == ("items", 5, 2)
    assert "image.parquet: 1 rows have an item's second vector; it is left out" in data.manifest.remarks
    assert [each.name for each in data.manifest.inputs] == ["log.tsv", "image.parquet"]
    # changed vectors are another data set
    write_vectors(tmp_path / "image.parquet", ["a"], [[9.0, 9.0]])
    assert prepare(tmp_path, data=image).item_vectors["image"].tolist()[2] == [9, 9]


@pytest.mark.parametrize(
    ("items", "vectors", "message"),
    [
        (["x", "y"], [[1.0], [2.0]], r"of 5 items, 0 have a vector in it; the log has 'a', the file 'x'"),
        (["a", "b"], [[1.0, 2.0], [2.0]], r"row 2: column 'vector' has 1 numbers, expected 2 as in row 1"),
        (["a", "b"], [[1.0], None], r"row 2: column 'vector' has no vector, expected 1"),
        (["a", "b"], [[1.0], [float("nan")]], r"row 2: column 'vector' has a value that is no finite number"),
        (["a"], ["0.5 0.2"], r"column 'vector' is of type string \(read as Parquet\), expected lists of floats"),
    ],
)
def test_vectors_that_cannot_be_used(tmp_path: Path, items: list[str], vectors: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        prepare(tmp_path, data=write_vectors(tmp_path / "image.parquet", items, vectors))


def test_a_file_of_vectors_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "image.parquet").write_text("1,2\n3,4\n")
    with pytest.raises(DataError, match=r"none of the columns item, vector is in its header"):
        prepare(tmp_path, data={"item_vectors": {"image": {"path": str(tmp_path / "image.parquet")}}})
    (tmp_path / "image.parquet").unlink()
    with pytest.raises(DataError, match=r"data\.item_vectors\.image: .*no such file"):
        prepare(tmp_path, data={"item_vectors": {"image": {"path": str(tmp_path / "image.parquet")}}})


def test_every_form_reaches_the_score_and_a_batch_is_the_same_alone(tmp_path: Path) -> None:
    image = write_vectors(tmp_path / "image.parquet", ["a", "b", "d"], [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    data = prepare(tmp_path, data=image)
    config = make_config(tmp_path, data={**FORMS, **image}, model={"name": "din", "mlp": {"hidden_units": [8]}})
    model = build_model(config.model, data, seed=1, fields=config.data)
    samples = data.samples(Split.TRAIN, 100)

    def score(size: int) -> Any:
        batches = EvaluationBatches(data, samples, batch_size=size, max_history_length=100)
        return np.concatenate([model.score(inputs).numpy() for inputs, _ in batches])

    before = score(6)
    assert score(1) == pytest.approx(before, abs=1e-6)
    genres, price = model.item_embedding.other_fields.tables
    for table in (genres, price, model.profile_embedding.tables[0], model.context_embedding.tables[0]):
        values = table.numpy()
        table.assign(values + 3.0)
        assert not np.allclose(score(6), before, atol=1e-5)
        table.assign(values)
    projection = model.item_embedding.given_vectors[0].projection
    projection.assign(projection * 2)
    assert not np.allclose(score(6), before, atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"data": {"standardized_fields": ["genres"]}},
            "received 'genres', which is in data.stand",
        ),
        (
            {"data": {"list_fields": {"hour": {}}, "context_fields": ["hour"]}},
            "received 'hour', which is no item, user",
        ),
        (
            {"vocabulary": {"hash_buckets": {"price": 9}}},
            "received 'price', expected",
        ),
        ({"metrics": {"group": "tags"}}, "received 'tags', expected user, request"),
        ({"model": {"name": "din", "behaviour_fields": ["type"]}}, "received 'type', which is not in data.behaviour_"),
        ({"data": {"item_vectors": {"genres": {"path": "x"}}}}, "received 'genres', a name that"),
    ],
)
def test_forms_that_do_not_fit_are_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    data = {**FORMS, **changes.pop("data", {})}
    with pytest.raises((ConfigError, ValueError), match=message):
        make_config(tmp_path, data=data, **changes)
