"""The examples of docs/examples, as far as they go without a cluster: they parse, and tell each worker who it is."""

import os
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from din_train.cli.fit import command as fit_command
from din_train.config.training import TrainingConfig
from din_train.training.workers import find_workers

EXAMPLES = Path(__file__).parents[1] / "docs/examples"
# What the examples call: it prints its arguments, or what the cluster would say.
PROGRAMS = {
    "din-train": 'echo "$TF_CONFIG"; echo "$@"',
    "scontrol": "echo node7; echo node8",
    "srun": 'shift; SLURM_PROCID=0 "$@" && SLURM_PROCID=1 "$@"',
}


@pytest.fixture(autouse=True)
def _programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, body in PROGRAMS.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")


def run(command: list[str], environment: dict[str, str]) -> list[str]:
    done = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def check(tf_config: str, arguments: str, index: int, addresses: tuple[str, ...]) -> None:
    """The lines of one worker."""
    training = TrainingConfig(epochs=1, strategy="multi_worker")
    workers = find_workers(training, {"TF_CONFIG": tf_config})
    assert (workers.index, workers.addresses) == (index, addresses)
    name, *options = shlex.split(arguments)
    given = fit_command.make_context(name, options).params
    assert given["overrides"] == ("training.strategy=multi_worker",)
    assert given["resume"]


def read_kubernetes() -> tuple[dict[str, Any], dict[str, Any]]:
    service, job = yaml.safe_load_all((EXAMPLES / "kubernetes.yaml").read_text())
    return service, job


def test_every_worker_of_the_kubernetes_job_finds_the_others() -> None:
    service, job = read_kubernetes()
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    count = job["spec"]["completions"]
    assert job["spec"]["parallelism"] == count
    assert service["spec"]["selector"] == {"job-name": job["metadata"]["name"]}
    assert pod["subdomain"] == service["metadata"]["name"]
    environment = {each["name"]: each["value"] for each in container["env"]}
    port = service["spec"]["ports"][0]["port"]
    assert container["ports"] == [{"containerPort": port}]
    # Kubernetes names the pods of an indexed job so; the Service is their domain
    name, domain = job["metadata"]["name"], pod["subdomain"]
    addresses = tuple(f"{name}-{index}.{domain}:{port}" for index in range(count))
    for index in (0, count - 1):
        tf_config, arguments = run(
            [*container["command"], *container["args"]], {**environment, "JOB_COMPLETION_INDEX": str(index)}
        )
        check(tf_config, arguments, index, addresses)


def test_every_task_of_the_slurm_job_finds_the_others() -> None:
    script = str(EXAMPLES / "slurm.sh")
    subprocess.run(["bash", "-n", script], check=True)
    lines = run(["bash", script], {"SLURM_JOB_ID": "1234567", "SLURM_JOB_NODELIST": "node[7-8]"})
    assert len(lines) == 4
    for index in (0, 1):
        check(*lines[2 * index : 2 * index + 2], index, ("node7:24567", "node8:24567"))
