"""A run whose files are not as they were written: no number of it is believed, and no command calls it a bug."""

import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml
from workplace import QUICK, Workplace

from din_train.errors import DamagedError, RunError
from din_train.evaluation.scores import read_scores
from din_train.report.attention import read_examples
from din_train.run_directory import RunDirectory
from din_train.training.checkpoint import read_checkpoint, read_newest_state

RUN = Path("runs/small")

# What each file is read by.
READERS: dict[str, Callable[[RunDirectory], object]] = {
    "config.yaml": lambda run: run.read_config(),
    "metrics.json": lambda run: run.read_metrics(),
    "history.jsonl": lambda run: run.read_history(),
    "environment.json": lambda run: run.read_environment(),
    "attention.json": lambda run: read_examples(run.attention_file),
    "scores.test.parquet": lambda run: str(read_scores(run.scores_file("test"))),
    "checkpoints/best.json": lambda run: read_checkpoint(run.checkpoints),
    "checkpoints/best.weights.h5": lambda run: read_checkpoint(run.checkpoints),
}


def check(workplace: Workplace, exit_code: int, *parts: str, command: tuple[str, ...]) -> None:
    result = workplace.run(*command)
    assert result.exit_code == exit_code, result.output
    for part in parts:
        assert part in result.stderr
    assert "a bug in din-train" not in result.output
    assert "Traceback" not in result.output


def test_every_file_of_a_run_is_in_the_index_but_what_nobody_reads(fitted: Workplace) -> None:
    assert fitted.run("eval", "--split", "validation").exit_code == 0
    files = set(fitted.read_json("runs/small/checksums.json")["files"])
    there = {path.relative_to(RUN).as_posix() for path in RUN.rglob("*") if path.is_file()}
    others = {name for name in there - files if not name.startswith(("plots/", "tensorboard/", "checkpoints/"))}
    assert others == {"checksums.json"}
    assert {"config.yaml", "metrics.validation.json", "scores.validation.parquet", "checkpoints/best.json"} <= files


@pytest.mark.usefixtures("fitted")
@pytest.mark.parametrize("name", READERS)
def test_no_flipped_bit_is_believed(name: str) -> None:
    run, path = RunDirectory(RUN), RUN / name
    whole, right = path.read_bytes(), READERS[name](RunDirectory(RUN))
    draw = random.Random(name)  # noqa: S311
    for _ in range(60):
        bit = draw.randrange(8 * len(whole))
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        try:
            read = READERS[name](run)
        except RunError:
            continue
        assert (name, read) == ("config.yaml", right)  # of YAML: a blank, a quote


def edit(path: Path, change: Callable[[Any], None]) -> None:
    values = yaml.safe_load(path.read_text()) if path.suffix == ".yaml" else orjson.loads(path.read_bytes())
    change(values)
    path.write_bytes(yaml.safe_dump(values).encode() if path.suffix == ".yaml" else orjson.dumps(values))


def test_a_changed_config_is_refused_with_the_key_by_every_command(fitted: Workplace) -> None:
    def change(values: dict[str, Any]) -> None:
        values["model"]["local_activation_unit"]["normalization"] = "sigmoid"
        values["data"]["max_history_length"] = 3

    before = fitted.read_json("runs/small/metrics.json")
    edit(RUN / "config.yaml", change)
    for command in (
        ("eval",),
        ("compare", "runs/small"),
        ("explain", "--user", "u1", "--item", "i1"),
        ("predict", "--input", "log.tsv", "--output", "out.parquet"),
        ("audit",),
        ("report",),
        ("fit", "--config", "small.yaml", "--resume"),
    ):
        check(
            fitted,
            1,
            "config.yaml: changed since the run was trained (data.max_history_length: 100 when it was trained, 3 now; "
            "model.local_activation_unit.normalization: ",
            command=command,
        )
    assert fitted.read_json("runs/small/metrics.json") == before
    assert not Path("out.parquet").exists()


def test_an_edited_metric_is_shown_by_nobody(fitted: Workplace) -> None:
    edit(RUN / "metrics.json", lambda metrics: metrics.update(gauc=0.99))
    for command in (
        ("compare", "runs/small"),
        ("report",),
        ("audit",),
        ("fit", "--config", "small.yaml", "--resume"),
    ):
        check(fitted, 1, "metrics.json: damaged or changed since it was written", command=command)


def test_a_report_leaves_out_what_is_damaged_and_fails(fitted: Workplace) -> None:
    scores = RUN / "scores.test.parquet"
    scores.write_bytes(scores.read_bytes()[:-1] + b"2")
    (RUN / "history.jsonl").write_bytes((RUN / "history.jsonl").read_bytes()[:26])
    check(
        fitted, 1, "scores.test.parquet: damaged or changed", "history.jsonl: damaged or changed", command=("report",)
    )
    page = (RUN / "report.html").read_text()
    assert 'id="figure-roc"' not in page
    assert 'id="figure-loss"' not in page
    check(fitted, 1, "write it with `din-train eval --run-dir runs/small`", command=("compare", "runs/small"))
    assert fitted.run("eval", "--run-dir", "runs/small").exit_code == 0
    assert fitted.run("compare", "runs/small").exit_code == 0


def test_a_run_of_before_the_index_cannot_be_checked_and_says_what_to_do(fitted: Workplace) -> None:
    (RUN / "checksums.json").unlink()
    for command in (("eval",), ("report",), ("compare", "runs/small")):
        check(fitted, 1, "checksums.json: no such file", "train the run again with `din-train fit", command=command)
    assert fitted.fit("--overwrite", *QUICK).exit_code == 0


