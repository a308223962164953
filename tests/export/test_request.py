"""What a request carries, for fields of every kind."""

from pathlib import Path

import pyarrow as pa
import pytest
from log_factory import make_config, prepare_events
from served_runs import HASHED, ITEMS, ServedRuns

from din_train.dataset.names import read_names
from din_train.dataset.store import open_store
from din_train.dataset.vocabulary import hash_values
from din_train.errors import ConfigError
from din_train.export.golden import Request, build_golden
from din_train.export.readme import build_rank_request, build_v2_request
from din_train.export.request import OUTPUTS, RequestInput, list_inputs, name_input, read_vocabularies

ROWS, POSITIONS = ["rows or 1"], ["rows or 1", "positions"]


def test_names_of_inputs_are_plain_and_stay_different() -> None:
    assert name_input("history", "buy it") == "history_buy_it"
    assert name_input("\u7c7b\u522b") == "u7c7bu522b"  # two words of two letters each
    assert name_input("\u57ce\u5e02") == "u57ceu5e02"


def test_the_inputs_of_fields_of_every_kind(runs: ServedRuns) -> None:
    config = runs.open("din").config
    data = open_store(config.data.prepared)
    inputs = list_inputs(config, data, read_names(data))
    found = {each.name: (each.datatype, list(each.shape), each.vocabulary) for each in inputs}
    carts = ["rows or 1", "positions of carts"]
    assert found == {
        "item": ("BYTES", ["rows"], "item"),
        "user": ("BYTES", ROWS, "user"),
        "history": ("BYTES", POSITIONS, "item"),
        "history_kind": ("BYTES", POSITIONS, "kind"),
        "history_spent": ("FP64", POSITIONS, None),
        "history_timestamp": ("INT64", POSITIONS, None),
        "carts": ("BYTES", carts, "item"),
        "carts_kind": ("BYTES", carts, "kind"),
        "carts_spent": ("FP64", carts, None),
        "carts_timestamp": ("INT64", carts, None),
        "timestamp": ("INT64", ROWS, None),
        "tags": ("BYTES", ["rows or 1", "values of tags"], "tags"),
        "page": ("INT64", ROWS, None),
        "place": ("BYTES", ROWS, "place"),
        "item_category": ("BYTES", ROWS, "category"),
        "item_genres": ("BYTES", ["rows or 1", "values of genres"], "genres"),
        "item_price": ("FP64", ROWS, None),
        "item_level": ("FP64", ROWS, None),
        "item_shop": ("INT64", ROWS, None),
    }
    by_name = {each.name: each for each in inputs}
    assert by_name["page"].to_json()["hash"] == {"sha256_buckets": HASHED["page"]}
    assert len(by_name["item_level"].edges or ()) == 2  # of 3 buckets
    assert by_name["item_genres"].max_values == 3
    vocabularies = read_vocabularies(config, data, read_names(data), inputs)
    assert {*vocabularies["item"].texts} == {*ITEMS}
    assert (vocabularies["item"].nulls, vocabularies["item"].paddings) == ([], ["0"])  # what pads the carts in the log
    assert [by_name[name].padding for name in ("history", "carts", "history_kind")] == [None, "0", None]
    assert [vocabularies["item"].find(text) for text in ("", "0", "no such item")] == [0, -1, 1]
    assert [vocabularies["item"].texts[vocabularies["item"].find(text) - 2] for text in ITEMS] == [*ITEMS]
    assert "NULL" in vocabularies["tags"].nulls
    assert len(vocabularies["user"].texts) == 9  # whose profiles the model looks up
    for each in build_golden(inputs, vocabularies, 6):
        assert {*each.inputs["user"]}.isdisjoint(vocabularies["user"].texts)


def test_a_model_without_profiles_needs_no_list_of_users(tmp_path: Path) -> None:
    events = [(f"u{n % 3}", f"i{n % 4}", "c", n) for n in range(12)]
    data, _ = prepare_events(tmp_path, events)
    config = make_config(tmp_path)
    names = read_names(data)
    inputs = list_inputs(config, data, names)
    assert [each.name for each in inputs] == ["item", "user", "history", "item_category"]
    assert read_vocabularies(config, data, names, inputs)["user"].texts == []


def test_two_inputs_of_one_name_are_refused(runs: ServedRuns) -> None:
    config = runs.open("din").config
    data = open_store(config.data.prepared)
    same = {**data.item_fields, "page!": data.item_fields["category"], "page?": data.item_fields["category"]}
    object.__setattr__(data, "item_fields", same)
    with pytest.raises(ConfigError, match="an input called 'item_page_', and another one is called so"):
        list_inputs(config, data, read_names(data))


def test_an_input_with_the_name_of_an_output_is_refused(runs: ServedRuns, monkeypatch: pytest.MonkeyPatch) -> None:
    assert {"logit", "known", "behaviours"} <= {*OUTPUTS}
    config = runs.open("din").config
    data = open_store(config.data.prepared)
    monkeypatch.setattr("din_train.export.request.OUTPUTS", {"place": ("FP32", ("rows",))})
    with pytest.raises(ConfigError, match="an input called 'place', and an output is called so"):
        list_inputs(config, data, read_names(data))


INPUTS = (
    RequestInput("item", "BYTES", ("rows",), "", "a", vocabulary="item"),
    RequestInput("page", "INT64", ("rows or 1",), "", 2, hash_buckets=5),
    RequestInput("history", "BYTES", ("rows or 1", "positions"), "", ["a"], vocabulary="item"),
)


def test_texts_are_hashed_as_the_data_set_hashes_them() -> None:
    request = Request("hashed", {"item": ["a", "b"], "page": ["front", ""], "history": [["a"]]})
    assert request.encode(INPUTS) == {
        "item": ["a", "b"],
        "page": [int(hash_values(pa.array(["front"]), 5)[0]), 0],
        "history": [["a"]],
    }


def test_requests_of_servers() -> None:
    values = {"item": ["a", "b"], "page": [2], "history": [["a", "b", "c"]]}
    assert build_v2_request(INPUTS, values)["inputs"] == [
        {"name": "item", "shape": [2], "datatype": "BYTES", "data": ["a", "b"]},
        {"name": "page", "shape": [1], "datatype": "INT64", "data": [2]},
        {"name": "history", "shape": [1, 3], "datatype": "BYTES", "data": ["a", "b", "c"]},
    ]
    assert build_v2_request(INPUTS, {**values, "history": [[]]})["inputs"][2]["shape"] == [1, 0]
    assert build_rank_request(INPUTS, values) == {
        "signature_name": "rank",
        "inputs": {"item": ["a", "b"], "page": [2], "history": ["a", "b", "c"]},
    }
