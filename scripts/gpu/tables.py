"""What is shown of checks and timings."""

from collections.abc import Sequence

from benchmark import Figures
from comparison import Check
from model_checks import WIDEST
from rich.console import Console
from rich.table import Table


def show_checks(console: Console, checks: Sequence[Check]) -> None:
    """The worst of each kind; every failed one by itself."""
    table = Table(title="Equality")
    for title in ("check", "dtype", "checks", "max error", "tolerance", ""):
        table.add_column(title, justify="left" if title in ("check", "dtype", "") else "right", no_wrap=True)
    compared = [check for check in checks if check.what != WIDEST]
    for kind in dict.fromkeys(map(name_kind, compared)):
        group = [check for check in compared if name_kind(check) == kind]
        errors = [check.max_error for check in group]
        error = "none" if None in errors else f"{max(each for each in errors if each is not None):.1e}"
        verdict = "passed" if all(check.passed for check in group) else "[red]failed[/red]"
        table.add_row(*kind, str(len(group)), error, f"{group[0].tolerance:.0e}", verdict)
    console.print(table)
    for check in checks:
        if check.what == WIDEST:
            console.print(f"{check.what}, {check.form}: {check.subject}", style="" if check.passed else "red")
        elif not check.passed:
            reason = check.problem or f"error {check.max_error}, tolerance {check.tolerance}"
            console.print(f"failed: {check.what}, {check.form}, {check.dtype}, {check.subject}: {reason}", style="red")


def name_kind(check: Check) -> tuple[str, str]:
    """Check and dtype, as a line of the table has them; presets and kinds of batch are one line."""
    return f"{check.what}, {check.form if check.what == 'unit' else check.subject}", check.dtype


def show_benchmarks(console: Console, rows: Sequence[Figures]) -> None:
    """One line per row, in the order measured."""
    columns = {
        "batch_size": ("batch", "{:,}"),
        "optimizer": ("by", "{}"),
        "form": ("form", "{}"),
        "samples_per_second": ("samples/s", "{:,.0f}"),
        "samples_per_second_ratio": ("ratio", "{:.1f}"),
        "first_step_seconds": ("first\nstep, s", "{:.1f}"),
        "xla_programs": ("XLA\nprograms", "{}"),
        "xla_programs_in_1000_batches": ("in 1,000\nbatches", "{}"),
    }
    if any("peak_mb" in row for row in rows):
        columns |= {
            "peak_mb": ("peak\nMB", "{:,.0f}"),
            "peak_mb_ratio": ("ratio", "{:.2f}"),
            "step_mb_ratio": ("of the\nstep", "{:.2f}"),
        }
    table = Table(title="Training steps of DIN in Electronics' sizes; ratios are to the textbook")
    for key, (title, _) in columns.items():
        table.add_column(title, justify="left" if key in ("optimizer", "form") else "right", no_wrap=True)
    for row in rows:
        table.add_row(*(form.format(row[key]) if key in row else "-" for key, (_, form) in columns.items()))
    console.print(table)
    for row in rows:
        if "problem" in row:
            console.print(f"{row['form']}, {row['optimizer']}, {row['batch_size']}: {row['problem']}", style="yellow")