MUTATIONS: list[Any] = [None, True, "x", -1, 1.5, [], {}, [[[]]], {"a": {"b": [1]}}, 10**18, "\x1b[2J"]


def mutate(value: Any, draw: random.Random) -> Any:
    """One place of it has another type, is gone, or is nested."""
    if isinstance(value, dict) and value and draw.random() < 0.8:
        key = draw.choice(sorted(value))
        rest = {name: each for name, each in value.items() if name != key}
        return rest if draw.random() < 0.2 else {**value, key: mutate(value[key], draw)}
    if isinstance(value, list) and value and draw.random() < 0.6:
        place = draw.randrange(len(value))
        return [*value[:place], mutate(value[place], draw), *value[place + 1 :]]
    return draw.choice([*MUTATIONS, {"again": value}, [value]])


@pytest.mark.parametrize(
    ("name", "command", "times"),
    [
        ("manifest.json", ("eval", "--set", "data.prepared=prepared/small"), 30),  # not where it was trained
        ("config.yaml", ("compare", "runs/small"), 30),
        ("metrics.json", ("compare", "runs/small"), 30),
        ("checksums.json", ("compare", "runs/small"), 30),
        ("environment.json", ("report",), 2),
        ("attention.json", ("report",), 2),
    ],
)
def test_no_mutation_of_a_file_is_a_bug(fitted: Workplace, name: str, command: tuple[str, ...], times: int) -> None:
    path = (Path("prepared/small") if name == "manifest.json" else RUN) / name
    whole = path.read_bytes()
    draw = random.Random(name)  # noqa: S311
    for _ in range(times):
        values = mutate(yaml.safe_load(whole), draw)
        path.write_text(yaml.safe_dump(values) if path.suffix == ".yaml" else orjson.dumps(values).decode())
        result = fitted.run(*command)
        assert "a bug in din-train" not in result.output, (values, result.output)
        # of the index what others read may be gone, of the config a key with its default
        if (
            name == "manifest.json"
            and isinstance(values, dict)
            and {**values, "made": 0} == {**yaml.safe_load(whole), "made": 0}
        ):
            continue  # how long it took is of no consequence
        assert result.exit_code == 1 or (name in ("checksums.json", "config.yaml") and result.exit_code == 0), values


def test_a_damaged_manifest_is_prepared_anew(fitted: Workplace) -> None:
    path = Path("prepared/small/manifest.json")
    whole = orjson.loads(path.read_bytes())
    path.write_bytes(orjson.dumps({**whole, "fields": [1], "recipe": []}))
    result = fitted.run("prepare", "--config", "small.yaml")
    assert result.exit_code == 0, result.output
    assert "prepared/small: prepared, because manifest.json was damaged" in result.stderr
    assert orjson.loads(path.read_bytes())["fingerprint"] == whole["fingerprint"]


def test_an_environment_that_is_damaged_stops_no_training(fitted: Workplace) -> None:
    (RUN / "metrics.json").unlink()
    edit(RUN / "environment.json", lambda environment: environment.update(seconds="x"))
    check(fitted, 0, command=("fit", "--config", "small.yaml", "--resume"))


def test_a_damaged_record_of_a_state_is_a_damaged_state(fitted: Workplace) -> None:
    (RUN / "metrics.json").unlink()
    before, newest = sorted((RUN / "checkpoints").glob("state-*.json"))
    contents = before.read_bytes()
    for record in ("[1]", '{"sha256": 5, "best_sha256": 5}', "[" * 100_000, "null"):
        before.write_text(record)
        newest.write_text(record)
        lines: list[str] = []
        assert read_newest_state(RUN / "checkpoints", report=lines.append) is None
        assert [line.partition(": damaged")[0] for line in lines] == [
            str(each.with_suffix(".npz")) for each in (newest, before)
        ]
    before.write_bytes(contents)
    check(fitted, 0, f"{newest.with_suffix('.npz')}: damaged", command=("fit", "--config", "small.yaml", "--resume"))


def test_a_damaged_chunk_of_predict_is_scored_again(fitted: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    from din_train.predict.unfinished_table import UnfinishedTable

    command = ("predict", "--input", "log.tsv", "--output", "out.parquet", "--chunk-rows", "100")
    assert fitted.run(*command).exit_code == 0
    whole = Path("out.parquet").read_bytes()
    Path("out.parquet").unlink()

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(UnfinishedTable, "publish", stop)
        fitted.run(*command)
    chunk = Path("out.parquet.unfinished/chunk-0000001.arrow")
    contents = bytearray(chunk.read_bytes())
    contents[len(contents) // 2] ^= 8
    chunk.write_bytes(contents)
    check(fitted, 0, f"{chunk}: damaged or changed since it was written", "it is scored again", command=command)
    assert Path("out.parquet").read_bytes() == whole
    assert not chunk.parent.exists()


def test_an_index_of_another_run_is_no_index_of_this(two_runs: Workplace) -> None:
    assert two_runs.read_json("runs/other/metrics.json")["seed"] == 2
    shutil.copy("runs/other/checksums.json", RUN / "checksums.json")
    with pytest.raises(DamagedError, match="seed: 2 when it was trained, 1 now"):
        RunDirectory(RUN).read_config()
    with pytest.raises(DamagedError):
        RunDirectory(RUN).read_metrics()
