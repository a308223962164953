"""A backtest's days as one table and one plot, in the terminal and on a page."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure
from rich.table import Table

from din_train.evaluation.display import format_interval
from din_train.report.page import COLORS, Picture, figure_style, new_figure, render_page

_SECTIONS = {"days": "Day by day", "runs": "Every run"}
_LOOKS = {"cold": ("o-", COLORS[0]), "warm": ("s-", COLORS[2]), "stale": ("^--", COLORS[4])}
_MOST_TICKS = 6

Result = Mapping[str, Any]


def build_days_table(results: Result) -> Table:
    """One row for each day, and their means."""
    table = Table(*_list_titles(results), title=_describe_table(results))
    for column in table.columns[1:]:
        column.justify = "right"
    rows = list_days(results)
    for row in rows[:-1]:
        table.add_row(*row)
    table.add_section()
    table.add_row(*rows[-1])
    return table


def _describe_table(results: Result) -> str:
    seeds = len(results["seeds"])
    mean = f"mean over {seeds} seeds" if seeds > 1 else f"seed {results['seeds'][0]}"
    return f"GAUC of each day, {mean}; *: the interval of every seed's difference leaves out 0"


def _list_titles(results: Result) -> list[str]:
    modes = results["modes"]
    differences = [f"{mode} - cold" for mode in modes[1:] if modes[0] == "cold"]
    return ["day", "rows", "new items", *modes, *differences, *(f"s {mode}" for mode in modes if mode != "stale")]


def list_days(results: Result) -> list[list[str]]:
    """One row for each day, and one of means over the days that are compared."""
    modes, summary = results["modes"], results["summary"]
    rows = []
    for day in results["days"]:
        differences = [_show_difference(day, mode) for mode in modes[1:] if modes[0] == "cold"]
        seconds = [_show_seconds(_mean_of(day, mode, "training_seconds")) for mode in modes if mode != "stale"]
        share = _mean_of(day, modes[0], "new_items")
        gaucs = [_show_gauc(_mean_of(day, mode, "gauc")) for mode in modes]
        rows.append([day["from"], f"{day['rows']:,}", _show_share(share), *gaucs, *differences, *seconds])
    means = summary["modes"]
    rows.append(
        [
            f"mean of {summary['days']}",
            "",
            _show_share(means[modes[0]]["new_items"]),
            *(_show_gauc(means[mode]["gauc"]) for mode in modes),
            *(_show_signed(each["mean"]) for each in summary["differences"].values()),
            *(_show_seconds(means[mode]["training_seconds"]) for mode in modes if mode != "stale"),
        ]
    )
    return rows


def _runs_of(day: Result, mode: str) -> Sequence[Result]:
    return [each for each in day["runs"] if each["mode"] == mode]


def _mean_of(day: Result, mode: str, key: str) -> float | None:
    values = [each[key] for each in _runs_of(day, mode) if each[key] is not None]
    return statistics.mean(values) if values else None


def _show_difference(day: Result, mode: str) -> str:
    found = [each["gauc"] for each in day["differences"] if each["mode"] == mode and "gauc" in each]
    if not found:
        return ""
    bounds = [each["interval"] for each in found]
    is_clear = all(each and each[0] > 0 for each in bounds) or all(each and each[1] < 0 for each in bounds)
    return _show_signed(statistics.mean(each["value"] for each in found)) + ("*" if is_clear else "")


def _show_gauc(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _show_signed(value: float | None) -> str:
    return "" if value is None else f"{value:+.4f}"


def _show_share(value: float | None) -> str:
    return "" if value is None else f"{value:.1%}"


def _show_seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


def describe_summary(results: Result) -> list[str]:
    """The means in sentences."""
    summary, lines = results["summary"], []
    for mode, each in summary["differences"].items():
        if each["mean"] is None:
            continue
        lines.append(
            f"{mode} minus cold: GAUC {each['mean']:+.6f} on average over {_count_days(summary['days'])}"
            f"{'' if each['sd'] is None else ' (sd {:.6f})'.format(each['sd'])}; of {each['number']} differences "
            f"{each['above_zero']} lie clearly above 0, {each['below_zero']} clearly below"
        )
    shares = summary["share_of_cold_seconds"]
    if shares["training_seconds"] is not None and shares["process_seconds"] is not None:
        lines.append(
            f"warm takes {shares['training_seconds']:.2f} of cold's seconds up to the chosen epoch, "
            f"{shares['process_seconds']:.2f} of those of the whole process"
        )
    lines += [f"{each['from']}: left out: {each['reason']}" for each in results["left_out"]]
    return lines


def _count_days(days: int) -> str:
    return "1 day" if days == 1 else f"{days:,} days"


def plot_days(results: Result) -> Figure:
    """GAUC by day, one line for each mode; on the first day all are the cold model."""
    days = results["days"]
    with figure_style():
        figure, axes = new_figure(title="GAUC by day")
        for mode in results["modes"]:
            points = [(day["step"], _find_point(days, place, mode)) for place, day in enumerate(days)]
            drawn = [(step, value) for step, value in points if value is not None]
            if drawn:
                style, color = _LOOKS[mode]
                axes.plot(*zip(*drawn, strict=True), style, color=color, markersize=4, label=mode)
        stride = -(-len(days) // _MOST_TICKS)
        shown = days[::stride]
        axes.set_xticks([day["step"] for day in shown], [day["from"][:10] for day in shown], rotation=30, ha="right")
        axes.set_ylabel("GAUC")
        axes.grid(visible=True)
        axes.legend()
    return figure


def _find_point(days: Sequence[Result], place: int, mode: str) -> float | None:
    value = _mean_of(days[place], mode, "gauc")
    return _mean_of(days[0], "cold", "gauc") if place == 0 and value is None else value


def build_backtest_page(results: Result) -> str:
    """The whole page, as one HTML file."""
    gaucs = "; ".join(
        f"{mode} {_show_gauc(each['gauc']) or 'undefined'}" for mode, each in results["summary"]["modes"].items()
    )
    described = f"GAUC by day over {len(results['days'])} days; means: {gaucs}"
    caption = "Each day is scored by models that were trained before it. Stale is the first day's model."
    return render_page(
        "backtest",
        title=f"Backtest {results['name']}",
        sections=_SECTIONS,
        sentence=_describe_table(results),
        summary=describe_summary(results),
        pictures=[Picture("days", plot_days(results), caption, described)],
        day_titles=_list_titles(results),
        day_rows=list_days(results),
        run_titles=["day", "mode", "seed", "GAUC", "interval", "AUC", "logloss", "PCOC", "epoch", "new items",
                    "minus cold", "interval", "s", "s, process"],
        run_rows=list_runs(results),
    )  # fmt: skip


def list_runs(results: Result) -> list[list[str]]:
    """One row for each run of each day."""
    rows = []
    for day in results["days"]:
        differences = {(each["mode"], each["seed"]): each.get("gauc") for each in day["differences"]}
        for each in day["runs"]:
            difference = differences.get((each["mode"], each["seed"]))
            rows.append(
                [
                    day["from"],
                    each["mode"],
                    str(each["seed"]),
                    *(_show_gauc(each["gauc"]), format_interval(each["intervals"].get("gauc"))),
                    *(_show_gauc(each[key]) for key in ("auc", "logloss", "pcoc")),
                    str(each["best_epoch"]),
                    _show_share(each["new_items"]),
                    "" if difference is None else f"{difference['value']:+.4f}",
                    "" if difference is None else format_interval(difference["interval"]),
                    *(_show_seconds(each[key]) for key in ("training_seconds", "process_seconds")),
                ]
            )
    return rows
