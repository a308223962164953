"""The rules of `data`, `filters` and `negatives` that need several keys, times as people write them, and URLs."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest

from din_train.config import Config, dump_config, load_config
from din_train.config.data import Protocol

Load = Callable[..., Config]
Problems = Callable[..., list[str]]

BODY = "model: {name: din}\ntraining: {epochs: 3}\n"


def text_of(data: str, more: str = "") -> str:
    return f"name: small\ndata: {{prepared: p/x, {data}}}\n{BODY}{more}"


AMAZON = "source: amazon-2018, reviews: r.gz, items: m.gz"
MOVIELENS = "source: movielens, events: ratings.csv, items: movies.csv"
TAOBAO = "source: taobao, events: UserBehavior.csv"
TABLE = "source: table, events: e.csv, columns: {user: u, item: i, timestamp: t}"
X1 = "source: x1, train: train.csv, test: test.csv"
ROWS = "source: rows, train: t.csv, columns: {user: u, item: i}, sequences: {h: {item: h}}"


@pytest.mark.parametrize("data", [AMAZON, MOVIELENS, TAOBAO, TABLE, X1])
def test_what_each_source_needs_is_enough(config_file: Path, data: str) -> None:
    config_file.write_text(text_of(data))
    config = load_config(config_file)
    assert config.data.protocol == ("presampled" if "x1" in data else "holdout")
    assert config.training.select_on == "validation"
    assert config.data.click_rating == (4.0 if "movielens" in data else None)
    assert config.data.behaviours == (("pv",) if "taobao" in data else None)
    config_file.write_text(dump_config(config))
    assert load_config(config_file) == config


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        (
            f"{AMAZON}, events: e.csv",
            ["data.events: not used by source 'amazon-2018'; remove it or change data.source"],
        ),
        ("source: movielens, users: u", ["data.events: missing; source 'movielens' needs it"]),
        (
            "source: movielens, events: e, item_fields: [year]",
            ["data.items: missing; data.item_fields needs the file they are in"],
        ),
        (
            f"{TABLE[:-1]}, time_zone: Europe/Berln}}",
            [
                "data.columns.time_zone: received 'Europe/Berln', which is no time zone of this machine; expected one "
                "such as Europe/Berlin or UTC"
            ],
        ),
        (
            "source: table, events: e, columns: {user: u, item: i, timestamp: file-order, "
            "events: {column: c, click: [1], impression: [0]}}",
            [
                "data.columns.events.impression: not used beside timestamp: file-order, since click_window is in "
                "seconds; remove it"
            ],
        ),
        ("source: taobao", ["data.events: missing; source 'taobao' needs it"]),
        (
            f"{TAOBAO}, behaviours: [view]",
            ["data.behaviours.0: received 'view', expected 'pv', 'buy', 'cart' or 'fav'"],
        ),
        (
            f"{TABLE}, behaviours: [pv]",
            ["data.behaviours: not used by source 'table'; remove it or change data.source"],
        ),
        (
            f"{X1}, engine: spark",
            [
                "data.engine: spark prepares logs of the sources table, movielens and taobao, received 'x1'; set "
                "duckdb, or read reviews in JSON lines with data.source 'table'"
            ],
        ),
        (
            f"{TABLE}, spark: {{shards: 0, settings: {{executor.memory: 8g}}}}",
            [
                "data.spark.shards: received 0, expected greater than or equal to 1",
                "data.spark.settings: received the key 'executor.memory', expected settings of Spark by their full "
                "names, such as spark.executor.memory: 8g",
            ],
        ),
        ("source: x1, train: t.csv", ["data.test: missing; source 'x1' needs it"]),
        (
            f"{X1}, protocol: paper",
            ["data.protocol: received 'paper', but source 'x1' has presampled, the split its files come with"],
        ),
        (
            f"{TABLE}, protocol: presampled",
            ["data.protocol: received 'presampled', but source 'table' has holdout, paper, time or user"],
        ),
        (
            f"{TABLE}, protocol: time",
            ["data.time_split: missing; protocol 'time' needs its validation_from and test_from"],
        ),
        (
            f"{TABLE}, time_split: {{validation_from: 5, test_from: 9}}",
            ["data.time_split: not used by protocol 'holdout'; remove it or set data.protocol to time"],
        ),
        (
            f"{TABLE}, protocol: time, time_split: {{validation_from: 2014-05-01, test_from: 2014-04-01}}",
            ["data.time_split.test_from: received 1396310400, expected a time after validation_from (1398902400)"],
        ),
        (
            f"{AMAZON}, item_fields: [colour]",
            ["data.item_fields: received 'colour', but source 'amazon-2018' has brand, price, main_category"],
        ),
        (
            "source: rows, train: t.csv, columns: {user: u}, sequences: {h: {item: h}}",
            [
                "data.columns.item: missing; name the column of item ids, or that of a request's items in "
                "data.impressions",
                "data.test: missing; name a file, or say in data.row_split how the rows of data.train are shared out",
            ],
        ),
        (
            f"{ROWS}, impressions: s, validation: v.csv, test: t.csv, row_split: {{}}",
            [
                "data.columns.item: not used beside data.impressions, which says items and labels; remove it",
                "data.row_split: not used beside data.validation and data.test; remove it",
            ],
        ),
        (
            f"{ROWS}, row_split: {{by: time, test: 0}}, behaviour_fields: [dwell]",
            [
                "data.row_split.test: received 0, but there is no data.test either; give a share",
                "data.row_split.by: received 'time', which needs data.columns.timestamp; name it, or split by user",
                "data.behaviour_fields: received 'dwell', which is none of the fields of data.sequences; name it there",
            ],
        ),
        (
            f"{ROWS}, row_split: {{validation: 0.5, test: 0.5}}",
            ["data.row_split.test: received 0.5 beside a validation share of 0.5; nothing is left to train on"],
        ),
        (f"{X1}, context_fields: [hour]", ["data.context_fields: received 'hour', but source 'x1' has none"]),
        (
            f"{TABLE}, item_fields: [a], user_fields: [a]",
            ["data.user_fields: received 'a' twice; a field has one place"],
        ),
        (
            f"{TABLE}, item_fields: [title]",
            ["data.item_fields: received 'title', a name that is taken; rename the column"],
        ),
        (
            f"{TABLE}, numeric_fields: [price]",
            [
                "data.numeric_fields: received 'price', which is no item, user or behaviour field; name it in one of "
                "those"
            ],
        ),
        (
            "source: amazon-2023, train: t.csv",
            [
                "data.reviews: missing; source 'amazon-2023' needs it",
                "data.train: not used by source 'amazon-2023'; remove it or change data.source",
            ],
        ),
        (
            f"{TABLE}, click_rating: 3",
            ["data.click_rating: not used by source 'table'; remove it or change data.source"],
        ),
        (
            f"{MOVIELENS}, columns: {{user: u, item: i, timestamp: t}}",
            ["data.columns: not used by source 'movielens'; remove it or change data.source"],
        ),
        (f"{TAOBAO}, behaviours: []", ["data.behaviours: received [], expected a list to have at least 1 item, not 0"]),
        (f"{TAOBAO}, item_fields: [brand]", ["data.item_fields: received 'brand', but source 'taobao' has none"]),
        (
            f"{TABLE}, protocol: time, time_split: {{validation_from: 5}}",
            ["data.time_split.test_from: missing, expected the first moment of the test split"],
        ),
        (
            f"{TABLE}, protocol: time, time_split: {{validation_from: 6, test_from: 5}}",
            ["data.time_split.test_from: received 5, expected a time after validation_from (6)"],
        ),
        (
            f"{TABLE}, user_split: {{test: 5}}",
            ["data.user_split: not used by protocol 'holdout'; remove it or set data.protocol to user"],
        ),
        (
            f"{TABLE}, protocol: user, user_split: {{test: 0}}",
            ["data.user_split.test: received 0, expected greater than 0"],
        ),
        (f"{MOVIELENS}, user_fields: [age]", ["data.users: missing; data.user_fields needs the file they are in"]),
    ],
)
def test_one_rule_one_line(problems: Problems, data: str, lines: list[str]) -> None:
    assert problems(text=text_of(data)) == lines


@pytest.mark.parametrize(
    ("data", "more", "line"),
    [
        (
            MOVIELENS,
            "negatives: {resample: epoch}\n",
            "negatives.resample: received 'epoch', but the log has negatives of its own, which are never drawn",
        ),
        (
            f"{TABLE[:-1]}, label: y}}",
            "negatives: {resample: epoch}\n",
            "negatives.resample: received 'epoch', but the log has negatives of its own, which are never drawn",
        ),
        (X1, "filters: {k_core: 5}\n", "filters.k_core: not used by source 'x1', whose rows are all kept; remove it"),
        (f"{X1}, min_history: 2", "", "data.min_history: not used by source 'x1', whose rows are all kept; remove it"),
        (
            TABLE,
            "filters: {since: 2014-05-01, until: 5}\n",
            "filters.until: received 5, expected a time after since (1398902400)",
        ),
    ],
)
def test_rules_of_several_sections(problems: Problems, data: str, more: str, line: str) -> None:
    assert problems(text=text_of(data, more)) == [line]


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("2014-05-01", 1_398_902_400),
        ("'2014-05-01'", 1_398_902_400),
        ("2014-05-01 12:00:00", 1_398_945_600),
        ("2014-05-01T12:00:00+02:00", 1_398_938_400),
        ("1398902400", 1_398_902_400),
    ],
)
def test_times_as_people_write_them(load: Load, written: str, seconds: int) -> None:
    assert load(f"filters.since={written}").filters.since == seconds


def test_times_are_dumped_in_seconds_and_read_back(config_file: Path) -> None:
    split = "protocol: time, time_split: {validation_from: 2014-05-01, test_from: '2014-05-08 06:00'}"
    config_file.write_text(text_of(f"{TABLE}, {split}", "filters: {until: 2014-06-01}\n"))
    config = load_config(config_file)
    assert config.data.time_split is not None
    assert (config.data.time_split.validation_from, config.data.time_split.test_from) == (1_398_902_400, 1_399_528_800)
    dumped = dump_config(config)
    assert "validation_from: 1398902400\n" in dumped
    assert "until: 1401580800\n" in dumped
    config_file.write_text(dumped)
    assert load_config(config_file) == config


def test_epochs_are_resampled_only_where_negatives_are_drawn(config_file: Path) -> None:
    for data in (TABLE, X1):
        config_file.write_text(text_of(data))
        config = load_config(config_file, ["negatives.resample=epoch", "training.leave_one_out=0.5"])
        assert (config.negatives.resample, config.training.leave_one_out) == ("epoch", 0.5)


@pytest.mark.parametrize(
    ("data", "override", "line"),
    [
        (
            X1,
            "training.leave_one_out=0.5",
            "received 0.5, but the rows have labels, and a positive would see one click fewer than the rows beside it; "
            "remove it, or draw negatives with negatives.resample=epoch",
        ),
        (
            f"{TABLE[:-1]}, label: y}}",
            "training.leave_one_out=1",
            "received 1, but the rows have labels, and a positive would see one click fewer than the rows beside it; "
            "remove it",
        ),
        (
            TABLE,
            "training.leave_one_out=1",
            "received 1 beside negatives.exclude: history, by which a negative could be one of the later behaviours in "
            "its own history; use exclude: all",
        ),
        (
            f"{TABLE}, behaviour_fields: [time_gap]",
            "training.leave_one_out=1",
            "received 1 beside model.behaviour_fields: time_gap, which later behaviours do not have; remove one of the "
            "two",
        ),
    ],
)
def test_leave_one_out_needs_drawn_negatives(problems: Problems, data: str, override: str, line: str) -> None:
    others = ["model.behaviour_fields=[time_gap]"] if "time_gap" in data else []
    others += ["negatives.exclude=history"] if "exclude" in line else []
    assert problems(override, *others, text=text_of(data)) == [f"training.leave_one_out: {line}"]


def test_a_time_that_is_none(problems: Problems) -> None:
    (line,) = problems("filters.since=yesterday")
    assert line == "filters.since: received 'yesterday', expected a whole number"


@pytest.mark.parametrize("protocol", get_args(Protocol))
def test_select_on_is_filled_in_for_every_protocol(config_file: Path, protocol: str) -> None:
    data = X1 if protocol == "presampled" else f"{TABLE}, protocol: {protocol}"
    data += ", time_split: {validation_from: 5, test_from: 9}" if protocol == "time" else ""
    config_file.write_text(text_of(data))
    assert load_config(config_file).training.select_on == ("none" if protocol == "paper" else "validation")


def test_users_are_shared_out_by_default_under_user(load: Load) -> None:
    split = load("data.protocol=user").data.user_split
    assert split is not None
    assert (split.validation, split.test) == (0.1, 0.1)


COLUMNS = "source: table, events: e.csv, columns: {user: u, item: i, timestamp: t, category: c, label: l}"


@pytest.mark.parametrize("role", ["item", "timestamp", "category", "label"])
def test_every_role_has_a_column_of_its_own(problems: Problems, role: str) -> None:
    assert problems(f"data.columns.{role}=u", text=text_of(COLUMNS)) == [
        f"data.columns.{role}: received 'u', the column of data.columns.user already; name another one"
    ]


def test_a_category_by_position_is_a_column_of_the_items_if_they_are_given(
    problems: Problems, config_file: Path
) -> None:
    positions = "source: table, events: e.csv, columns: {user: 2, item: 1, timestamp: 3, category: 2}"
    assert problems(text=text_of(positions)) == [
        "data.columns.category: received '2', the column of data.columns.user already; name another one"
    ]
    config_file.write_text(text_of(f"{positions}, items: {{path: i.csv, key: 1}}"))
    assert load_config(config_file).data.columns.category == 2


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ("context_fields: [l]", "data.context_fields: received 'l', the column of data.columns.label; leave it out"),
        ("item_fields: [u]", "data.item_fields: received 'u', the column of data.columns.user; leave it out"),
        ("user_fields: [t]", "data.user_fields: received 't', the column of data.columns.timestamp; leave it out"),
        ("items: x, item_fields: [i]", "data.item_fields: received 'i', the column of data.columns.item; leave it out"),
        (
            "items: x, item_fields: [c]",
            "data.item_fields: received 'c', the column of data.columns.category; leave it out",
        ),
    ],
)
def test_a_field_is_no_column_of_a_role(problems: Problems, fields: str, line: str) -> None:
    assert problems(text=text_of(f"{COLUMNS}, {fields}")) == [line]


def test_a_table_of_its_own_may_use_the_names_of_other_roles(config_file: Path) -> None:
    config_file.write_text(text_of(f"{COLUMNS}, items: x, item_fields: [u, t, l], users: y, user_fields: [i]"))
    assert load_config(config_file).data.item_fields == ("u", "t", "l")


def test_words_for_no_value(config_file: Path, load: Load) -> None:
    assert {"NULL", "None", "nan", "NA", "\\N"} < set(load().data.null_values)
    assert "none" not in load().data.null_values
    config_file.write_text(text_of(f"{TABLE}, null_values: ['-', 'NA']"))
    assert load_config(config_file).data.null_values == ("-", "NA")
    config_file.write_text(dump_config(load_config(config_file)))
    assert load_config(config_file).data.null_values == ("-", "NA")


@pytest.mark.parametrize("separator", ["''", "a", "']'", "0", "'|||||||||'"])
def test_what_is_no_separator(problems: Problems, separator: str) -> None:
    (line,) = problems(text=text_of(f"{X1}, history_separator: {separator}"))
    assert line.startswith("data.history_separator: received ")


def test_a_separator_belongs_to_ready_made_samples(config_file: Path, problems: Problems) -> None:
    config_file.write_text(text_of(X1))
    assert load_config(config_file).data.history_separator == "^"
    assert problems(text=text_of(f"{TABLE}, history_separator: '|'")) == [
        "data.history_separator: not used by source 'table'; remove it or change data.source"
    ]


@pytest.mark.parametrize(
    ("url", "secret"),
    [
        ("s3://AKIA:sec/ret@bucket/log.csv", "a user or password"),
        ("s3://AKIA:hush", "a user or password"),
        ("https://hush@host/log.csv", "a user or password"),
        ("https://host:80/log.csv?download=1&sig=hush", "a query"),
        ("https://host/log.csv?hush", "a query"),
        ("https://host/log.csv#hush", "a fragment"),
        ("s3://bucket/log.csv?AWSAccessKeyId=hush", "a query"),
        ("zip://log.csv::s3://AKIA:hush@bucket/log.zip", "a user or password"),
    ],
)
@pytest.mark.parametrize("key", ["reviews", "prepared"])
def test_no_url_with_credentials_is_taken_or_shown(problems: Problems, key: str, url: str, secret: str) -> None:
    scheme = url.partition("://")[0]
    assert problems(f"data.{key}={url}") == [
        f"data.{key}: received a URL ({scheme}://...) with {secret}, which may be a secret and would be stored with "
        "each run; give the URL without it, and credentials in the environment"
    ]


def test_credentials_in_a_wrong_key_are_not_shown(problems: Problems) -> None:
    assert problems("data.max_bad_share=s3://AKIA:hush@b/x") == [
        "data.max_bad_share: received 's3://b/x', expected a number"
    ]
    assert "hush" not in str(problems("name.x=s3://AKIA:hush@b/x"))


@pytest.mark.parametrize("key", ["prepared", "temp_folder"])
def test_outputs_are_no_urls(problems: Problems, key: str) -> None:
    assert problems(f"data.{key}=s3://bucket/x") == [
        f"data.{key}: received 's3://bucket/x', expected a path on this machine: only input files may be URLs"
    ]


def test_urls_need_their_packages(problems: Problems, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fsspec", None)
    assert problems("data.reviews=s3://bucket/x") == [
        "data.reviews: received 's3://bucket/x', which needs fsspec; install din-train[cloud]"
    ]


def test_urls_are_dumped_as_they_are_given(config_file: Path) -> None:
    pytest.importorskip(
        "fsspec", reason="fsspec is not installed: URLs in configs are NOT tested; install din-train[cloud]"
    )
    url = "s3://bucket/day=1//a.json.gz?versionId=7"
    config = load_config(config_file, [f"data.events={url}"])
    config_file.write_text(dump_config(config))
    again = load_config(config_file)
    assert f"events: {url}\n" in config_file.read_text()
    assert again == config == type(config).model_validate(config.model_dump())
    assert (str(again.data.events), getattr(again.data.events, "name", None)) == (url, "a.json.gz")
    assert load_config(config_file, ["data.events=file:///logs/a"]).data.events == Path("/logs/a")
