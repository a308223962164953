"""Numbers as compact tables on the terminal."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from din_train.evaluation.audit.check import Check
from din_train.evaluation.compare import Comparison
from din_train.logs.log import Progress as ReadProgress
from din_train.printable import dump_printable_json, make_printable
from din_train.report import words
from din_train.samples.manifest import Manifest
from din_train.samples.moments import Moments

_FILE_WIDTH = 120


class PrintableConsole(Console):
    """Makes every text printable, those in the cells of a table as well, and leaves `:smile:` as it is."""

    def __init__(self, *, stderr: bool = False) -> None:
        super().__init__(stderr=stderr, emoji=False)

    def render_str(self, text: str, **how: Any) -> Text:
        return super().render_str(make_printable(text), **how)


def show_table(table: Table) -> None:
    """Print on stdout; 120 columns wide where that is a file or a pipe."""
    console = PrintableConsole()
    if not console.is_terminal:
        console.width = _FILE_WIDTH  # `print(width=)` would be capped by the 80 columns rich takes a pipe for
    console.print(table)


def show_line(line: str) -> None:
    """One line on stdout."""
    PrintableConsole().print(line, highlight=False, markup=False, soft_wrap=True)


def show_json(value: Any, option: int = 0) -> None:
    """A value as JSON on stdout.

    Args:
        option: of `orjson`, besides indentation.
    """
    print(dump_printable_json(value, option))


def say(line: str) -> None:
    """One line on stderr, where everything but results goes."""
    PrintableConsole(stderr=True).print(line, highlight=False, markup=False, soft_wrap=True)


@contextmanager
def reading_progress(total_bytes: int, doing: str = "reading") -> Iterator[ReadProgress]:
    """A bar over the bytes of the input, on stderr, gone when done."""
    columns = (TextColumn(doing), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(doing, total=total_bytes)
        yield lambda count: bar.advance(task, count)


def build_preparation_table(manifest: Manifest) -> Table:
    """What became of every line, and what the data set holds."""
    table = Table("prepared data", "", show_header=False, title=f"prepared data, protocol {manifest['protocol']}")
    table.columns[1].justify = "right"
    for report in manifest["read"]:
        table.add_row(escape(report["name"]), f"{report['lines']:,} lines, {report['kept']:,} kept")
        for reason, count in report["rejected"].items():
            table.add_row(escape(f"  rejected: {reason}"), f"{count:,}")
        for what, count in report["skipped"].items():
            table.add_row(escape(f"  left out: {what}"), f"{count:,}")
        for note, count in report["notes"].items():
            table.add_row(escape(f"  noted: {note}"), f"{count:,}")
    _add_what_matched(table, manifest)
    for name, count in manifest["dropped"].items():
        if count:
            table.add_row(f"dropped: {name.replace('_', ' ')}", f"{count:,}")
    counts = manifest["counts"]
    for name, count in counts.items():
        share = f" ({count / counts['test_targets']:.1%})" if name == "test_targets_in_their_history" and count else ""
        table.add_row(name.replace("_", " "), f"{count:,}{share}")
    for name, count in manifest["samples"].items():
        share = manifest["positives_share"][name]
        table.add_row(f"samples: {name}", f"{count:,}" + ("" if share is None else f" ({share:.1%} positive)"))
    table.add_row("negatives", manifest["negatives"])
    for name, value in words.describe_histories(manifest["histories"]):
        table.add_row(name, value)
    rate = manifest["unknown_rate_in_test"]
    table.add_row("unknown items among test targets", "no target" if rate is None else f"{rate:.2%}")
    lengths = "  ".join(f"{name} {value:g}" for name, value in manifest["history_length"].items())
    table.add_row("history length", lengths)
    made = manifest["made"]
    table.add_row("size on disk", f"{manifest['bytes'] / 1e6:,.1f} MB")
    table.add_row("time, peak memory", f"{made['seconds']:.1f} s, {made['peak_memory_bytes'] / 1e6:,.0f} MB")
    return table


def _add_what_matched(table: Table, manifest: Manifest) -> None:
    """The log's first and last moment, joins, what fields lack, and what else there is to say."""
    if manifest["time"] is not None:
        moments = Moments(**manifest["time"])
        table.add_row("first moment", moments.show(moments.first))
        table.add_row("last moment", moments.show(moments.last))
    for join in manifest["joins"]:
        table.add_row(escape(f"{join['kind']} of the log in {join['file']}"), f"{join['found']:,} of {join['size']:,}")
    for name, values in manifest["field_values"].items():
        if values["missing"]:
            table.add_row(escape(f"{values['kind']} without {name}"), f"{values['missing']:,} of {values['size']:,}")
        if values["unread"]:
            what = escape(f"{name}: no number, such as {values['example']!r}")
            table.add_row(what, f"{values['unread']:,} of {values['size'] - values['missing']:,}")
    for remark in manifest["remarks"]:
        table.add_row("note", escape(remark))


