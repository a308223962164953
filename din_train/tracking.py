"""`tracking.mlflow`: what a training writes into its run directory also goes to an MLflow server.

MLflow's run begins with the first epoch, has the config's keys as parameters, the metrics of each epoch, those of the
test split, and the small files of the run. `mlflow.json` keeps its id, so that a resumed training goes on in it. If
anything fails there, one line warns, and the training goes on without it.

MLflow has no status for a training that ended well and can go on. After `fit --no-test` its run is FINISHED, as any
other, and the tag `din_train.test_split` says `not scored` until the test split is scored.
"""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import orjson

from din_train.config import Config, TrackingConfig, list_values
from din_train.files import write_text
from din_train.printable import shorten
from din_train.run_directory import RunDirectory
from din_train.run_metrics import RunMetrics
from din_train.terminal import say

_FILES = ("config.yaml", "environment.json", "history.jsonl", "metrics.json", "report.html")
_AT_ONCE = 100  # parameters in one request; MLflow takes no more
_LONGEST_VALUE = 500

# A server that does not answer must not hold a training up: two tries of ten seconds each, and then no more requests.
_SETTINGS = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}


@dataclass(frozen=True)
class TrackedRun(RunDirectory):
    """A run directory whose history and metrics are also sent to MLflow."""

    tracker: "_Tracker"

    def append_history(self, epoch: dict[str, Any]) -> None:
        super().append_history(epoch)
        self.tracker.log_epoch(epoch)

    def write_metrics(self, metrics: RunMetrics, split: str | None = None) -> None:
        super().write_metrics(metrics, split)
        self.tracker.log_metrics(
            {f"{metrics.split}_{key}": getattr(metrics, key) for key in ("auc", "gauc", "logloss")}
        )


@contextmanager
def tracked(run: RunDirectory, config: Config) -> Iterator[RunDirectory]:
    """The run directory to train in; it tells MLflow what is written, if `tracking` is set."""
    if config.tracking is None:
        yield run
        return
    tracker = _Tracker(run, config, config.tracking)
    status = "FAILED"
    try:
        yield TrackedRun(run.path, tracker)
        status = "FINISHED"
    except KeyboardInterrupt:
        status = "KILLED"
        raise
    finally:
        tracker.end(status)


class _Tracker:
    def __init__(self, run: RunDirectory, config: Config, tracking: TrackingConfig) -> None:
        self._run = run
        self._config = config
        self._uri = tracking.mlflow
        self._experiment = tracking.experiment or "din-train"
        self._client: Any = None
        self._id: str | None = None
        self._has_failed = False

    def log_epoch(self, record: Mapping[str, Any]) -> None:
        """The numbers of an epoch's record, those of a refit by names of their own."""
        prefix = f"{record['phase']}_" if "phase" in record else ""
        numbers = {f"{prefix}{key}": value for key, value in record.items() if key not in ("epoch", "phase")}
        self.log_metrics(numbers, record["epoch"])

    def log_metrics(self, values: Mapping[str, Any], step: int = 0) -> None:
        self._try(lambda: self._log_metrics(values, step))

    def end(self, status: str) -> None:
        """Send the run's files, and how it ended; nothing if nothing was sent before."""
        if self._id is not None:
            self._try(lambda: self._end(status))

    def _try(self, work: Callable[[], None]) -> None:
        if self._has_failed:
            return
        try:
            if self._id is None:
                self._id = self._begin()
            work()
        except Exception as error:
            self._has_failed = True
            reason = shorten(" ".join(f"{type(error).__name__}: {error}".split()), 300)
            say(f"warning: tracking.mlflow: {self._uri}: {reason}; the training goes on without it")

    def _begin(self) -> str:
        """MLflow's id of the run: that of an earlier process, or a new one."""
        for name, value in _SETTINGS.items():
            os.environ.setdefault(name, value)
        try:
            import mlflow
            from mlflow.entities import Param
        except ImportError:
            raise ImportError("no MLflow here; install din-train[mlflow]") from None

        self._client = mlflow.MlflowClient(tracking_uri=self._uri)
        known = self._run.path / "mlflow.json"
        place = {"uri": self._uri, "experiment": self._experiment}
        if known.exists() and place.items() <= (before := orjson.loads(known.read_bytes())).items():
            self._client.update_run(before["run_id"], status="RUNNING")
            return str(before["run_id"])
        tags = {"din_train.run_directory": str(self._run.path.absolute())}
        run_id: str = self._client.create_run(
            self._find_experiment(), run_name=self._config.name, tags=tags
        ).info.run_id
        write_text(known, orjson.dumps({**place, "run_id": run_id}).decode())
        params = [Param(key, shorten(str(value), _LONGEST_VALUE)) for key, value in list_values(self._config)]
        for start in range(0, len(params), _AT_ONCE):
            self._client.log_batch(run_id, params=params[start : start + _AT_ONCE])
        return run_id

    def _find_experiment(self) -> str:
        experiment = self._client.get_experiment_by_name(self._experiment)
        if experiment is not None:
            return str(experiment.experiment_id)
        try:
            return str(self._client.create_experiment(self._experiment))
        except Exception:  # another trial has made it meanwhile
            experiment = self._client.get_experiment_by_name(self._experiment)
            if experiment is None:
                raise
            return str(experiment.experiment_id)

    def _log_metrics(self, values: Mapping[str, Any], step: int) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        numbers = {key: value for key, value in values.items() if isinstance(value, int | float)}
        self._client.log_batch(
            self._id, metrics=[Metric(key, float(value), now, step) for key, value in numbers.items()]
        )

    def _end(self, status: str) -> None:
        for name in _FILES:
            if (self._run.path / name).exists():
                self._client.log_artifact(self._id, str(self._run.path / name))
        is_scored = self._run.is_finished
        self._client.set_tag(self._id, "din_train.test_split", "scored" if is_scored else "not scored")
        self._client.set_terminated(self._id, status)
