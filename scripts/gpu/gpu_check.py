"""Check the product's kernels against the textbook's on this machine's GPU, and time training steps of DIN.

    python scripts/gpu/gpu_check.py                                  on the GPU that TensorFlow sees; XLA compiles long
    python scripts/gpu/gpu_check.py --json gpu.json --steps 200      writes the figures too
    python scripts/gpu/gpu_check.py --device cpu --quick             the same code on the CPU, in half a minute

Checked, for the activation unit of every preset (dropout left out) and for histories of several kinds: user interest
and the gradients of all inputs and weights, of the two forms that the product has,

    flat      valid positions only, without XLA
    padded    blocks of like length under XLA

against `textbook.py` in float64. Then three training steps of the whole model, one form against the other. An error is
the largest difference over the largest absolute value expected (over 1, where that is less). TensorFloat-32 is off in
checks; timings have it as TensorFlow does by default.

Timed are steps on batches made beforehand, in Electronics' sizes and distribution of lengths, without a data set:
preparing batches is not in the figures. Memory is what TensorFlow's allocator held on the GPU. 1 MB is a million bytes.

Exit code: 0 if all checks pass or there is no GPU, 1 if one fails, 2 for a wrong option or a GPU that was asked for and
is not there. Timings decide nothing.
"""

import json
import platform
import sys
from dataclasses import asdict
from pathlib import Path

import click
from benchmark import Figures, run_benchmark
from model_checks import check_model, check_widths
from rich.console import Console
from run_check import check_run
from scope import FULL, QUICK
from tables import show_benchmarks, show_checks
from unit_checks import check_units

from din_train.config import load_config
from din_train.errors import DinTrainError
from din_train.files import atomic_file, make_folder
from din_train.tensorflow_setup import full_float32, start_tensorflow

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))  # textbook.py
CONFIG = Path(__file__).parents[2] / "configs" / "bench_electronics.yaml"
NO_GPU = "No GPU: TensorFlow sees none, so nothing was checked. Install din-train[gpu] and the GPU's driver."


def describe_machine(*, gpu: bool) -> Figures:
    """The device, and the versions that decide what runs on it."""
    import keras
    import tensorflow as tf

    build = tf.sysconfig.get_build_info()
    name = platform.processor() or platform.machine()
    if gpu:
        device = tf.config.list_physical_devices("GPU")[0]
        name = tf.config.experimental.get_device_details(device).get("device_name", device.name)
    return {
        "device": name,
        "device_type": "gpu" if gpu else "cpu",
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "cuda": build.get("cuda_version"),
        "cudnn": build.get("cudnn_version"),
        "tensor_float_32": {"checks": False, "timings": tf.config.experimental.tensor_float_32_execution_enabled()},
    }


def parse_batch_sizes(_context: click.Context, _parameter: click.Parameter, text: str) -> list[int]:
    """`1024,8192` as numbers of at least 1."""
    sizes = text.split(",")
    if not all(size.strip().isdecimal() and int(size) > 0 for size in sizes):
        raise click.BadParameter(f"received '{text}', expected numbers of samples such as 1024,8192")
    return [int(size) for size in sizes]


@click.command(help=(__doc__ or "").splitlines()[0])
@click.option("--json", "json_path", type=click.Path(dir_okay=False, path_type=Path), help="Write all figures there.")
@click.option("--device", type=click.Choice(["auto", "gpu", "cpu"]), default="auto", help="gpu: having none is exit 2.")
@click.option(
    "--batch-size", "batch_sizes", default="1024,8192,65536", callback=parse_batch_sizes, help="Samples a step."
)
@click.option("--steps", type=click.IntRange(min=0), default=50, help="Steps that are timed; 0: checks only.")
@click.option("--quick", is_flag=True, help="One preset, one kind of batch, two blocks and Adam only.")
def main(json_path: Path | None, device: str, batch_sizes: list[int], steps: int, quick: bool) -> None:
    """Check, time, show, write."""
    start_tensorflow("cpu" if device == "cpu" else "auto")
    import tensorflow as tf

    gpu = device != "cpu" and bool(tf.config.list_physical_devices("GPU"))
    if device != "cpu" and not gpu:
        click.echo(NO_GPU)
        sys.exit(2 if device == "gpu" else 0)
    if json_path is not None:
        make_folder(json_path.parent)
    scope, config = QUICK if quick else FULL, load_config(CONFIG).model
    progress, console = Console(stderr=True), Console()
    if not console.is_terminal:
        console.width = 110
    report = describe_machine(gpu=gpu)
    with progress.status("starting") as status, full_float32():
        checks = [*check_units(scope, status.update), *check_model(scope, status.update), *check_widths(config)]
    if not quick:
        with progress.status("starting") as status:
            checks += check_run("gpu" if gpu else "cpu", status.update)
    console.print(f"{report['device']}, TensorFlow {report['tensorflow']}, CUDA {report['cuda']}")
    show_checks(console, checks)
    rows: list[Figures] = []
    if steps:
        with progress.status("starting") as status:
            rows += run_benchmark(scope, config, batch_sizes, steps, status.update)
        show_benchmarks(console, rows)
    passed = all(check.passed for check in checks)
    report |= {"quick": quick, "steps": steps, "passed": passed}
    report |= {"checks": [asdict(check) for check in checks], "benchmarks": rows}
    if json_path is not None:
        with atomic_file(json_path) as temporary:
            temporary.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    console.print("All checks passed." if passed else "Some checks failed.")
    sys.exit(0 if passed else 1)


if __name__ == "__main__":
    try:
        main()
    except DinTrainError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(1)
