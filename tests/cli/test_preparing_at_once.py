"""`prepare` in several processes, killed without warning, and with any number of threads: the same bytes in the end."""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import orjson
from log_factory import write_log
from workplace import Workplace

# Waits once the log is read, so that there is a moment to be killed in.
SLOW = """
import sys, time
from din_train.dataset import event_log as from_log
original, seconds = from_log.order_log, float(sys.argv[1])
def slow(*arguments, **options):
    print("reading is done", flush=True)
    time.sleep(seconds)
    return original(*arguments, **options)
from_log.order_log = slow
sys.argv[1:] = ["prepare", "--config", "small.yaml"]
from din_train.cli import main
main()
"""


def start_slowly(seconds: float) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", SLOW, str(seconds)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def read_hashes(workplace: Workplace) -> dict[str, str]:
    hashes: dict[str, str] = workplace.read_json("prepared/small/manifest.json")["files"]
    return hashes


def test_two_processes_on_one_folder_do_not_harm_each_other(workplace: Workplace) -> None:
    assert workplace.run("prepare", "--config", "small.yaml").exit_code == 0
    expected = read_hashes(workplace)
    for path in (workplace.folder / "prepared/small").iterdir():
        path.unlink()
    processes = [start_slowly(0.3) for _ in range(3)]
    ends = [process.communicate(timeout=100) for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], ends
    assert sorted("up to date" in errors for _, errors in ends) == [False, True, True]
    assert read_hashes(workplace) == expected
    assert [each.name for each in (workplace.folder / "prepared").iterdir()] == ["small"]
    assert any("waiting for process" in errors for _, errors in ends)


def test_after_kill_the_next_run_starts_clean(workplace: Workplace) -> None:
    with start_slowly(60) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "reading is done\n"
        process.send_signal(signal.SIGKILL)
    assert not (workplace.folder / "prepared/small").exists()
    assert (workplace.folder / "prepared/.small.scratch/events.parquet").exists()
    started = time.monotonic()
    assert workplace.run("prepare", "--config", "small.yaml").exit_code == 0
    assert time.monotonic() - started < 60  # the lock died with its holder
    assert sorted(each.name for each in (workplace.folder / "prepared").iterdir()) == ["small"]


def test_threads_memory_and_places_change_no_byte(workplace: Workplace) -> None:
    random_ = random.Random(3)  # noqa: S311 - not for secrets
    events = [
        (
            f"u{int(random_.expovariate(0.01))}",
            f"i{int(random_.expovariate(0.003))}",
            f"c{random_.randrange(9)}",
            random_.randrange(50),
        )
        for _ in range(20_000)
    ]
    write_log(workplace.folder / "log.tsv", events)
    options = [
        "--set",
        "filters.k_core=3",
        "--set",
        "filters.duplicates=drop-same-time",
        "--set",
        "vocabulary.min_count=2",
    ]
    manifests = []
    for place, more in enumerate(
        (["data.threads=1"], ["data.threads=5", "data.memory_limit=200MB", "data.temp_folder=tmp"])
    ):
        arguments = [*options, *(f"--set={each}" for each in (*more, f"data.prepared=prepared/{place}"))]
        result = workplace.run("prepare", "--config", "small.yaml", *arguments)
        assert result.exit_code == 0, result.output
        manifests.append(orjson.loads((workplace.folder / f"prepared/{place}/manifest.json").read_bytes()))
    one, five = ({**manifest, "made": None} for manifest in manifests)
    assert one == five
    assert one["dropped"]["events_outside_the_k_core"] > 0
    assert not any(Path(workplace.folder / "tmp").iterdir())


def test_the_summary_says_what_became_of_every_row(workplace: Workplace) -> None:
    with (workplace.folder / "log.tsv").open("a") as log:
        log.write("broken\n")
    result = workplace.run("prepare", "--config", "small.yaml")
    shown = {
        cells[1].strip(): cells[2].strip()
        for line in result.stdout.splitlines()
        if len(cells := line.replace("│", "|").split("|")) == 4
    }
    assert shown["log.tsv"] == "601 lines, 600 kept"
    assert shown["rejected: wrong number of fields"] == "1"
    assert (shown["users"], shown["items"], shown["categories"]) == ("40", "97", "5")
    assert shown["samples: test"] == "80 (50.0% positive)"
    assert shown["unknown items among test targets"] == "0.00%"
    assert shown["negatives"] == "sampled"
    assert {"history length", "size on disk", "time, peak memory"} <= shown.keys()
    manifest = workplace.read_json("prepared/small/manifest.json")
    assert manifest["positives_share"] == {"train": 0.5, "validation": 0.5, "test": 0.5}
    files = [each for each in (workplace.folder / "prepared/small").iterdir() if each.name != "manifest.json"]
    assert manifest["bytes"] == sum(each.stat().st_size for each in files)
    assert manifest["made"]["peak_memory_bytes"] > 10_000_000
