"""The page of a study: how the search went, what mattered, and the winner's config to copy."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from rich.markup import escape
from rich.table import Table

from din_train.evaluation import display
from din_train.evaluation.display import format_interval, format_metric
from din_train.report.page import (
    COLORS,
    QUIET,
    WIDTH,
    Picture,
    clip_text,
    figure_style,
    name_rows,
    new_figure,
    render_page,
)

_SECTIONS = {
    "winner": "Winner",
    "search": "The search",
    "keys": "Keys",
    "trials": "Trials",
    "config": "Winner's config",
}

Trial = Mapping[str, Any]
Trials = Sequence[Trial]


def build_study_page(study: Mapping[str, Any], importance: Mapping[str, float], config: str | None) -> str:
    """The whole page, as one HTML file.

    Args:
        study: as `study.json` has it. importance: of each key. config: the winner's, as YAML.
    """
    winner, test = study["winner"], study["test"]
    return render_page(
        "study",
        title=f"Search {study['name']}",
        sections=_SECTIONS,
        sentence=describe_study_state(study),
        winner_rows=[] if winner is None else [(key, _show(value)) for key, value in winner["keys"].items()],
        winner_sentence=None if winner is None else _describe_winner(study),
        test_rows=[] if test is None else _list_test(test),
        pictures=_draw_search(study),
        key_pictures=_draw_keys(study, importance),
        trial_titles=["trial", "state", study["metric"].upper(), "epoch", "seconds", *study["space"]],
        trial_rows=list_trials(study),
        failures=[(each["number"], each["failure"]) for each in study["trials"] if each["failure"]],
        config=config,
    )


def describe_study_state(study: Mapping[str, Any]) -> str:
    """How many trials have which state."""
    states = [each["state"] for each in study["trials"]]
    names = {"complete": "complete", "pruned": "pruned", "fail": "failed", "running": "running"}
    counts = ", ".join(f"{states.count(state)} {name}" for state, name in names.items() if state in states)
    return f"{len(states)} trials ({counts or 'none yet'}), compared by validation {study['metric'].upper()}"


def _describe_winner(study: Mapping[str, Any]) -> str:
    winner = study["winner"]
    value = f"{study['metric'].upper()} {winner['value']:.6f}"
    found = f"Trial {winner['number']}: validation {value} at epoch {winner['epoch']}."
    biased = "As the best of all trials it is partly the luckiest, so this value is too good."
    if study["test"] is None:
        return f"{found} {biased} The test split is not scored yet."
    return f"{found} {biased} The test split was scored once, after the winner was trained again on all but test rows:"


def _list_test(test: Mapping[str, Any]) -> list[tuple[str, str]]:
    intervals = test["intervals"] or {}
    return [
        (title, f"{format_metric(test[key])} ({format_interval(intervals.get(key))})")
        if intervals.get(key)
        else (title, format_metric(test[key]))
        for key, title in display.TITLES.items()
    ]


def list_trials(study: Mapping[str, Any]) -> list[list[str]]:
    """One row for each trial."""
    return [
        [
            str(each["number"]),
            each["state"],
            "" if each["value"] is None else f"{each['value']:.6f}",
            "" if each["epoch"] is None else str(each["epoch"]),
            "" if each["seconds"] is None else f"{each['seconds']:.0f}",
            *(_show(each["keys"][key]) if key in each["keys"] else "" for key in study["space"]),
        ]
        for each in study["trials"]
    ]


def build_trials_table(study: Mapping[str, Any], most: int = 10) -> Table:
    """The best trials, for the terminal."""
    better = -1 if study["direction"] == "maximize" else 1
    ranks = {each["number"]: better * each["value"] for each in study["trials"] if each["value"] is not None}
    rows = {row[0]: row for row in list_trials(study)}
    table = Table("trial", study["metric"].upper(), "epoch", "keys", title=describe_study_state(study))
    for number in sorted(ranks, key=lambda each: ranks[each])[:most]:
        _, _, value, epoch, _, *keys = rows[str(number)]
        pairs = "\n".join(f"{key}={each}" for key, each in zip(study["space"], keys, strict=True))
        table.add_row(str(number), value, epoch, escape(pairs))
    return table


def _show(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _draw_search(study: Mapping[str, Any]) -> list[Picture]:
    metric, trials = study["metric"].upper(), study["trials"]
    pictures = []
    best = plot_best(study)
    if best is not None:
        described = f"Validation {metric} by trial; the best is {study['winner']['value']:.6f}"
        pictures.append(
            Picture("best", best, "One mark for each complete trial; the line is the best so far.", described)
        )
    curves = plot_trial_curves(study)
    if curves is not None:
        number = sum(bool(each["values"]) for each in trials)
        caption = "One line for each trial. Dotted: pruned or failed; thick: the winner."
        pictures.append(Picture("curves", curves, caption, f"Validation {metric} by epoch, of {number} trials"))
    return pictures


def _draw_keys(study: Mapping[str, Any], importance: Mapping[str, float]) -> list[Picture]:
    pictures = []
    if importance:
        values = "; ".join(f"{key} {value:.0%}" for key, value in importance.items())
        caption = "How much each key decides which trials are the best (PED-ANOVA). With few trials this is rough."
        pictures.append(Picture("importance", plot_importance(importance), caption, f"Importance: {values}"))
    parallel = plot_parallel(study)
    if parallel is not None:
        caption = (
            f"One line for each complete trial, from key to key; the darker, the better by {study['metric'].upper()}."
        )
        pictures.append(Picture("parallel", parallel, caption, f"The values of {len(study['space'])} keys, by trial"))
    return pictures


def _find_complete(study: Mapping[str, Any]) -> list[Trial]:
    return [each for each in study["trials"] if each["value"] is not None]


def plot_best(study: Mapping[str, Any]) -> Figure | None:
    """Each complete trial's value, and the best so far; None if there is none."""
    complete = _find_complete(study)
    if not complete:
        return None
    choose = max if study["direction"] == "maximize" else min
    numbers, values = [each["number"] for each in complete], [each["value"] for each in complete]
    so_far = [choose(values[: place + 1]) for place in range(len(values))]
    with figure_style():
        figure, axes = new_figure(title=f"Validation {study['metric'].upper()} by trial")
        axes.plot(numbers, values, "o", color=COLORS[0], markersize=4, label="trial")
        axes.step(numbers, so_far, where="post", color=COLORS[1], label="best so far")
        axes.set_xlabel("trial")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(visible=True)
        axes.legend()
    return figure


