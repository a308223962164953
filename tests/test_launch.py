"""Launched workers are told of each other, watched, started again, and never outlive the launch.

The workers here are small programs; `tests/cli/test_several_workers.py` has real ones.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from textwrap import dedent

import pytest
from click.testing import CliRunner, Result
from log_factory import write_log
from workplace import Workplace

from din_train import launch, worker_processes
from din_train.cli import cli
from din_train.errors import Interrupted, RunError

GO_ON = "din-train launch --workers 2 -- fit --resume"


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write_program(body: str) -> Callable[[bool], Sequence[str]]:
    """A worker that knows `index`, `count` and `restarted`."""
    head = """
        import json, os, pathlib, signal, sys, time
        config = json.loads(os.environ["TF_CONFIG"])
        index, addresses = config["task"]["index"], config["cluster"]["worker"]
        restarted = sys.argv[1] == "True"
        def wait_for(name):
            while not pathlib.Path(name).exists():
                time.sleep(0.01)
    """
    code = dedent(head) + dedent(body)
    return lambda is_restart: [sys.executable, "-c", code, str(is_restart)]


def run(body: str, workers: int = 2, restarts: int = 1) -> None:
    worker_processes.run_workers(write_program(body), workers=workers, restarts=restarts, go_on=GO_ON)


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"


def wait_until(condition: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_workers_know_each_other_and_their_lines_have_their_number(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "7")
    run(
        """
        pathlib.Path(f"{index}.json").write_text(json.dumps([config, dict(os.environ)]))
        print("a line"); print("no end", end="", file=sys.stderr)
        """,
        workers=3,
    )
    told = [json.loads(Path(f"{index}.json").read_text()) for index in range(3)]
    addresses = [config["cluster"]["worker"] for config, _ in told]
    assert addresses[0] == addresses[1] == addresses[2]
    assert len(set(addresses[0])) == 3
    assert all(each.startswith("127.0.0.1:") for each in addresses[0])
    assert [config["task"] for config, _ in told] == [{"type": "worker", "index": index} for index in range(3)]
    cores = len(os.sched_getaffinity(0))
    assert {each["TF_NUM_INTRAOP_THREADS"] for _, each in told} == {"7"}
    assert {each["TF_NUM_INTEROP_THREADS"] for _, each in told} == {str(max(2, cores // 3))}
    shown = capsys.readouterr()
    assert sorted(shown.out.splitlines()) == ["[0] a line", "[1] a line", "[2] a line"]
    assert sorted(shown.err.splitlines()) == ["[0] no end", "[1] no end", "[2] no end"]


def test_all_start_again_when_one_is_killed(capsys: pytest.CaptureFixture[str]) -> None:
    run(
        """
        if restarted:
            pathlib.Path(f"restarted-{index}").write_text(addresses[0])
            sys.exit()
        if index == 1:
            wait_for("pid-0")
            os.kill(os.getpid(), signal.SIGKILL)
        pathlib.Path("pid-0").write_text(str(os.getpid()))
        time.sleep(60)
        """
    )
    assert sorted(path.name for path in Path().glob("restarted-*")) == ["restarted-0", "restarted-1"]
    assert not is_running(int(Path("pid-0").read_text() or 0))
    assert capsys.readouterr().err == (
        "worker 1: killed by SIGKILL; all 2 are started again with --resume (1 of 1 restarts)\n"
    )


def test_restarts_are_limited() -> None:
    with pytest.raises(RunError) as failed:
        run(
            """
            with open(f"starts-{index}", "a") as file:
                file.write("x")
            if index == 0:
                wait_for("starts-1")
                os.kill(os.getpid(), signal.SIGABRT)
            time.sleep(60)
            """,
            restarts=2,
        )
    assert failed.value.exit_code == 1
    assert str(failed.value) == (
        f"worker 0: killed by SIGABRT, and 2 restarts are used up (--restarts); go on with `{GO_ON}`"
    )
    assert Path("starts-0").read_text() == "xxx"


def test_a_worker_that_fails_by_itself_is_not_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The others have a while to end by themselves; one that does not is killed."""
    monkeypatch.setattr(worker_processes, "_SECONDS_AFTER_FAILURE", 0.3)
    with pytest.raises(RunError) as failed:
        run(
            """
            pathlib.Path(f"pid-{index}").write_text(str(os.getpid()))
            wait_for("pid-0"); wait_for("pid-1")
            sys.exit(2) if index == 1 else time.sleep(60)
            """
        )
    assert failed.value.exit_code == 2
    assert str(failed.value) == "worker 1: ended with exit code 2; its lines above say why"
    assert not is_running(int(Path("pid-0").read_text()))