def show_metrics(metrics: Mapping[str, Any]) -> None:
    """One run's metrics on one split, and those of its slices."""
    show_table(build_metrics_table(metrics))
    if metrics.get("slices"):
        show_table(build_slices_table(metrics["slices"]))


def build_metrics_table(metrics: Mapping[str, Any]) -> Table:
    """One run's metrics on one split, with what they stand on; metrics of an older version may lack some."""
    intervals = metrics.get("intervals") or {}
    title = f"{metrics['model']}: {metrics['split']} split, protocol {metrics['protocol']}"
    interval = f"{intervals['confidence'] * 100:g} % interval" if intervals else "interval"
    table = Table("metric", "value", interval, title=title)
    table.columns[1].justify = "right"
    for key, name in words.TITLES.items():
        if key in metrics:
            table.add_row(name, format_metric(metrics[key]), format_interval(intervals.get(key)))
    if words.BY_HISTORY in metrics:
        table.add_row(words.BY_HISTORY_TITLE, format_metric(metrics[words.BY_HISTORY]), "a user's rows of one history")
    users = f" of {metrics['num_users']:,} users" if "num_users" in metrics else ""
    table.add_row("rows", f"{metrics['num_samples']:,}", f"{metrics['num_positives']:,} targets{users}")
    table.add_row(
        "users in GAUC",
        f"{metrics['gauc_users']:,}",
        f"{metrics['gauc_users_skipped']:,} with one class left out; weighted by {metrics['gauc_weighting']}",
    )
    table.add_row("epoch chosen", str(metrics["best_epoch"]), f"on: {metrics['selected_on']}")
    return table


def build_slices_table(slices: Mapping[str, Sequence[Mapping[str, Any]]]) -> Table:
    """A row a slice, what it stands on first."""
    table = Table("slice", "rows", "users in GAUC", "GAUC", "AUC", "logloss", "NE", "PCOC", "ECE")
    for column in table.columns[1:]:
        column.justify = "right"
    for dimension, parts in slices.items():
        table.add_section()
        for each in parts:
            keys = ("gauc", "auc", "logloss", "normalised_entropy", "pcoc", "ece")
            numbers = ["-" if each[key] is None else f"{each[key]:.4f}" for key in keys]
            name = escape(f"{dimension.replace('_', ' ')}: {each['name']}")
            table.add_row(name, f"{each['num_samples']:,}", f"{each['gauc_users']:,}", *numbers)
    return table


def show_comparison(comparison: Comparison) -> None:
    """The runs in a table, what they differ by in sentences, and what is wrong with comparing them."""
    show_table(build_comparison_table(comparison))
    for difference in comparison.differences:
        if difference.metric == "gauc":
            show_line(f"{difference.sentence}.")
    for warning in comparison.warnings:
        say(f"warning: forced: {warning}")


def build_comparison_table(comparison: Comparison) -> Table:
    """One row a run; RelaImpr is of GAUC, against the first."""
    weighting = comparison.runs[0].metrics["gauc_weighting"]
    table = Table("run", "model", "AUC", "GAUC", "logloss", "RelaImpr")
    if weighting != "impressions":
        table.title = f"GAUC weighted by {weighting}"
    for column in table.columns[2:]:
        column.justify = "right"
    for run in comparison.runs:
        rela_impr = "undefined" if run.rela_impr is None else f"{run.rela_impr:+.2f} %"
        numbers = [format_metric(run.metrics[key]) for key in ("auc", "gauc", "logloss")]
        table.add_row(escape(run.name), run.metrics["model"], *numbers, rela_impr)
    return table


def format_interval(bounds: Sequence[float] | None) -> str:
    """`0.8743 to 0.8932`; nothing where there is none."""
    return "" if bounds is None else f"{bounds[0]:.4f} to {bounds[1]:.4f}"


def format_metric(value: float | None) -> str:
    """Six digits, or `undefined`."""
    return "undefined" if value is None else f"{value:.6f}"


_STATUS_STYLES = {"passed": "green", "failed": "bold red", "note": "cyan", "skipped": "dim"}


def build_audit_table(run: str, rows: str, checks: Sequence[Check]) -> Table:
    """One row a check of `din-train audit`."""
    table = Table("check", "", "measured", title=f"audit of {escape(run)}: {escape(rows)}", show_lines=False)
    table.columns[0].no_wrap = True
    for each in checks:
        style = _STATUS_STYLES[each.status]
        table.add_row(escape(each.name), f"[{style}]{each.status}[/]", escape(each.finding))
    return table
