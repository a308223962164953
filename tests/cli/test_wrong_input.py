"""Wrong inputs: one clear line a problem, the right exit code, nothing half-written."""

import gzip
from pathlib import Path

import pytest
from log_factory import write_log, write_table
from workplace import EVENTS, Workplace


def check(workplace: Workplace, exit_code: int, *expected: str, command: str = "fit") -> None:
    """The command fails with these lines (each a part of one) and leaves no file behind."""
    before = workplace.list_files()
    result = workplace.run(command, "--config", "small.yaml")
    lines = result.stderr.splitlines()
    assert result.exit_code == exit_code, result.output
    assert len(lines) == len(expected), lines
    for line, part in zip(lines, expected, strict=True):
        assert line.startswith("error: ")
        assert part in line
    assert "Traceback" not in result.output
    assert result.stdout == ""
    assert workplace.list_files() == before


def test_missing_file(workplace: Workplace) -> None:
    (workplace.folder / "log.tsv").unlink()
    check(workplace, 1, "data.events: log.tsv: no such file")


def test_gzip_cut_in_the_middle(workplace: Workplace) -> None:
    whole = gzip.compress((workplace.folder / "log.tsv").read_bytes())
    (workplace.folder / "log.tsv").write_bytes(whole[: len(whole) // 2])
    check(workplace, 1, "log.tsv: the gzip stream ends early")


def test_an_empty_folder(workplace: Workplace) -> None:
    (workplace.folder / "log.tsv").unlink()
    (workplace.folder / "log.tsv").mkdir()
    check(workplace, 1, "data.events: log.tsv: no file there matches; check the path")


def test_empty_file(workplace: Workplace) -> None:
    (workplace.folder / "log.tsv").write_text("")
    check(workplace, 1, "data.events: log.tsv: is empty")


@pytest.mark.parametrize(
    "contents", [b'{"reviewerID": "u", "asin": "i"}\n', b"\x89PNG\r\n\x1a\n" + bytes(range(256)), b"PAR1 not really"]
)
def test_file_of_another_format(workplace: Workplace, contents: bytes) -> None:
    (workplace.folder / "log.tsv").write_bytes(contents)
    check(workplace, 1, "log.tsv")


def test_metadata_with_no_matching_item(workplace: Workplace) -> None:
    reviews = "".join(f'{{"reviewerID": "u", "asin": "a{n}", "unixReviewTime": {n}}}\n' for n in range(9))
    (workplace.folder / "reviews.json").write_text(reviews)
    (workplace.folder / "meta.json").write_text('{"asin": "b", "category": ["x"]}\n')
    workplace.write_config()
    (workplace.folder / "small.yaml").write_text(
        "name: small\nmodel: {name: din}\ntraining: {epochs: 1}\n"
        "data: {source: amazon-2018, reviews: reviews.json, items: meta.json, prepared: prepared/small}\n"
    )
    check(workplace, 1, "meta.json: no item of reviews.json is in its 1 lines; the reviews have 'a0', the metadata")


@pytest.mark.parametrize("source", ["amazon-2014", "amazon-2018"])
def test_reviews_given_as_metadata(workplace: Workplace, source: str) -> None:
    reviews = "".join(f'{{"reviewerID": "u", "asin": "a{n}", "unixReviewTime": {n}}}\n' for n in range(9))
    (workplace.folder / "reviews.json").write_text(reviews)
    (workplace.folder / "small.yaml").write_text(
        "name: small\nmodel: {name: din}\ntraining: {epochs: 1}\n"
        f"data: {{source: {source}, reviews: reviews.json, items: reviews.json, prepared: prepared/small}}\n"
    )
    check(workplace, 1, "a review, not an item: 9")


def test_one_bad_timestamp_is_a_rejected_line(workplace: Workplace) -> None:
    with (workplace.folder / "log.tsv").open("a") as log:
        log.write("u0\ti0\tc0\tyesterday\n")
    result = workplace.run("prepare", "--config", "small.yaml")
    assert result.exit_code == 0, result.output
    assert workplace.read_json("prepared/small/rejected.jsonl") == {
        "file": "log.tsv",
        "line": 602,
        "reason": "timestamp not a number or a date",
        "text": "u0\ti0\tc0\tyesterday",
    }
    assert "timestamp not a number or a date" in result.stdout
    read = workplace.read_json("prepared/small/manifest.json")["read"]
    assert read[0]["rejected"] == {"timestamp not a number or a date": 1}


def test_more_bad_timestamps_than_allowed(workplace: Workplace) -> None:
    with (workplace.folder / "log.tsv").open("a") as log:
        log.write("u0\ti0\tc0\tyesterday\n" * 20)
    check(workplace, 1, "20 of 620 lines")


def test_nobody_has_enough_events(workplace: Workplace) -> None:
    write_log(workplace.folder / "log.tsv", [(f"u{n}", "i", "c", n) for n in range(20)])
    check(workplace, 1, "no user has the 3 events the protocol needs (the log has 20 events of 20 users)")


def test_config_with_four_problems_at_once(workplace: Workplace) -> None:
    workplace.write_config(
        data={"protocl": "paper", "max_bad_share": 7}, training={"batch_size": "many"}, model={"name": None}
    )
    text = (workplace.folder / "small.yaml").read_text().replace("name: null", "pooling: sum")
    (workplace.folder / "small.yaml").write_text(text)
    check(
        workplace,
        2,
        "data.max_bad_share: received 7",
        "data.protocl: unknown key, did you mean 'protocol'?",
        "model.name: missing",
        "training.batch_size: received 'many'",
    )


def test_corrupted_weights(fitted: Workplace) -> None:
    weights = fitted.folder / "runs/small/checkpoints/best.weights.h5"
    contents = bytearray(weights.read_bytes())
    contents[len(contents) // 2] ^= 0xFF
    weights.write_bytes(contents)
    result = fitted.run("eval")
    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert "best.weights.h5: missing or damaged" in line
    assert not (fitted.folder / "runs/small/metrics.test.json").exists()


@pytest.mark.parametrize("name", ["best.json", "best.weights.h5"])
def test_missing_checkpoint_files(fitted: Workplace, name: str) -> None:
    (fitted.folder / "runs/small/checkpoints" / name).unlink()
    result = fitted.run("eval")
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize("contents", ["{", '{"auc": 1}'])
def test_damaged_metrics(fitted: Workplace, contents: str) -> None:
    (fitted.folder / "runs/small/metrics.json").write_text(contents)
    result = fitted.run("compare", "runs/small")
    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: runs/small/metrics.json: damaged or changed since it was written (")


def test_a_run_is_not_compared_with_itself(fitted: Workplace) -> None:
    result = fitted.run("compare", "runs/small", "runs/small")
    assert (result.exit_code, result.stderr) == (2, "error: compare: received a run twice; name different ones\n")


def test_eval_takes_no_key_that_changes_what_was_trained(fitted: Workplace) -> None:
    result = fitted.run("eval", "--set", "model.name=base")
    assert result.exit_code == 2
    assert result.stderr.startswith("error: --set model.name=base: would change what was trained; ")


@pytest.mark.parametrize(("key", "path"), [("data.prepared", "file/prepared"), ("name", "small")])
def test_a_file_stands_in_a_folders_place(workplace: Workplace, key: str, path: str) -> None:
    (workplace.folder / "file").write_text("")
    if key == "name":
        (workplace.folder / "runs").write_text("")
    before = workplace.list_files()
    result = workplace.fit("--set", f"{key}={path}")
    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert "is a file" in line
    assert workplace.list_files() == before


def test_eval_without_a_run(workplace: Workplace) -> None:
    result = workplace.run("eval")
    assert result.exit_code == 2
    assert result.stderr.splitlines() == [
        "error: runs/latest: no run yet; train one with `din-train fit --config ...`, or give --run-dir"
    ]


def test_a_gpu_that_is_not_there(workplace: Workplace) -> None:
    result = workplace.fit("--set", "training.device=gpu")
    assert result.exit_code == 2
    assert "training.device: received 'gpu', but TensorFlow sees no GPU" in result.stderr.splitlines()[-1]
    assert not (workplace.folder / "runs/small").exists()


def test_a_loss_that_is_no_number(workplace: Workplace) -> None:
    result = workplace.fit("--set", "training.optimizer={name: sgd, learning_rate: 1e30}", "--set", "training.epochs=3")
    assert result.exit_code == 1
    assert "lower training.optimizer.learning_rate" in result.stderr.splitlines()[-1]


def test_a_protocol_that_leaves_nothing_to_train_on(workplace: Workplace) -> None:
    write_log(workplace.folder / "log.tsv", [event for event in EVENTS if event[3] < 120])
    result = workplace.fit()
    assert result.exit_code == 1
    assert "leaves no training sample" in result.stderr.splitlines()[-1]
    assert not Path("runs/small").exists()


@pytest.mark.parametrize(
    "events",
    [
        [("u", f"i{n % 7}", "c", n) for n in range(60)],
        [(f"u{n % 9}", "i", "c", n) for n in range(60)],
        [("u", "i", "c", n) for n in range(4)],
    ],
    ids=["one user", "one item", "one sample"],
)
def test_users_who_leave_nothing_to_sample_are_refused_before_training(
    workplace: Workplace, events: list[tuple[str, str, str, int]]
) -> None:
    write_log(workplace.folder / "log.tsv", events)
    result = workplace.fit()
    assert result.exit_code == 1, result.output
    assert "positives have no item left that their user has not chosen" in result.stderr.splitlines()[-1]
    assert not (workplace.folder / "runs/small").exists()


def test_what_no_epoch_can_be_chosen_on_is_refused_before_training(workplace: Workplace) -> None:
    """What the users did not click was shown before the validation split."""
    shown = [("a", 0, 1), ("b", 1, 1), ("c", 1, 0), ("d", 2, 1), ("e", 3, 1)]
    rows = [(f"u{n}", item, "c", time, label) for n in range(9) for item, time, label in shown]
    write_table(workplace.folder / "log.tsv", ["user", "item", "category", "time", "label"], rows)
    workplace.write_config(data={"columns": {"user": "user", "item": "item", "timestamp": "time", "label": "label"}})
    result = workplace.fit()
    assert result.exit_code == 1, result.output
    line = result.stderr.splitlines()[-1]
    assert "validation split has no user with rows of both classes, clicked and not clicked (" in line
    assert line.endswith(
        "so gauc, which chooses the epoch, is undefined on it; use a longer log, or training.select_on=none"
    )
    assert not (workplace.folder / "runs/small").exists()
