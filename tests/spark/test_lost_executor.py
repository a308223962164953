"""An executor's JVM is killed in the midst of a preparation: another one takes its tasks, and nothing half is left.

The session has two executors with JVMs of their own. It takes a minute, most of it for their starts:

    .venv-spark/bin/python -m pytest --noconftest -m slow tests/spark
"""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pyspark", reason="NO PYSPARK: the loss of an executor was not tested")

import pyspark
from pyspark import cloudpickle
from test_spark_engine import check_same, write_taobao  # which skips if there is no Java

from din_train.config.data import SparkConfig
from din_train.spark import engine
from din_train.spark.session import open_session

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.skipif(sys.platform != "linux", reason="the executor of a worker is found in /proc"),
]
cloudpickle.register_pickle_by_value(sys.modules[__name__])


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A session on two executors. They write into Spark's home, so that it is a folder of links."""
    home = tmp_path / "spark"
    home.mkdir()
    for name in ("bin", "jars"):
        (home / name).symlink_to(Path(pyspark.__file__).parent / name)
    monkeypatch.setenv("SPARK_HOME", str(home))
    monkeypatch.setenv("SPARK_LOCAL_IP", "127.0.0.1")
    java = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"
    settings: dict[str, str | int | float | bool] = {
        "spark.ui.enabled": False,
        "spark.driver.host": "127.0.0.1",
        "spark.driver.memory": "1g",
        "spark.driver.extraJavaOptions": java,
        "spark.executor.memory": "1g",
        "spark.executor.extraJavaOptions": java,
        "spark.sql.shuffle.partitions": 2,
        "spark.local.dir": str(tmp_path / "local"),
        "spark.sql.warehouse.dir": str(tmp_path / "warehouse"),
    }
    with open_session(SparkConfig(master="local-cluster[2,1,1024]", settings=settings)):
        yield


def find_executor() -> int:
    """The JVM that this worker works for: its parent's parent."""
    of_daemon = Path(f"/proc/{os.getppid()}/stat").read_text(encoding="ascii")
    executor = int(of_daemon.rpartition(")")[2].split()[1])
    assert b"CoarseGrainedExecutorBackend" in Path(f"/proc/{executor}/cmdline").read_bytes()
    return executor


def killing(function: Callable[[Any], Any], folder: Path) -> Callable[[Any], Any]:
    """The function; the first to be done with its work takes the executor with it."""

    def work(argument: Any) -> Any:
        result = function(argument)
        try:
            (folder / "killed").touch(exist_ok=False)
        except FileExistsError:
            return result
        executor = find_executor()
        (folder / "killed").write_text(str(executor), encoding="ascii")
        os.kill(executor, signal.SIGKILL)
        time.sleep(60)  # until the executor's end ends this worker
        return None

    return work


@pytest.mark.usefixtures("cluster")
def test_an_executor_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, shared = engine.SparkEngine.run, tmp_path / "shared"
    shared.mkdir()
    monkeypatch.setattr(engine, "_LEAST_PIECE_BYTES", 4000)

    def run_killing(self: engine.SparkEngine, function: Any, arguments: Sequence[Any]) -> list[Any]:
        is_last = getattr(function, "func", None) is engine._write_shard
        return run(self, killing(function, shared) if is_last else function, arguments)

    monkeypatch.setattr(engine.SparkEngine, "run", run_killing)
    log = tmp_path / "log"
    log.mkdir()
    data = write_taobao(log)
    preparation = check_same(log, 4, data={**data, "context_fields": ["behaviour"], "protocol": "holdout"})
    assert len(preparation.manifest.shards) > 1
    executor = int((shared / "killed").read_text(encoding="ascii"))
    assert not Path(f"/proc/{executor}").exists()