def test_what_comes_after_a_failure_is_not_its_cause() -> None:
    with pytest.raises(RunError, match="worker 0: ended with exit code 1; "):
        run(
            """
            if index == 0:
                pathlib.Path("temporary").write_text(str(os.getpid()))
                os.rename("temporary", "pid-0")
                sys.exit(1)
            wait_for("pid-0")
            while pathlib.Path("/proc", pathlib.Path("pid-0").read_text()).exists():  # until the launch has seen it
                time.sleep(0.01)
            time.sleep(0.3)
            os.kill(os.getpid(), signal.SIGABRT)
            """
        )


def test_one_that_was_killed_is_the_cause_of_others_failures(capsys: pytest.CaptureFixture[str]) -> None:
    """Worker 0 ends with 1 because worker 1 was killed, as training does."""
    run(
        """
        if restarted:
            sys.exit()
        if index == 1:
            pathlib.Path("pid-1").write_text(str(os.getpid()))
            wait_for("ready")
            os.kill(os.getpid(), signal.SIGKILL)
        wait_for("pid-1")
        pathlib.Path("ready").touch()
        while pathlib.Path(f"/proc/{pathlib.Path('pid-1').read_text()}/stat").read_text().split()[2] != "Z":
            pass
        sys.exit(1)
        """
    )
    assert capsys.readouterr().err.startswith("worker 1: killed by SIGKILL; ")


# A launch of its own, since it is signalled and killed.
LAUNCH = """
import sys
from din_train.cli import cli
from din_train.signals import watch_signals
from din_train.worker_processes import run_workers
watch_signals()
program, how = sys.argv[1:]
@cli.command("dummy")
def dummy():
    run_workers(lambda _: [sys.executable, "-c", program, how], workers=2, restarts=1, go_on="again")
cli.get_command = lambda context, name: dummy
cli.main(["dummy"])
"""
WORKER = """
import os, pathlib, signal, sys, time
def stop(number, frame):
    pathlib.Path(f"got-{os.getpid()}").write_text(str(int(number)))
    if sys.argv[1] == "obeys":
        sys.exit(128 + number)
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, stop)
pathlib.Path(f"pid-{os.getpid()}").touch()
while True:
    time.sleep(1)
"""


def start_launch(obeys: bool) -> tuple[subprocess.Popen[str], list[int]]:
    process = subprocess.Popen(
        [sys.executable, "-c", LAUNCH, WORKER, "obeys" if obeys else "hangs"],
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler) and None,
    )
    wait_until(lambda: len(list(Path().glob("pid-*"))) == 2)
    return process, [int(path.name.removeprefix("pid-")) for path in Path().glob("pid-*")]


@pytest.mark.parametrize(
    ("number", "exit_code", "called"), [(signal.SIGINT, 130, "Ctrl-C"), (signal.SIGTERM, 143, "SIGTERM")]
)
def test_a_signal_is_passed_on(number: signal.Signals, exit_code: int, called: str) -> None:
    process, workers = start_launch(obeys=True)
    process.send_signal(number)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == exit_code
    assert errors == f"interrupted; stopped by {called}; go on with `again`\n"
    assert sorted(Path().glob("got-*")) == sorted(Path(f"got-{pid}") for pid in workers)
    assert {path.read_text() for path in Path().glob("got-*")} == {str(int(number))}


def test_a_second_signal_kills() -> None:
    process, workers = start_launch(obeys=False)
    process.send_signal(signal.SIGTERM)
    wait_until(lambda: len(list(Path().glob("got-*"))) == 2)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=20)
    assert process.returncode == 143
    assert not any(map(is_running, workers))


@pytest.mark.skipif(sys.platform != "linux", reason="other kernels do not offer it")
def test_workers_end_with_a_killed_launch() -> None:
    process, workers = start_launch(obeys=False)
    process.kill()
    process.communicate(timeout=20)
    wait_until(lambda: not any(map(is_running, workers)))


