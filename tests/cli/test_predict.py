"""`predict` on a trained run: evaluation's own scores, resuming, the prior correction, and what is refused."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from log_factory import read_samples, write_table
from workplace import EVENTS, Workplace

from din_train.dataset.protocols import Split
from din_train.dataset.store import open_store
from din_train.evaluation.scores import read_scores

CANDIDATES = [(f"u{n % 45}", f"i{(n * 13) % 101}", n) for n in range(3_000)]  # some users and items are unknown


def write_candidates(workplace: Workplace) -> None:
    text = "user,item,slot\n" + "".join(f"{user},{item},{slot}\n" for user, item, slot in CANDIDATES)
    (workplace.folder / "new.csv").write_text(text)


def predict(workplace: Workplace, *arguments: str, output: str = "out.parquet", source: str = "new.csv") -> pa.Table:
    result = workplace.run("predict", "--input", source, "--output", output, *arguments)
    assert result.exit_code == 0, result.output
    return pq.read_table(output)


@pytest.mark.parametrize("way", ["history", "time"])
def test_the_test_split_s_rows_have_the_test_split_s_scores(fitted: Workplace, way: str) -> None:
    data = open_store(Path("prepared/small"))
    scores = read_scores(Path("runs/small/scores.test.parquet"))
    rows = read_samples(data, Split.TEST)
    last = {user: moment for user, _, _, moment in EVENTS}  # in time order; all times differ
    table = pa.table(
        {
            "user": [row["user"] for row in rows],
            "item": [row["target"] for row in rows],
            "history": [row["history"] for row in rows],
            "time": [last[row["user"]] for row in rows],
        }
    )
    pq.write_table(table.drop(["time" if way == "history" else "history"]), "rows.parquet")
    predicted = predict(fitted, "--chunk-rows", "1024", source="rows.parquet")
    assert len(predicted) == 80
    assert predicted["logit"].to_pylist() == scores.logit.tolist()
    assert predicted["click_probability"].to_numpy() == pytest.approx(scores.click_probabilities, rel=1e-6)
    in_small = predict(fitted, "--chunk-rows", "7", source="rows.parquet", output="small.parquet")
    assert in_small["logit"].to_numpy() == pytest.approx(scores.logit, abs=1e-6)


def test_rows_stay_as_they_are_and_unknown_ids_are_scored_alike(fitted: Workplace) -> None:
    write_candidates(fitted)
    result = fitted.run("predict", "--input", "new.csv", "--output", "out.parquet", "--chunk-rows", "700")
    table = pq.read_table("out.parquet")
    assert table.column_names == ["user", "item", "slot", "click_probability", "logit"]
    rows = table.to_pylist()
    assert [(row["user"], row["item"], int(row["slot"])) for row in rows] == CANDIDATES
    unknown = [row["logit"] for row in rows if int(row["user"][1:]) >= 40 and int(row["item"][1:]) >= 97]
    assert len(unknown) > 5
    assert np.ptp(unknown) < 1e-6
    assert len({row["logit"] for row in rows}) > 500
    users, items = (sum(int(row[key][1:]) >= most for row in rows) for key, most in (("user", 40), ("item", 97)))
    assert (
        f"3,000 rows, 3,000 scored, mean click_probability {np.mean(table['click_probability']):.6f}; {users} of "
        in (result.stderr)
    )
    assert f"{users} of unknown users, {items} of unknown items, {users} without a history" in result.stderr
    assert "calibrated to the training rows, of which 50.0000% are positives" in result.stderr
    assert result.stdout == ""


def test_bad_rows_are_null_counted_and_fatal_past_their_share(fitted: Workplace) -> None:
    (fitted.folder / "new.csv").write_text("user,item\nu0,i0\nu1\n,i3\nu2,i2\n")
    result = fitted.run("predict", "--input", "new.csv", "--output", "out.parquet")
    assert result.exit_code == 1
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert (
        "new.csv: 2 of 4 rows cannot be scored (empty user: 1, the first is row 3, wrong number of fields: 1, the "
        "first is row 2), more than the 1 that data.max_bad_share = 0.01 allows"
    ) in line
    assert not Path("out.parquet").exists()
    table = predict(fitted, "--set", "data.max_bad_share=0.5")
    assert [each is None for each in table["logit"].to_pylist()] == [False, True, True, False]
    assert [each is None for each in table["click_probability"].to_pylist()] == [False, True, True, False]
    assert table["item"].to_pylist() == ["i0", None, "i3", "i2"]


def test_killed_and_run_again_gives_the_same_bytes(fitted: Workplace) -> None:
    write_candidates(fitted)
    predict(fitted, "--chunk-rows", "30", output="whole.parquet")
    command = ["predict", "--input", "new.csv", "--output", "out.parquet", "--chunk-rows", "30"]
    folder = Path("out.parquet.unfinished")
    with subprocess.Popen([sys.executable, "-m", "din_train", *command], stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 120
        while len(list(folder.glob("chunk-*.arrow"))) < 5:
            assert process.poll() is None, process.communicate()[1]
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    chunks = len(list(folder.glob("chunk-*.arrow")))
    assert 5 <= chunks < 100
    other = fitted.run(*command[:-1], "20")
    assert other.exit_code == 2
    assert "out.parquet.unfinished: begun with another chunk rows, so it cannot go on" in other.stderr
    result = fitted.run(*command)
    assert result.exit_code == 0, result.output
    assert f"out.parquet.unfinished: going on after {30 * chunks:,} rows" in result.stderr
    assert Path("out.parquet").read_bytes() == Path("whole.parquet").read_bytes()
    assert not folder.exists()


def test_a_signal_keeps_finished_chunks(fitted: Workplace) -> None:
    """SIGTERM; as after Ctrl-C, `KeyboardInterrupt` is raised, and `test_interruption.py` has both."""
    write_candidates(fitted)
    code = "import sys, time\nfrom din_train.predict.predict import RowScorer\nplain = RowScorer.score\n"
    code += "def slow(self, chunk):\n    time.sleep(0.2)\n    return plain(self, chunk)\nRowScorer.score = slow\n"
    code += "from din_train.cli import main\nmain()\n"
    (fitted.folder / "slow.py").write_text("from din_train.tensorflow_setup import start_tensorflow\n"
                                              "start_tensorflow('cpu')\n" + code)  # fmt: skip
    command = ["predict", "--input", "new.csv", "--output", "out.parquet", "--chunk-rows", "100"]
    with subprocess.Popen([sys.executable, "slow.py", *command], stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 120
        while len(list(Path("out.parquet.unfinished").glob("chunk-*.arrow"))) < 2:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 143
    kept = len(list(Path("out.parquet.unfinished").glob("chunk-*.arrow")))
    assert errors.splitlines()[-1] == (
        f"interrupted; scoring stopped by SIGTERM: {100 * kept:,} rows are kept in out.parquet.unfinished; run the "
        "same command again to go on"
    )
    assert not Path("out.parquet").exists()


def test_an_items_file_says_what_new_items_are(fitted: Workplace) -> None:
    Path("new.csv").write_text("user,item,time\nu1,i1,900\nu1,brand-new,900\nu2,other,900\n")
    Path("items.jsonl").write_text(
        '{"item": "brand-new", "category": "c1"}\n{"item": "i1", "category": "c9"}\n{"item": "x", "category": "c9"}\n'
    )
    plain = predict(fitted)["logit"].to_pylist()
    command = ("predict", "--input", "new.csv", "--output", "out.parquet", "--overwrite", "--items")
    result = fitted.run(*command, "items.jsonl")
    assert result.exit_code == 0, result.output
    logits = pq.read_table("out.parquet")["logit"].to_pylist()
    assert plain[1] != logits[1]
    assert (plain[0], plain[2]) == pytest.approx((logits[0], logits[2]), abs=1e-6)
    said = result.stderr.splitlines()
    assert "items.jsonl: the data set does not know 2 of its items, of which 1 can be described" in said
    assert "items.jsonl: 1 of 2 values of 'category' are unknown" in said
    assert "1 of unknown items" in result.stderr
    assert any(line.startswith("1 rows are of items that came after training") for line in said)
    missing = fitted.run(*command, "nowhere.csv")
    assert missing.exit_code == 1
    assert missing.stderr.splitlines()[-1].startswith("error: nowhere.csv: ")


def test_the_run_s_dialect_and_lists_of_objects(fitted: Workplace) -> None:
    Path("new.jsonl").write_text(
        '{"user": "u1", "item": "i1", "shown": [{"i": "i2"}, {"i": "i3"}]}\n{"user": "u2", "item": "i4", "shown": []}\n'
    )
    whole = predict(fitted, source="new.jsonl")
    assert (whole.column_names[:3], whole.num_rows) == (["user", "item", "shown"], 2)
    shown = predict(fitted, "--overwrite", "--columns", "item=shown.i", source="new.jsonl")
    assert shown.select(["user", "item", "shown.i"]).to_pylist() == [
        {"user": "u1", "item": "i1", "shown.i": "i2"},
        {"user": "u1", "item": "i1", "shown.i": "i3"},
    ]
    Path("new.csv").write_text("u1,i1\nu2,i4\n")
    command = ("predict", "--input", "new.csv", "--output", "other.parquet", "--columns", "user=1,item=2")
    assert fitted.run(*command).exit_code == 2
    result = fitted.run(*command, "--set", "data.format.header=false")
    assert result.exit_code == 0, result.output
    logits = pq.read_table("other.parquet")["logit"].to_pylist()
    assert logits == pytest.approx(whole["logit"].to_pylist(), abs=1e-6)
    result = fitted.run(
        *command, "--overwrite", "--set", "data.format.header=false", "--set", "data.format.delimiter=;"
    )
    assert (result.exit_code, "read as data.format says (delimiter: ';', header: False)" in result.stderr) == (2, True)


def test_the_corrected_mean_is_the_real_share(workplace: Workplace) -> None:
    """Impressions of which every click and one other in ten were kept for training; then all of them are scored."""
    random = np.random.default_rng(1)
    rates = np.array([0.01, 0.02, 0.03, 0.05, 0.08, 0.12])
    items = random.integers(0, len(rates), 30_000)
    clicks = random.random(30_000) < rates[items]
    share = clicks.mean()
    rows = [
        (f"u{n % 40}", f"i{item}", f"c{item}", n, int(click))
        for n, (item, click) in enumerate(zip(items, clicks, strict=True))
    ]
    kept = [row for row, keep in zip(rows, clicks | (random.random(30_000) < 0.1), strict=True) if keep]
    write_table(workplace.folder / "log.tsv", ["user", "item", "category", "time", "label"], kept)
    write_table(workplace.folder / "all.tsv", ["user", "item", "time"], [(*row[:2], row[3]) for row in rows])
    columns = {"user": "user", "item": "item", "category": "category", "timestamp": "time", "label": "label"}
    workplace.write_config(
        data={"source": "table", "events": "log.tsv", "columns": columns, "prepared": "prepared/small"},
        model={"name": "lr"},
        training={
            "epochs": 30,
            "batch_size": 256,
            "optimizer": {"name": "adam", "learning_rate": 0.005},
            "select_on": "none",  # the validation split is 99 rows
        },
    )
    assert workplace.fit().exit_code == 0
    plain = np.mean(predict(workplace, source="all.tsv")["click_probability"])
    corrected = predict(workplace, "--positive-share", f"{share}", source="all.tsv", output="corrected.parquet")
    noise = np.sqrt(share * (1 - share) / len(rows))
    assert plain > 4 * share
    assert abs(np.mean(corrected["click_probability"]) - share) < 6 * noise
    by_item = {
        item: np.mean(corrected["click_probability"].filter(pa.compute.equal(corrected["item"], f"i{item}")))
        for item in range(6)
    }
    assert by_item[5] > 3 * by_item[0]


def test_what_is_refused(fitted: Workplace) -> None:
    write_candidates(fitted)
    (fitted.folder / "out.parquet").write_text("")
    (fitted.folder / "folder.parquet").mkdir()
    for arguments, exit_code, expected in (
        (["new.csv", "out.csv"], 2, "--output: received out.csv, expected a name that ends in .parquet"),
        (["new.csv", "out.parquet"], 2, "--output: out.parquet: already there; give --overwrite to replace it"),
        (["new.csv", "folder.parquet"], 2, "--output: folder.parquet: is a folder"),
        (["out.parquet", "out.parquet", "--overwrite"], 2, "--output: out.parquet is the input itself"),
        (["gone.csv", "new.parquet"], 1, "gone.csv: cannot be read (No such file or directory)"),
        (["new.csv", "new.parquet", "--columns", "item=asin"], 2, "--columns item=: no column 'asin' in the header"),
        (["new.csv", "new.parquet", "--run-dir", "runs/gone"], 2, "runs/gone: not a run directory"),
        (["new.csv", "new.parquet", "--set", "model.name=base"], 2, "--set model.name=base: would change what was"),
    ):
        source, output, *rest = arguments
        before = fitted.list_files()
        result = fitted.run("predict", "--input", source, "--output", output, *rest)
        assert result.exit_code == exit_code, result.output
        (line,) = result.stderr.splitlines()
        assert line.startswith(f"error: {expected}") or expected in line
        assert fitted.list_files() == before
    predict(fitted, "--overwrite")
    assert len(pq.read_table("out.parquet")) == 3_000


def test_a_data_set_elsewhere(fitted: Workplace) -> None:
    write_candidates(fitted)
    here = predict(fitted)
    (fitted.folder / "prepared/small").rename(fitted.folder / "moved")
    there = predict(fitted, "--set", "data.prepared=moved", output="there.parquet")
    assert there.equals(here)


def test_none_of_the_rows_fits(fitted: Workplace) -> None:
    (fitted.folder / "new.csv").write_text("user,item\n" + ",\n" * 2_000)
    result = fitted.run("predict", "--input", "new.csv", "--output", "out.parquet")
    assert result.exit_code == 1
    assert "none of its first 2,000 rows can be scored (empty user: 2,000, the first is row 1)" in result.stderr
    assert not Path("out.parquet.unfinished").exists()


@pytest.mark.parametrize("labelled", [False, True])
def test_rows_of_the_log_get_the_scores_of_eval_to_the_bit(workplace: Workplace, labelled: bool) -> None:
    """Five events of a user have one time; by time alone most rows get another history."""
    rows = [(f"u{n % 20}", f"i{(n * 7 + n // 40) % 97}", f"c{n % 5}", n // 100, n // 20 % 3 % 2) for n in range(800)]
    write_table(workplace.folder / "log.tsv", ["user", "item", "category", "time", "label"], rows)
    columns = {"user": "user", "item": "item", "category": "category", "timestamp": "time"}
    data = {"source": "table", "events": "log.tsv", "columns": columns, "prepared": "prepared/small"}
    if labelled:
        data["columns"] = {**columns, "label": "label"}
    workplace.write_config(
        data=data, model={"name": "base"}, negatives={"per_positive": 2, "evaluation_per_positive": 2}
    )
    assert workplace.fit("--set", "training.epochs=1").exit_code == 0
    scores = pq.read_table("runs/small/scores.test.parquet")
    users, items = (
        dict(zip(table[f"{key}_id"].to_pylist(), table[key].to_pylist(), strict=True))
        for key, table in ((key, pq.read_table(f"prepared/small/{key}s.parquet")) for key in ("user", "item"))
    )
    test = [
        (users[user], items[item], rows[event][3], event)
        for user, item, event in zip(
            *(scores[name].to_pylist() for name in ("user_id", "target_item_id", "event")), strict=True
        )
    ]
    write_table(workplace.folder / "new.csv", ["user", "item", "time", "event"], test)
    by_event = predict(workplace, "--columns", "event=event")["logit"]
    assert by_event.to_numpy().tobytes() == scores["logit"].to_numpy().tobytes()
    by_time = workplace.run("predict", "--input", "new.csv", "--output", "time.parquet")
    assert f"{len(test):,} rows have stored events of their user at their own time" in by_time.stderr or labelled