def plot_trial_curves(study: Mapping[str, Any]) -> Figure | None:
    """The metric by epoch, one line per trial; None if no epoch has ended."""
    trials = [each for each in study["trials"] if each["values"]]
    if not trials:
        return None
    winner = study["winner"]["number"] if study["winner"] else None
    with figure_style():
        figure, axes = new_figure(title=f"Validation {study['metric'].upper()} by epoch")
        for each in trials:
            epochs = [int(epoch) for epoch in each["values"]]
            is_winner, is_whole = each["number"] == winner, each["value"] is not None
            axes.plot(
                epochs,
                list(each["values"].values()),
                ".-" if is_whole else ".:",
                color=COLORS[1] if is_winner else COLORS[0] if is_whole else QUIET,
                linewidth=2.2 if is_winner else 0.8,
                markersize=4,
                zorder=3 if is_winner else 2,
            )
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(visible=True)
    return figure


def plot_importance(importance: Mapping[str, float]) -> Figure:
    """One bar for each key."""
    names = sorted(importance, key=lambda each: -importance[each])
    with figure_style():
        figure, axes = new_figure(1.1 + 0.34 * len(names), title="Importance of keys")
        axes.barh(range(len(names)), [importance[each] for each in names], height=0.55, color=COLORS[2])
        name_rows(axes, [_shorten_key(each) for each in names])
        axes.set(xlabel="share", xlim=(0, 1))
    return figure


def plot_parallel(study: Mapping[str, Any]) -> Figure | None:
    """One axis for each key, from top to bottom, and one line for each complete trial; None if there is none."""
    complete = _find_complete(study)
    keys = list(study["space"])
    if not complete:
        return None
    sign = 1 if study["direction"] == "maximize" else -1
    ranked = sorted(complete, key=lambda each: sign * each["value"])  # the best is drawn last
    colors = colormaps["viridis_r"]
    with figure_style():
        figure = Figure(figsize=(WIDTH, 1.2 + 0.55 * len(keys)), layout="constrained")
        axes = figure.subplots()
        axes.set_title("Values of the keys")
        for place, each in enumerate(ranked):
            share = place / max(len(ranked) - 1, 1)
            points = [(_place_value(study["space"][key], each["keys"][key]), row) for row, key in enumerate(keys)]
            axes.plot(*zip(*points, strict=True), "-", color=colors(0.1 + 0.8 * share), linewidth=0.6 + 1.2 * share)
        for row, key in enumerate(keys):
            _label_axis(axes, row, study["space"][key])
        name_rows(axes, [_shorten_key(key) for key in keys])
        axes.set_xlim(-0.05, 1.05)
        axes.set_xticks([])
        axes.spines["bottom"].set_visible(False)
    return figure


def _place_value(values: Any, value: Any) -> float:
    """Between 0, the least value or first choice, and 1."""
    if isinstance(values, list):
        return values.index(orjson.dumps(value).decode()) / (len(values) - 1)

    scale = math.log if values["log"] else float
    low, high = scale(values["low"]), scale(values["high"])
    return (scale(value) - low) / (high - low)


def _label_axis(axes: Axes, row: int, values: Any) -> None:
    axes.axhline(row, color=QUIET, linewidth=0.6)
    if isinstance(values, list):
        places = {place / (len(values) - 1): clip_text(text.strip('"'), 12) for place, text in enumerate(values)}
    else:
        places = {0.0: f"{values['low']:g}", 1.0: f"{values['high']:g}"}
    for place, text in places.items():
        axes.annotate(text, (place, row), xytext=(0, 3), textcoords="offset points", ha="center", fontsize=7)


def _shorten_key(key: str) -> str:
    """The last two parts."""
    return clip_text(".".join(key.split(".")[-2:]), 34)