@pytest.mark.parametrize("exit_code", [143, 0])
def test_stopped_workers_have_a_limited_time(monkeypatch: pytest.MonkeyPatch, exit_code: int) -> None:
    """One has stopped as asked, or was about to end; the other hangs."""
    monkeypatch.setattr(worker_processes, "_SECONDS_AFTER_SIGNAL", 0.3)
    monkeypatch.setattr(worker_processes, "received_signal", lambda: signal.SIGTERM if Path("ready").exists() else None)
    monkeypatch.setattr(worker_processes, "name_signal", lambda: "SIGTERM")
    monkeypatch.setattr(worker_processes, "interrupted_exit_code", lambda: 143)
    with pytest.raises(Interrupted) as stopped:
        run(
            """
            signal.signal(signal.SIGTERM, lambda *_: sys.exit(EXIT_CODE) if index else None)
            pathlib.Path(f"pid-{index}").write_text(str(os.getpid()))
            wait_for("pid-0"); wait_for("pid-1")
            pathlib.Path("ready").touch()
            while True:
                time.sleep(1)
            """.replace("EXIT_CODE", str(exit_code))
        )
    assert stopped.value.exit_code == 143
    assert not is_running(int(Path("pid-0").read_text()))


@pytest.fixture
def fits(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Sequence[str]]:
    """Command lines of the first start and of two restarts; the run is replaced between those."""
    commands: list[Sequence[str]] = []

    def record(build_command: Callable[[bool], Sequence[str]], **_: object) -> None:
        commands.extend(build_command(is_restart) for is_restart in (False, True))
        config = tmp_path / "runs/small/config.yaml"
        if config.exists():
            text = config.read_text()
            config.rename(config.with_suffix(".old"))
            config.write_text(text)
        commands.append(build_command(True))

    monkeypatch.setattr(launch, "run_workers", record)
    write_log(tmp_path / "log.tsv", [("u1", "i1", "c1", 1)])
    model = {"name": "lr", "item_embedding_size": 4, "category_embedding_size": 4}
    Workplace(tmp_path).write_config(model=model, training={"epochs": 1})
    return commands


def launch_command(*options: str) -> Result:
    return CliRunner().invoke(cli, ["launch", "--workers", "2", "--", *options])


TAIL = ["--set", "training.strategy=multi_worker"]
ON_TEST = ["--set", "data.protocol=paper", "--set", "training.select_on=test"]


def test_restarts_resume(fits: list[Sequence[str]]) -> None:
    result = launch_command("fit", "--config", "small.yaml", "--set", "seed=3")
    assert result.exit_code == 0, result.output
    head = [sys.executable, "-m", "din_train", "fit", "--config", "small.yaml", "--set", "seed=3"]
    assert fits == [[*head, *TAIL], [*head, "--resume", *TAIL], [*head, "--resume", *TAIL]]


def test_a_restart_leaves_the_test_split_unread_too(fits: list[Sequence[str]]) -> None:
    result = launch_command("fit", "--config", "small.yaml", "--no-test")
    assert result.exit_code == 0, result.output
    head = [sys.executable, "-m", "din_train", "fit", "--config", "small.yaml", "--no-test"]
    assert fits == [[*head, *TAIL], [*head, "--resume", *TAIL], [*head, "--resume", *TAIL]]


def test_a_restart_overwrites_what_was_not_replaced_yet(fits: list[Sequence[str]], tmp_path: Path) -> None:
    (tmp_path / "runs/small").mkdir(parents=True)
    (tmp_path / "runs/small/config.yaml").write_text("name: older\n")
    result = launch_command("fit", "--config", "small.yaml", "--overwrite")
    assert result.exit_code == 0, result.output
    hows = [command[-3] for command in fits]
    assert hows == ["--overwrite", "--overwrite", "--resume"]


@pytest.mark.parametrize(
    ("options", "exit_code", "message"),
    [
        (("eval",), 2, "received 'eval', expected fit: only training has several workers"),
        (("fit",), 2, "Missing option '--config'"),
        (("fit", "--config", "small.yaml", "--overwrite", "--resume"), 2, "exclude each other"),
        (("fit", "--config", "small.yaml", "--overwrite", "--seeds", "1,2"), 2, "--overwrite and several --seeds"),
        (("fit", "--config", "small.yaml", "--set", "training.epochs=none"), 2, "training.epochs"),
        (("fit", "--config", "small.yaml", "--no-test", *ON_TEST), 2, "rows --no-test leaves unread"),
        (("fit", "--config", "small.yaml", "--warm-start", "runs/none"), 2, "runs/none"),
    ],
)
def test_a_wrong_request_starts_nothing(
    fits: list[Sequence[str]], options: Sequence[str], exit_code: int, message: str
) -> None:
    result = launch_command(*options)
    assert result.exit_code == exit_code
    assert message in result.stderr
    assert fits == []
