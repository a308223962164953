"""Every way a config can be wrong: the exact lines, all at once."""

from collections.abc import Callable
from pathlib import Path

import pytest

from din_train.config import load_config
from din_train.errors import ConfigError

Problems = Callable[..., list[str]]

TOP_KEYS = "name, preset, seed, data, filters, vocabulary, negatives, model, training, metrics, tracking"
MLP_KEYS = "hidden_units, activation, dropout, input_normalization, batch_normalization"


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("training.epochs=three", "training.epochs: received 'three', expected a whole number"),
        ("training.epochs=3.0", "training.epochs: received 3.0, expected a whole number"),
        ("training.epochs=true", "training.epochs: received true, expected a whole number"),
        ("training.epochs='3'", "training.epochs: received '3', expected a whole number"),
        ("training.epochs=null", "training.epochs: received null, expected a whole number"),
        ("training.epochs=0", "training.epochs: received 0, expected greater than or equal to 1"),
        ("seed=2147483648", "seed: received 2147483648, expected less than 2147483648"),
        ("data.max_bad_share=1.5", "data.max_bad_share: received 1.5, expected less than or equal to 1"),
        ("data.max_bad_share=many", "data.max_bad_share: received 'many', expected a number"),
        ("model.local_activation_unit.scale=1", "model.local_activation_unit.scale: received 1, expected a boolean"),
        (
            "training.optimizer.learning_rate=.nan",
            "training.optimizer.learning_rate: received nan, expected a finite number",
        ),
        ("name=123", "name: received 123, expected text; put it in quotes"),
        (
            "name=a/b",
            "name: received 'a/b', expected letters, digits, '.', '_' and '-', a letter or digit first; "
            "the run directory is runs/<name>",
        ),
        ("name=latest", "name: received 'latest', which points at the newest run; choose another name"),
        (
            "model.name=dein",
            "model.name: received 'dein', expected 'din', 'base', 'lr', 'wide_deep', 'pnn', 'deepfm', 'dien', 'bst' or "
            "'tin'",
        ),
        (
            "data.source=[table]",
            "data.source: received ['table'], expected 'amazon-2014', 'amazon-2018', 'amazon-2023', 'movielens', "
            "'taobao', 'table', 'rows' or 'x1'",
        ),
        (
            "data.protocol={a: 1}",
            "data.protocol: received a mapping, expected 'holdout', 'paper', 'time', 'user' or 'presampled'",
        ),
        ("data.events=5", "data.events: received 5, expected a path"),
        ("data.prepared=''", "data.prepared: received '', expected a path that ends in the name of a file or folder"),
        (
            "data.prepared=../..",
            "data.prepared: received '../..', expected a path that ends in the name of a file or folder",
        ),
        (
            "data.memory_limit=2 gigs",
            "data.memory_limit: received '2 gigs', expected a size such as 500MB or 2GB: DuckDB's memory; "
            "beyond it, it spills to disk",
        ),
        ("model.mlp.hidden_units=64", "model.mlp.hidden_units: received 64, expected a list"),
        ("model.mlp.hidden_units=128,64", "model.mlp.hidden_units: received '128,64', expected a list"),
        (
            "model.mlp.hidden_units=[]",
            "model.mlp.hidden_units: received [], expected a list to have at least 1 item, not 0",
        ),
        ("model.mlp.hidden_units=[a]", "model.mlp.hidden_units.0: received 'a', expected a whole number"),
        (
            "vocabulary=null",
            "vocabulary: received null, expected a section with keys among unknown_rate, min_count, hash_buckets, "
            "base, expire_after",
        ),
        ("model.mlp=relu", f"model.mlp: received 'relu', expected a section with keys among {MLP_KEYS}"),
        (
            "training.select_on=test",
            "training.select_on: received 'test', but protocol 'holdout' allows validation or none",
        ),
        ("training.select_on=val", "training.select_on: received 'val', expected 'validation', 'test' or 'none'"),
        ("training.select_on=[none]", "training.select_on: received ['none'], expected 'validation', 'test' or 'none'"),
        (
            "model.mpl.dropout=0.1",
            "model.mpl: unknown key, did you mean 'mlp'? expected one of name, item_embedding_size, "
            "category_embedding_size, field_embedding_size, embedding_initializer, behaviour_fields, min_item_count, "
            "user_candidate_product, item_bias, pooling, cross_buckets, num_positions, search, local_activation_unit, "
            "dien, bst, interest, mlp",
        ),
        (
            "vocabulary.epochs=1",
            "vocabulary.epochs: unknown key, did you mean 'training.epochs' or "
            "'training.optimizer.schedule.epochs'? expected one of unknown_rate, min_count, hash_buckets, base, "
            "expire_after",
        ),
        ("zzz.b.c=1", f"zzz: unknown key; expected one of {TOP_KEYS}"),
        ("a.b", "--set a.b: expected dotted.key=value, for example training.epochs=3"),
        ("=1", "--set =1: expected dotted.key=value, for example training.epochs=3"),
        ("training..epochs=1", "--set training..epochs=1: expected dotted.key=value, for example training.epochs=3"),
        ("model.name.x=1", "--set model.name.x=1: 'name' holds a value, not keys of its own"),
    ],
)
def test_one_problem_one_line(problems: Problems, override: str, line: str) -> None:
    assert problems(override) == [line]


