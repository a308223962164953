"""What is finished stays: runs in use, moved or replaced meanwhile, links, other folders, logs that are gone."""

import importlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import orjson
import pyarrow.parquet as pq
import pytest
from click.testing import Result
from workplace import QUICK, Workplace, move_run

from din_train.checksums import INDEX
from din_train.dataset import prepare
from din_train.files import hold
from din_train.predict import unfinished_table as unfinished
from din_train.training import checkpoint

EVALUATE = importlib.import_module("din_train.scoring")  # whose package has a function of its name
RUN = Path("runs/small")
EXPLAIN = ("explain", "--user", "u1", "--item", "i7")


@pytest.fixture
def finished(two_runs: Workplace) -> Workplace:
    """A folder where `fit` has ended, and another run of the same."""
    return two_runs


def read_all(folder: Path) -> dict[str, bytes]:
    """Every file's contents, those behind links included once."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def last_line(result: Result) -> str:
    return result.stderr.splitlines()[-1]


# --- one process at a time


@pytest.mark.parametrize(
    "command",
    [("fit",), ("fit", "--overwrite"), ("fit", "--resume"), ("report",)],
    ids=lambda command: " ".join(command),
)
def test_a_run_in_use_is_refused_with_its_process(finished: Workplace, command: tuple[str, ...]) -> None:
    before = read_all(finished.folder)
    with hold(RUN):
        result = finished.fit(*command[1:]) if command[0] == "fit" else finished.run(*command)
    assert result.exit_code == 2
    assert last_line(result) == f"error: runs/small: in use by process {os.getpid()}; wait for it to end, or stop it"
    assert read_all(finished.folder) == before


def test_every_seeds_run_is_held(workplace: Workplace) -> None:
    with hold(workplace.folder / "runs/small-seed2"):
        result = workplace.fit("--seeds", "1,2")
    assert result.exit_code == 2
    assert "runs/small-seed2: in use by process" in last_line(result)
    assert not list((workplace.folder / "runs").iterdir())
    assert not (workplace.folder / "prepared").exists()


def test_two_processes_do_not_both_resume(finished: Workplace) -> None:
    (RUN / "metrics.json").unlink()
    command = [sys.executable, "-m", "din_train", "fit", "--config", "small.yaml", "--resume"]
    processes = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    errors = [process.communicate(timeout=200)[1] for process in processes]
    codes = [process.returncode for process in processes]
    assert codes in ([0, 2], [2, 0]), errors
    refused, other = codes.index(2), codes.index(0)
    assert errors[refused].splitlines()[-1] == (
        f"error: runs/small: in use by process {processes[other].pid}; wait for it to end, or stop it"
    )
    assert len((finished.folder / RUN / "history.jsonl").read_bytes().splitlines()) == 2


def test_a_run_that_comes_while_the_data_are_prepared_is_not_replaced(
    finished: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    (finished.folder / RUN).rename(finished.folder / "runs/away")
    describe = prepare.describe_recipe

    def bring_back(config: Any) -> Any:
        if (finished.folder / "runs/away").exists():
            (finished.folder / "runs/away").rename(finished.folder / RUN)
        return describe(config)

    monkeypatch.setattr(prepare, "describe_recipe", bring_back)
    before = read_all(finished.folder / "runs/away")
    result = finished.fit()
    assert result.exit_code == 2
    assert "runs/small: already used" in last_line(result)
    assert read_all(finished.folder / RUN) == before


# --- checked before anything is removed


@pytest.mark.parametrize("what", ["folder", "file"])
def test_runs_latest_that_is_no_link_is_refused_before_the_run_is_replaced(finished: Workplace, what: str) -> None:
    latest = finished.folder / "runs/latest"
    latest.unlink()
    if what == "folder":
        shutil.copytree(finished.folder / RUN, latest)
    else:
        latest.write_text("mine")
    before = read_all(finished.folder)
    result = finished.fit("--overwrite")
    assert result.exit_code == 1
    assert last_line(result) == "error: runs/latest: expected a link that din-train made; move it away"
    assert read_all(finished.folder) == before


@pytest.mark.parametrize(
    "name", [".2026-notes.txt", "plots/mine.txt", "checkpoints/mine.txt", ".plots.tmp/mine.txt", "checkpoints/.1-mine"]
)
def test_what_is_not_a_runs_is_not_overwritten(finished: Workplace, name: str) -> None:
    path = finished.folder / RUN / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("mine")
    result = finished.fit("--overwrite")
    assert result.exit_code == 2
    assert "which is not a run's, so --overwrite leaves it alone" in last_line(result)
    assert path.read_text() == "mine"


def test_somebodys_backup_beside_a_run_is_left_alone(finished: Workplace) -> None:
    for name in (".small.old", ".small.scratch"):
        shutil.copytree(finished.folder / RUN, finished.folder / "runs" / name)
    assert finished.fit("--overwrite", *QUICK).exit_code == 0
    for name in (".small.old", ".small.scratch"):
        assert (finished.folder / "runs" / name / "metrics.json").exists()
    (finished.folder / "runs/.small.old").rename(finished.folder / "runs/.small.tmp")
    before = read_all(finished.folder)
    result = finished.fit("--overwrite")
    assert result.exit_code == 1
    assert last_line(result) == (
        "error: runs/.small.tmp: in the way, and not made by din-train, which leaves it alone; move it away"
    )
    assert read_all(finished.folder) == before


def test_the_current_folder_is_not_replaced(workplace: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    (workplace.folder / "here").mkdir()
    monkeypatch.chdir(workplace.folder / "here")
    result = workplace.run("fit", "--config", "../small.yaml", "--run-dir", ".")
    assert result.exit_code == 2
    assert "the current folder lies in it" in last_line(result)


def test_plots_of_others_stay(finished: Workplace) -> None:
    (RUN / "plots/notes.txt").write_text("mine")
    assert finished.run("report").exit_code == 0
    assert (RUN / "plots/notes.txt").read_text() == "mine"


# --- a command goes on with the run that it began with


def during_scoring(monkeypatch: pytest.MonkeyPatch, act: Any) -> None:
    score = EVALUATE.score_split

    def act_then_score(*arguments: Any) -> Any:
        act()
        return score(*arguments)

    monkeypatch.setattr(EVALUATE, "score_split", act_then_score)


def test_eval_writes_into_the_run_that_was_the_latest_when_it_began(
    finished: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def move_latest() -> None:
        Path("runs/latest").unlink()
        Path("runs/latest").symlink_to("other")

    during_scoring(monkeypatch, move_latest)
    result = finished.run("eval")
    assert result.exit_code == 0, result.output
    assert last_line(result) == "runs/small: metrics.test.json and scores.test.parquet written"
    assert finished.read_json("runs/small/metrics.test.json") == finished.read_json("runs/small/metrics.json")
    assert not Path("runs/other/metrics.test.json").exists()


def test_eval_does_not_write_into_a_run_that_has_taken_the_place(
    finished: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def replace_run() -> None:
        RUN.rename("runs/away")
        shutil.copytree("runs/other", RUN)

    during_scoring(monkeypatch, replace_run)
    result = finished.run("eval", "--json")
    assert result.exit_code == 1
    assert orjson.loads(result.stdout)["gauc"] == finished.read_json("runs/away/metrics.json")["gauc"]
    assert last_line(result) == (
        "error: runs/small: metrics.test.json and scores.test.parquet could not be kept (runs/small: another training "
        "has replaced it, or gone on with it, meanwhile)"
    )
    assert read_all(RUN) == read_all(Path("runs/other"))


def test_eval_and_audit_of_a_run_in_training_show_their_numbers(finished: Workplace) -> None:
    with hold(RUN):
        evaluated, audited = finished.run("eval", "--json"), finished.run("audit", "--json")
    assert orjson.loads(evaluated.stdout)["gauc"] == finished.read_json("runs/small/metrics.json")["gauc"]
    assert orjson.loads(audited.stdout)["checks"]
    for result, what in ((evaluated, "metrics.test.json and scores.test.parquet"), (audited, "audit.json")):
        assert result.exit_code == 1
        assert f"{what} could not be kept (runs/small: in use by process {os.getpid()}" in last_line(result)
    assert not (RUN / "audit.json").exists()


def test_eval_of_a_run_that_cannot_be_written_names_the_file(
    finished: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace = Path.replace

    def refuse(self: Path, target: Path) -> Path:
        if target.name.startswith(("scores.", "metrics.")):
            raise OSError(30, "Read-only file system", str(self))
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", refuse)
    before = read_all(RUN)
    result = finished.run("eval", "--json")
    assert result.exit_code == 1
    assert orjson.loads(result.stdout)["gauc"] == finished.read_json("runs/small/metrics.json")["gauc"]
    assert "(runs/small/scores.test.parquet: cannot be written (Read-only file system)" in last_line(result)
    (RUN / INDEX).unlink()  # which may know the files that were to be
    del before[INDEX]
    assert read_all(RUN) == before


def test_the_weights_that_are_checked_are_those_that_are_loaded(
    finished: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = RUN / "checkpoints/best.weights.h5"
    others = Path("runs/other/checkpoints/best.weights.h5").read_bytes()
    compute_sha256 = checkpoint.compute_sha256

    def swap_then_tell(path: Path) -> str:
        sha256 = compute_sha256(path)
        weights.write_bytes(others)
        return sha256

    monkeypatch.setattr(checkpoint, "compute_sha256", swap_then_tell)
    result = finished.run("eval", "--json")
    assert orjson.loads(result.stdout)["gauc"] == finished.read_json("runs/small/metrics.json")["gauc"]
    assert weights.read_bytes() == others


def test_weights_whose_record_is_about_to_come_are_read_as_they_were(finished: Workplace) -> None:
    """As a training leaves them between the two renames."""
    folder = RUN / "checkpoints"
    sha256 = finished.read_json("runs/small/checkpoints/best.json")["sha256"]
    (folder / "best.weights.h5").rename(folder / f"replaced-{sha256[:16]}.weights.h5")
    shutil.copy("runs/other/checkpoints/best.weights.h5", folder)
    result = finished.run("eval", "--json")
    assert result.exit_code == 0, result.output
    assert orjson.loads(result.stdout)["gauc"] == finished.read_json("runs/small/metrics.json")["gauc"]


# --- other folders


@pytest.mark.parametrize("moved", ["nothing", "project", "run"])
def test_a_run_finds_its_data_from_any_folder(finished: Workplace, monkeypatch: pytest.MonkeyPatch, moved: str) -> None:
    project = finished.folder / "project"
    project.mkdir()
    for name in ("log.tsv", "small.yaml", "prepared", "runs"):
        (finished.folder / name).rename(project / name)
    move_run(project / RUN, finished.folder, project)  # as if it had been trained there
    gauc = orjson.loads((project / RUN / "metrics.json").read_bytes())["gauc"]
    run = project / RUN
    if moved == "project":
        run = project.rename(finished.folder / "elsewhere") / RUN
    if moved == "run":
        run = run.rename(finished.folder / "kept")
    (finished.folder / "other").mkdir()
    monkeypatch.chdir(finished.folder / "other")
    of_run = ("--run-dir", os.path.relpath(run))
    result = finished.run("eval", *of_run, "--json")
    assert result.exit_code == 0, result.output
    assert orjson.loads(result.stdout)["gauc"] == gauc
    if moved != "nothing":
        return
    assert finished.run(*EXPLAIN, *of_run).exit_code == 0
    assert finished.run("audit", *of_run).exit_code == 0
    assert finished.run("report", *of_run).exit_code == 0
    assert "the prepared data set" not in (run / "report.html").read_text().lower()
    Path("rows.csv").write_text("user,item\nu1,i7\n")
    predicted = finished.run("predict", *of_run, "--input", "rows.csv", "--output", "out.parquet")
    assert predicted.exit_code == 0, predicted.output
    (run / "metrics.json").unlink()
    resumed = finished.run("fit", "--config", f"{of_run[1]}/config.yaml", *of_run, "--resume")
    assert resumed.exit_code == 0, resumed.output
    assert "log.tsv: no longer there" in resumed.stderr
    assert orjson.loads((run / "metrics.json").read_bytes())["gauc"] == gauc


@pytest.mark.parametrize("command", [("eval",), ("audit",), EXPLAIN, ("predict",)], ids=lambda command: command[0])
def test_data_that_are_nowhere_are_named_with_the_way_out(finished: Workplace, command: tuple[str, ...]) -> None:
    Path("prepared").rename("moved")
    Path("rows.csv").write_text("user,item\nu1,i7\n")
    rows = ("--input", "rows.csv", "--output", "out.parquet") if command == ("predict",) else ()
    result = finished.run(*command, *rows)
    assert result.exit_code == 1
    assert str(finished.folder / "prepared/small") in last_line(result)
    assert "--set data.prepared=FOLDER" in last_line(result)
    assert finished.run(*command, *rows, "--set", "data.prepared=moved/small").exit_code == 0
    Path("out.parquet").unlink(missing_ok=True)
    refused = finished.run(*command, *rows, "--set", "model.name=base")
    assert refused.exit_code == 2
    assert "would change what was trained" in last_line(refused)


def test_report_and_compare_take_the_same_keys(finished: Workplace) -> None:
    Path("prepared").rename("moved")
    assert finished.run("report").exit_code == 0
    assert "prepared/small: the prepared data set is no longer there" in (RUN / "report.html").read_text()
    assert finished.run("report", "--set", "data.prepared=moved/small").exit_code == 0
    assert "no longer there" not in (RUN / "report.html").read_text()
    for override, code in (("metrics.resamples=20", 0), ("metrics.gauc_weighting=positives", 2), ("seed=3", 2)):
        assert finished.run("compare", "runs/small", "runs/other", "--set", override).exit_code == code


def test_a_run_is_not_compared_with_itself_by_another_name(finished: Workplace) -> None:
    result = finished.run("compare", "runs/latest", "runs/small")
    assert result.exit_code == 2
    assert "received a run twice" in last_line(result)


# --- links


def test_a_run_directory_behind_links(finished: Workplace) -> None:
    shutil.move("runs", "disk")
    Path("runs").symlink_to("disk")
    Path("link").symlink_to("disk/new")
    assert finished.fit("--run-dir", "link").exit_code == 0
    assert finished.read_json("disk/new/metrics.json") == finished.read_json("disk/small/metrics.json")
    old = Path("disk/new/metrics.json").stat().st_ino
    assert finished.fit("--run-dir", "link").exit_code == 2
    assert Path("link").readlink() == Path("disk/new")
    assert Path("runs/latest").readlink() == Path("new")
    assert not list(Path("disk").glob(".*"))
    result = finished.fit("--run-dir", "runs/latest", "--overwrite", *QUICK)
    assert result.exit_code == 0, result.output
    assert Path("disk/new/metrics.json").stat().st_ino != old
    assert Path("runs/latest").readlink() == Path("new")
    assert finished.run("eval").exit_code == 0


@pytest.mark.parametrize("kind", ["loop", "file"])
def test_a_link_that_cannot_be_written_through_is_refused_before_any_work(workplace: Workplace, kind: str) -> None:
    Path("link").symlink_to("link" if kind == "loop" else "log.tsv")
    for option in (("--run-dir", "link"), ("--set", "data.prepared=link"), ("--run-dir", "link/below")):
        result = workplace.fit(*option)
        assert result.exit_code == 1
        assert "link" in last_line(result)
        assert not Path("prepared").exists()


@pytest.mark.figures
def test_outputs_behind_links(finished: Workplace) -> None:
    Path("disk").mkdir()
    Path("rows.csv").write_text("user,item\nu1,i7\n")
    commands = {
        "out.parquet": ("predict", "--input", "rows.csv", "--output"),
        "picture.svg": (*EXPLAIN, "--output"),
        "page.html": ("compare", "runs/small", "runs/other", "--report"),
    }
    for name, command in commands.items():
        Path(name).symlink_to(f"disk/{name}")
        result = finished.run(*command, name)
        assert result.exit_code == 0, result.output
        assert Path(name).is_symlink()
        assert Path(f"disk/{name}").stat().st_size > 100
        loop = Path(f"loop-{name}")
        loop.symlink_to(loop)
        refused = finished.run(*command, str(loop))
        assert refused.exit_code == 1
        assert "leads back to itself" in last_line(refused)
    assert sorted(path.name for path in Path("disk").iterdir()) == sorted(commands)


# --- logs


def count_hashes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of files, in the order in which they are hashed, logs and prepared files alike."""
    hashed: list[str] = []
    for module in ("din_train.dataset.prepare", "din_train.dataset.manifest"):
        compute_sha256 = sys.modules[module].compute_sha256

        def note(path: Path, compute_sha256: Any = compute_sha256) -> str:
            hashed.append(path.name)
            sha256: str = compute_sha256(path)
            return sha256

        monkeypatch.setattr(sys.modules[module], "compute_sha256", note)
    return hashed


