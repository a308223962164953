"""Which rows of a log are clicks: by a label, a rating from a threshold on, or types of events."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from din_train.inspect.guess import Guess, list_names, name_column, take_filled
from din_train.logs.feedback import Feedback, choose_label, find_feedback, is_label_name
from din_train.logs.first_rows import FirstRows

_CLICKS_NEEDED = 3  # of a user, for a split by each user's last clicks


def choose_clicks(rows: FirstRows, guess: Guess, chosen: dict[str, str]) -> tuple[Feedback | None, Sequence[Feedback]]:
    """What says which rows are clicks, and the columns of this kind that are left."""
    feedback = find_feedback(rows, used=[*chosen.values()])
    if "impressions" in guess.data:
        return None, feedback
    label, opposite = choose_label(feedback)
    if label is None and not rows.has_header:
        labels = [each for each in feedback if each.kind == "label" and each.is_readable]
        label = labels[0] if len(labels) == 1 else None
    if label is None:
        label = next((each for each in feedback if each.click), None)
    if label is None:
        label = next((each for each in feedback if each.at_least is not None), None)
    left = [each for each in feedback if each is not label and each.column != opposite]
    constant = (
        name for name in rows.values if is_label_name(name) and {*take_filled(rows.values[name])} in ({"1"}, {"1.0"})
    )
    guess.remarks += [f"column '{name}' is not taken for the label: it holds nothing but 1" for name in constant]
    if label is None:
        return None, left
    column = name_column(rows, label.column)
    if label.click:
        guess.columns["events"] = {"column": column, **_choose_types(rows, guess, chosen, label)}
        guess.comments["columns.events"] = f"{label.holds}, {rows.describe_rows()}"
        if label.note:
            guess.comments["columns.events.click"] = "of the types taken for clicks; name others too if they are"
            guess.remarks.append(f"the types in '{label.column}' are taken for {label.note}")
        return label, left
    guess.columns["label"] = column
    guess.comments["columns.label"] = f"{label.holds} {rows.describe_rows()}"
    if label.at_least is not None:
        guess.columns["label_at_least"] = int(label.at_least) if label.at_least.is_integer() else label.at_least
    guess.remarks += [label.note] if label.note else []
    if opposite is not None:
        guess.remarks.append(f"'{opposite}' is the opposite of '{label.column}', whose 1s are taken for the clicks")
    return label, left


def _choose_types(rows: FirstRows, guess: Guess, chosen: Mapping[str, str], events: Feedback) -> dict[str, list[str]]:
    """The types that are clicks and impressions; no impressions if clicks do not belong to them, or are too few."""
    keys = [rows.values[chosen[role]] for role in ("user", "item") if role in chosen]
    kinds = rows.values[events.column]
    clicks, impressions = (
        {tuple(key) for kind, *key in zip(kinds, *keys, strict=True) if kind in types}
        for types in (events.click, events.impression)
    )
    types = {"click": list(events.click), "impression": list(events.impression)}
    if not events.impression or len(keys) < 2:
        return {"click": types["click"]}
    if clicks.isdisjoint(impressions):
        guess.remarks.append(f"no {' or '.join(events.impression)} has a click of its user and item; left out")
        return {"click": types["click"]}
    if max(Counter(user for user, _ in clicks & impressions).values()) < _CLICKS_NEEDED:
        shown = ", ".join(f"{key}: [{', '.join(names)}]" for key, names in types.items())
        guess.remarks.append(f"no user has {_CLICKS_NEEDED} impressions with a click, so all are clicks; else: {shown}")
        return {"click": [*events.impression, *events.click]}
    return types


def remark_on_clicks(left: Sequence[Feedback], rows: FirstRows, *, labelled: bool) -> Iterator[str]:
    """Name the columns that may tell clicks from other rows, and are not used."""
    labels = [each for each in left if each.kind == "label" and each.is_readable]
    if labelled:
        if labels:
            yield f"not used: 0 and 1 as well: {list_names([each.column for each in labels])}"
        yield from (f"not used: '{each.column}' holds {each.holds}" for each in left if each not in labels)
        return
    for each in left:
        if each not in labels or len(labels) == 1:
            yield (
                f"column '{each.column}' holds {each.holds}, {rows.describe_rows()}, and is not used: all rows are "
                f"taken as clicks; if it tells which are, {each.advice}"
            )
    if len(labels) > 1:
        yield (
            f"{len(labels)} columns hold 0 and 1 and are not used: all rows are taken as clicks; if the 1s of one are "
            f"the clicks, name it in data.columns.label: {list_names([each.column for each in labels])}"
        )