def test_everything_at_once(problems: Problems) -> None:
    lines = problems(
        "nonsense",
        "more.nonsense",
        text="""\
data: {source: amazon-2014, prepared: p/x, max_bad_share: 2, protocl: paper, columns: {user: u, time: t}}
model: {name: din, mlp: {hidden_units: [8, x, 0]}, lokal_activation_unit: {}, poling: sum}
training: {epochs: three, select_on: test}
""",
    )
    assert [line.split(":")[0] for line in lines] == [
        "--set nonsense",
        "--set more.nonsense",
        "name",
        "data.columns.time",
        "data.max_bad_share",
        "data.protocl",
        "model.mlp.hidden_units.1",
        "model.mlp.hidden_units.2",
        "model.lokal_activation_unit",
        "model.poling",
        "training.epochs",
    ]
    said = dict(line.split(": ", 1) for line in lines)
    assert said["data.protocl"].startswith("unknown key, did you mean 'protocol'?")
    assert said["model.lokal_activation_unit"].startswith("unknown key, did you mean 'local_activation_unit'?")


def test_rules_of_a_section_are_checked_once_its_keys_are_right(problems: Problems) -> None:
    lines = problems(
        text="""\
name: a
data: {source: amazon-2014, prepared: p/x, protocol: time, columns: {user: u, item: i, timestamp: t}}
model: {name: pnn, item_embedding_size: 32, interest: {units: 40}}
training: {epochs: 3, select_on: test, deterministic: true, jit_compile: on, optimizer: {schedule: {name: step}}}
"""
    )
    assert [line.split(":")[0] for line in lines] == [
        "data.time_split",
        "data.reviews",
        "data.columns",
        "model.category_embedding_size",
        "model.interest.units",
        "training.optimizer.schedule.epochs",
    ]
    assert lines[0] == "data.time_split: missing; protocol 'time' needs its validation_from and test_from"
    assert lines[1] == "data.reviews: missing; source 'amazon-2014' needs it"


def test_a_table_needs_its_own_keys_and_not_amazons(problems: Problems) -> None:
    assert problems("data.events=", "data.columns=", "data.reviews=reviews.gz") == [
        "data.reviews: not used by source 'table'; remove it or change data.source",
        "data.events: missing; source 'table' needs it",
        "data.columns: missing; source 'table' needs it",
    ]


def test_missing_sections_say_what_goes_in(problems: Problems) -> None:
    assert problems("data.columns=", text="name: a\nmodel: {name: din}\ntraining: {epochs: 1}\n") == [
        "data.source: missing, expected format of the log",
        "data.prepared: missing, expected folder of the prepared data set",
    ]
    assert problems(text="{}")[2].startswith("model: missing, expected a section with keys among name, item_embedding")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", f"received nothing, expected a mapping with the keys {TOP_KEYS}"),
        ("# only a comment\n", f"received nothing, expected a mapping with the keys {TOP_KEYS}"),
        ("- a\n- b\n", f"received a list, expected a mapping with the keys {TOP_KEYS}"),
        ("text\n", f"received a single value, expected a mapping with the keys {TOP_KEYS}"),
        ("name: a\nname: b\n", ":2: not valid YAML: key 'name' given twice"),
        ("a: b\nb: c: d\n", ":2: not valid YAML: mapping values are not allowed here"),
        ("a: *nowhere\n", ":1: not valid YAML: found undefined alias 'nowhere'"),
        ("? [a]\n: 1\n", ":1: not valid YAML: found unhashable key"),
        ("? {a: 1}\n: 1\n", ":1: not valid YAML: found unhashable key"),
        ("a: 2020-13-01\n", "not valid YAML: a value cannot be read (month must be in 1..12)"),
        (b"name: \xff\n", "not UTF-8 text (byte 0xff at offset 6); expected a YAML config"),
        (b"\x1f\x8b\x08\x00", "not UTF-8 text (byte 0x8b at offset 1); expected a YAML config"),
    ],
)
def test_a_file_that_is_no_config(problems: Problems, text: str | bytes, line: str) -> None:
    assert problems(text=text) == [line]


@pytest.mark.parametrize(("key", "shown"), [("1", "1"), ("~", "null"), ("true", "true"), ("2020-01-01", "2020-01-01")])
def test_keys_that_are_no_text(problems: Problems, key: str, shown: str) -> None:
    lines = problems(text=f"name: a\n{key}: 2\nmodel: {{name: din, mlp: {{{key}: 2}}}}\ntraining: {{epochs: 1}}\n")
    assert f"the config: received the key {shown}, expected a section with keys among {TOP_KEYS}" in lines
    assert f"model.mlp: received the key {shown}, expected a section with keys among {MLP_KEYS}" in lines


def test_a_folder_and_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(tmp_path)
    assert caught.value.problems == (f"{tmp_path}: cannot be read as a config file (Is a directory)",)
    missing = tmp_path / "none.yaml"
    with pytest.raises(ConfigError) as caught:
        load_config(missing)
    assert caught.value.problems == (
        f"{missing}: no such config file; `din-train init {missing}` writes one to start from",
    )


def test_a_long_value_is_cut(problems: Problems) -> None:
    (line,) = problems(f"training.epochs={'x' * 500}")
    assert line == f"training.epochs: received '{'x' * 56}..., expected a whole number"
