"""A text of a few lines that stands for gigabytes, and other values beyond all measure, are refused at once."""

import time
from pathlib import Path

import pytest
import yaml

from din_train.config import load_config
from din_train.config.yaml_text import dump_yaml, parse_yaml
from din_train.errors import ConfigError
from din_train.printable import make_lines_printable

ALIASES = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"a{level}: &a{level} [{','.join([f'*a{level - 1}'] * 9)}]\n" for level in range(1, 10)
)
MERGES = "a0: &a0 {x: 1, y: 2}\n" + "".join(
    f"a{level}: &a{level}\n  <<: [{','.join([f'*a{level - 1}'] * 9)}]\n" for level in range(1, 10)
)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (ALIASES, "where aliases are written out"),
        (MERGES, "where aliases are written out"),
        (f"a: &a {'x' * 50_000}\nb: [*a, *a, *a]\n", "where aliases are written out"),
        ("a: &a [*a]", "an alias stands inside what it names"),
        ("a: &a {b: *a}", "an alias stands inside what it names"),
        ("{a: " * 1000, "nested deeper than 50"),
        ("- " * 1000 + "x", "nested deeper than 50"),
        (f"a: {'1' * 4300}", "a number of 4,300 digits"),
        (f"a: {10**30}", "a number beyond 64 bits"),
        (f"a: 0x{'f' * 5000}", "a number of 5,002 digits"),
        ('a: "b\\0c"', "a NUL character"),
        ('a: "\\ud800"', "a lone surrogate"),
        ("a: b\n" * 40_000, "characters, expected at most 131,072"),
    ],
)
def test_a_text_beyond_measure_is_one_line(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    started = time.thread_time()
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert time.thread_time() - started < 1
    assert len(caught.value.problems) == 1
    assert problem in caught.value.problems[0]
    assert len(caught.value.problems[0]) < 500


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        ("a" + ".b" * 50_000 + "=1", "a key of 50,001 parts, expected at most 50"),
        ("." * 50_000, "expected dotted.key=value"),
        (f"training.epochs={'1' * 4300}", "training.epochs: received '1111"),
        (f"training.epochs=[{','.join('1' * 60_000)}]", "training.epochs: received [1, 1, 1"),
        (f"{'k' * 100_000}=1", "unknown key"),
    ],
)
def test_an_override_beyond_measure_is_one_short_line(tmp_path: Path, override: str, problem: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(
        "name: a\nmodel: {name: lr}\ntraining: {epochs: 1}\n"
        "data: {source: table, events: a, columns: {user: u, item: i, timestamp: t}, prepared: p}\n"
    )
    load_config(path)
    started = time.thread_time()
    with pytest.raises(ConfigError) as caught:
        load_config(path, [override])
    assert time.thread_time() - started < 6
    (line,) = caught.value.problems
    assert problem in line
    assert len(line) < 1000


def test_ordinary_aliases_and_merges_are_read() -> None:
    assert parse_yaml("a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}\nc: [*a, *a]") == {
        "a": {"x": 1, "y": 2},
        "b": {"x": 1, "y": 3},
        "c": [{"x": 1, "y": 2}] * 2,
    }


@pytest.mark.parametrize(
    "text",
    [
        "\x1b]0;x\x07",
        "\x9b2J",
        "\u202eevil",
        "a\u2028b",
        "\x85",
        "\ufeff",
        "'\"\\\x7f",
        "\u200b word" * 30,
        "\U000e0041",
    ],
)
def test_what_is_not_printable_is_escaped_and_read_back(text: str) -> None:
    values = {"key": text, text: [text, "中文 👩\u200d💻"]}
    dumped = dump_yaml(values)
    assert make_lines_printable(dumped) == dumped
    assert parse_yaml(dumped) == values
    assert yaml.safe_load(dumped) == values
    assert "中文 👩\u200d💻" in dumped