def test_logs_are_hashed_once_at_most_and_prepared_files_once(
    finished: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = finished.read_json("prepared/small/manifest.json")
    hashed = count_hashes(monkeypatch)
    os.utime("log.tsv", (1, 1))
    time.sleep(2.1)  # until its change is old enough to be told from a later one
    assert finished.fit("--run-dir", "runs/a", *QUICK).exit_code == 0
    assert sorted(hashed) == sorted(["log.tsv", *manifest["files"]])
    hashed.clear()
    assert finished.run("prepare", "--config", "small.yaml").exit_code == 0
    assert sorted(hashed) == sorted(manifest["files"])
    hashed.clear()
    paper = ("--set", "data.protocol=paper", "--set", "data.prepared=prepared/paper")
    shutil.copytree("prepared/small", "prepared/paper")
    assert finished.run("prepare", "--config", "small.yaml", *paper).exit_code == 0
    assert not hashed
    text = Path("log.tsv").read_text()
    Path("log.tsv").write_text(text.replace("u1\t", "u2\t", 1))
    os.utime("log.tsv", (1, 1))  # of the same size and time
    result = finished.run("prepare", "--config", "small.yaml")
    assert "prepared, because the logs have changed" in result.stderr
    assert hashed.count("log.tsv") == 1


def test_fit_goes_on_without_its_logs_and_force_needs_them(finished: Workplace) -> None:
    Path("log.tsv").unlink()
    result = finished.fit("--run-dir", "runs/a")
    assert result.exit_code == 0, result.output
    assert result.stderr.splitlines()[0] == (
        "prepared/small: log.tsv: no longer there; going on with what was prepared from it, which only `din-train "
        "prepare --force` or a changed config would do again"
    )
    assert finished.read_json("runs/a/metrics.json") == finished.read_json("runs/small/metrics.json")
    before = read_all(Path("prepared"))
    for options, reason in (
        (("--force",), "as asked"),
        (("--set", "data.protocol=paper"), "data.protocol has changed"),
    ):
        result = finished.run("prepare", "--config", "small.yaml", *options)
        assert result.exit_code == 1
        assert result.stderr.splitlines() == [
            "error: data.events: log.tsv: no such file; check the path, or download the file first",
            f"error: prepared/small: is to be prepared anew ({reason}), which needs its logs",
        ]
    assert read_all(Path("prepared")) == before


def test_a_log_that_changes_while_it_is_read_is_not_prepared(
    workplace: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = prepare.build_from_log

    def append_then_build(*arguments: Any) -> Any:
        with Path("log.tsv").open("a") as log:
            log.write("u0\ti0\tc0\t1000\n")
        return build(*arguments)

    monkeypatch.setattr(prepare, "build_from_log", append_then_build)
    result = workplace.run("prepare", "--config", "small.yaml")
    assert result.exit_code == 1
    assert last_line(result) == "error: log.tsv: has changed while it was prepared; run the command again"
    assert not list(Path("prepared").iterdir())


# --- predict's publication


@pytest.fixture
def scored(finished: Workplace) -> tuple[Workplace, list[str]]:
    rows = "".join(f"u{n % 40},i{n % 90}\n" for n in range(30))
    Path("rows.csv").write_text(f"user,item\n{rows}")
    return finished, ["predict", "--input", "rows.csv", "--chunk-rows", "10", "--output"]


@pytest.mark.parametrize("stopped", ["before the rename", "after it", "amid the removal"])
def test_a_publication_that_was_stopped_is_finished_by_the_same_command(
    scored: tuple[Workplace, list[str]], monkeypatch: pytest.MonkeyPatch, stopped: str
) -> None:
    workplace, command = scored
    assert workplace.run(*command, "whole.parquet").exit_code == 0
    replace, remove = Path.replace, unfinished.UnfinishedTable.remove_chunks

    def stop_before_rename(self: Path, target: Path) -> Path:
        if target.name == "out.parquet":
            raise KeyboardInterrupt
        return replace(self, target)

    def stop_amid_removal(self: unfinished.UnfinishedTable) -> None:
        if Path("out.parquet").exists():
            if stopped == "amid the removal":
                (self.folder / "chunk-0000001.arrow").unlink()
            raise KeyboardInterrupt
        remove(self)

    with monkeypatch.context() as patch:
        if stopped == "before the rename":
            patch.setattr(Path, "replace", stop_before_rename)
        else:
            patch.setattr(unfinished.UnfinishedTable, "remove_chunks", stop_amid_removal)
        assert workplace.run(*command, "out.parquet").exit_code == 130
    assert Path("out.parquet.unfinished/chunk-0000000.arrow").exists()
    again = workplace.run(*command, "out.parquet")
    assert again.exit_code == 0, again.output
    if stopped != "before the rename":
        assert last_line(again) == (
            "out.parquet: finished before; the chunks that it was put together from are removed"
        )
    assert pq.read_table("out.parquet") == pq.read_table("whole.parquet")
    assert not Path("out.parquet.unfinished").exists()
    once_more = workplace.run(*command, "out.parquet")
    assert once_more.exit_code == 2
    assert "already there; give --overwrite to replace it" in last_line(once_more)


def test_an_output_that_another_request_made_is_not_taken_for_finished(scored: tuple[Workplace, list[str]]) -> None:
    workplace, command = scored
    assert workplace.run(*command, "out.parquet").exit_code == 0
    before = Path("out.parquet").read_bytes()
    Path("out.parquet.unfinished").mkdir()
    with Path("rows.csv").open("a") as rows:
        rows.write("u0,i1\n")
    result = workplace.run(*command, "out.parquet")
    assert result.exit_code == 2
    assert "already there" in last_line(result)
    assert Path("out.parquet").read_bytes() == before


def test_predict_is_refused_while_another_process_writes_the_output(scored: tuple[Workplace, list[str]]) -> None:
    workplace, command = scored
    with hold(Path("out.parquet")):
        result = workplace.run(*command, "out.parquet")
    assert result.exit_code == 2
    assert last_line(result).startswith(f"error: out.parquet: in use by process {os.getpid()};")
    assert not Path("out.parquet.unfinished").exists()


def test_a_killed_process_blocks_nobody(workplace: Workplace) -> None:
    command = [sys.executable, "-m", "din_train", "fit", "--config", "small.yaml", "--set", "model.name=lr"]
    command += ["--set", "training.epochs=100000"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 100
        while not (RUN / "checkpoints/best.json").exists():
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.1)
        held = workplace.fit("--overwrite")
        process.send_signal(signal.SIGKILL)
    assert held.exit_code == 2
    assert f"in use by process {process.pid}" in last_line(held)
    assert Path("runs/.small.lock").exists()
    result = workplace.fit("--overwrite", *QUICK)
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in Path("runs").iterdir()) == ["latest", "small"]
