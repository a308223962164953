"""Columns that say which rows of a table are clicks: 0 and 1, a rating, a few types of event.

Without `data.columns.label` every row of a table is taken as a click. Where a column of these kinds is left unused that
may be wrong, and is said: by `data inspect`, which names a column of 0 and 1 as the label where it can, and by
`prepare`. All of it is told by a column's name and its first values.
"""

import re
import statistics
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from din_train.config import DataConfig
from din_train.config.column_roles import ROLES
from din_train.errors import DataError
from din_train.logs.first_rows import FirstRows, join_rows, read_first_rows
from din_train.logs.labels import LabelRule
from din_train.logs.rejects import BadLine
from din_train.printable import make_printable

_MOST_TYPES = 20
_TYPES_SHOWN = 8
_COLUMNS_SHOWN = 5
_MOST_FILES = 8  # looked at
_VALUE_SHOWN = 40
_OPPOSITE_SHARE = 0.99

# Names in lower case without what is no letter or digit. Of labels those of clicks come first; the first one is taken.
_LABEL_NAMES = (
    "label click clicked isclick isclicked clk isclk hasclicked wasclicked clickflag target y conversion converted "
    "isconverted purchase purchased buy bought isbuy booked isbooked isbooking order ordered install "
    "installed like liked islike positive "
    "ispositive interaction interacted feedback response reward engaged isread read rating"
)
_OPPOSITE_NAME = re.compile(r"^(?:non?|not|un|neg|dis|skip|miss)")
_NO_CLICK_NAME = re.compile(
    r"^(?:is|has|was)?(?:(?:non?|not|un|dis)(?:cli?c?k|lik|buy|purchas|order|read|rated)|skip|hate)"
)
_RATING_NAME = re.compile(r"^(?:rating|rate|score|star|overall|grade|vote)s?(?:value)?$|(?:rating|stars)$")
_STRENGTH_NAME = re.compile(
    r"^(?:watch|play|view|dwell|read|listen)(?:ing|ed)?(?:ratio|duration|times?|ms|s|count)$|^plays$"
)
_EVENT_NAME = re.compile(
    r"^(?:user)?(?:event|action|behaviou?r|interaction|activity|feedback|operation)s?(?:type|name|kind|code)?$|^type$|"
    r"^(?:ereignis|aktions?)?typ$|^(?:ereignis|aktion|evento|accion|tipo|tipoevento|typeevenement)$"
)
# Types of event: those that show an item, those that are clicks, and views, which are clicks if others show the item.
_SHOWN = "imp impression impressions impr show shown expose exposed exposure display"
_VIEWED = "view views viewed pageview pv detail visit open ansicht angesehen aufruf"
_CLICKED = (
    "click clicks clicked clk cart carts addtocart add2cart basket buy bought purchase purchased transaction order "
    "orders checkout pay payment fav favorite favourite wish wishlist collect like share comment follow play listen "
    "watch finish download install read bookmark save rate subscribe clickout select klick geklickt "
    "kauf gekauft warenkorb bestellung"
)
# Numbers as types -> what they are in the logs that are published; the first is the click, and is part of the others.
_CODES = (
    ({"0", "1", "2", "3"}, "0 click, 1 cart, 2 buy, 3 favourite (Tmall's order)"),
    ({"1", "2", "3", "4"}, "1 click, 2 favourite, 3 cart, 4 buy (Tianchi's order)"),
)
_NEITHER = "dislike skip remove removed delete search unfollow unlike return refund"
# Scales by which a column is taken for a rating whatever its name.
_SCALES = ({*range(1, 6)}, {*range(1, 11)}, {half / 2 for half in range(1, 11)})

_NEGATION = re.compile(r"(?:not?|non|un|nicht|kein)[\s_-]*(.{3,})")  # `not clicked`, `no_click`

_POSITIVE, _NEGATIVE = ("1", "1.0", "true", "t", "yes", "y"), ("0", "0.0", "false", "f", "no", "n", "-1", "-1.0")
_KEYS = {"label": "label", "rating": "label with label_at_least", "events": "events"}
_NUMBER = re.compile(r"[-+]?[0-9]{1,15}(?:\.[0-9]{1,15})?")


@dataclass(frozen=True)
class Feedback:
    """A column that tells rows apart.

    holds: its values and their counts, in words.
    positive: [rows] whether the row has the value that stands for yes; of a label.
    is_readable: whether `data.columns.label` may name it.
    at_least: of a rating, what may be a click; None if nothing tells.
    click, impression: of events, the types that may be clicks and those that show an item; none if nothing tells.
    note: what numbers are taken for, as types; or what a rating may mean that is no rating.
    is_opposite: of a label, whether its name says that its 1s are no clicks.
    """

    column: str
    kind: Literal["label", "rating", "events"]
    holds: str
    positive: Sequence[bool] = ()
    is_readable: bool = False
    at_least: float | None = None
    click: Sequence[str] = ()
    impression: Sequence[str] = ()
    note: str = ""
    is_opposite: bool = False

    @property
    def advice(self) -> str:
        """What to do if it tells which rows are clicks."""
        if self.is_opposite:
            return "write a column of its opposite, whose 1s are clicks, and name that in data.columns.label"
        if self.kind == "label" and not self.is_readable:
            return "write it as 0 and 1 and name it in data.columns.label"
        return f"name it in data.columns.{_KEYS[self.kind]}"

    @property
    def share(self) -> float:
        """Of the rows that are positive."""
        return sum(self.positive) / len(self.positive)


def find_feedback(rows: FirstRows, used: Collection[str] = ()) -> list[Feedback]:
    """The columns of these kinds in their order, but for those in use."""
    found = (_describe(name, values) for name, values in rows.values.items() if name not in used)
    return [each for each in found if each is not None]


def choose_label(found: Sequence[Feedback]) -> tuple[Feedback | None, str | None]:
    """The column whose 1s are the clicks, where its name or an opposite of it tells; and the opposite's name."""
    labels = [each for each in found if each.kind == "label" and each.is_readable]
    opposites = {
        one.column: other for one in labels for other in labels if one is not other and _are_opposite(one, other)
    }
    named = {simplify_name(each.column): each for each in reversed(labels)}
    chosen = next((named[name] for name in _LABEL_NAMES.split() if name in named), None)
    if chosen is None:
        in_name = [
            each for name, each in named.items() if re.search("cli?c?k", name) and not _OPPOSITE_NAME.search(name)
        ]
        chosen = in_name[-1] if in_name else None
    if chosen is None and opposites:
        chosen = min((each for each in labels if each.column in opposites), key=lambda each: each.share)
    other = opposites.get(chosen.column) if chosen else None
    return chosen, other.column if other else None


def describe_unused_feedback(data: DataConfig, paths: Sequence[Path]) -> str | None:
    """One line about the columns of a table without labels that say which of its rows are clicks; None if none does.

    Args:
        paths: the files of the log; some of them are looked at.
    """
    columns = data.columns
    if data.source != "table" or columns is None or columns.label is not None or columns.events is not None:
        return None
    used = {*(getattr(columns, role) for role in ROLES), *data.item_fields, *data.user_fields, *data.context_fields}
    looked_at = paths[:: -(-len(paths) // _MOST_FILES)]
    try:
        rows = join_rows([read_first_rows(path, data.format) for path in looked_at])
    except DataError:
        return None  # said by the reader itself
    found = find_feedback(rows, used)
    if not found:
        return None
    shown = "; ".join(f"column '{_shorten(each.column)}' holds {each.holds}" for each in found[:_COLUMNS_SHOWN])
    more = f"; and {len(found) - _COLUMNS_SHOWN} columns more" if len(found) > _COLUMNS_SHOWN else ""
    advice = f"if it tells which rows are clicks, {', or '.join({each.advice: None for each in found})}"
    files = f" of {len(looked_at)} of its {len(paths)} files" if len(paths) > 1 else ""
    return (
        f"{data.events}: all rows are taken as clicks, though what is not used may tell which are: {shown}{more} "
        f"({rows.describe_rows()}{files}); {advice}"
    )


def is_label_name(name: str) -> bool:
    """Whether a column of this name is a label, whatever it holds."""
    return simplify_name(name) in _LABEL_NAMES.split()


def simplify_name(name: str) -> str:
    """In lower case, without what is no letter or digit, and without a type behind it (`user_id:token`)."""
    return re.sub(r"[^a-z0-9]", "", re.sub(r":(?:token|float)(?:_seq)?$", "", name.lower()))


def _describe(name: str, texts: Sequence[str]) -> Feedback | None:
    counts = Counter(texts)
    without = counts.pop("", 0)
    missing = f", none in {without:,}" if without else ""
    plain = simplify_name(name)
    if len(counts) < 2:
        return None
    if len(counts) <= _MOST_TYPES:
        lower = {value.strip().lower() for value in counts}
        if lower <= {*_POSITIVE, *_NEGATIVE}:
            return _describe_label(name, texts, counts, _POSITIVE)
        if len(counts) == 2 and (
            denied := {found[1] for each in lower if (found := _NEGATION.fullmatch(each))} & lower
        ):
            return _describe_label(name, texts, counts, denied)
        usual, _count = counts.most_common(1)[0]  # a click, if the numbers are of one of these orders
        codes = next((each for each in _CODES if counts.keys() <= each[0] and usual == min(each[0])), None)
        if _EVENT_NAME.search(plain) and codes is not None:
            return Feedback(name, "events", _list_counts(counts) + missing, click=[min(codes[0])], note=codes[1])
        click, impression, known = _sort_types([each for each, _ in counts.most_common()])
        if _EVENT_NAME.search(plain) or (known >= 2 and 2 * known > len(counts)):
            return Feedback(name, "events", _list_counts(counts) + missing, click=click, impression=impression)
    is_rating, is_strength = _RATING_NAME.search(plain), _STRENGTH_NAME.search(plain)
    if not (is_rating or is_strength or len(counts) <= _MOST_TYPES) or not all(map(_NUMBER.fullmatch, counts)):
        return None
    numbers = Counter[float]()
    for text, count in counts.items():
        numbers[float(text)] += count
    is_label = is_label_name(name) and len(numbers) > 2 and any({*numbers} <= scale for scale in _SCALES)
    if is_rating or is_label or {*numbers} in _SCALES:
        return _describe_ratings(
            name, numbers, missing, is_sure=bool(is_rating) or name.isdigit() or is_label_name(name)
        )
    if is_strength:
        median = statistics.median(numbers.elements())
        share = sum(count for number, count in numbers.items() if number >= 1) / numbers.total()
        is_ratio = "ratio" in plain and 0 < share < 1
        holds = f"{min(numbers):,g} to {max(numbers):,g} (median {median:,g}){missing}"
        holds = f"{holds}, {share:.1%} are 1 or more" if is_ratio else holds
        return Feedback(name, "rating", holds, at_least=1.0 if is_ratio else None)
    return None


def _sort_types(types: Collection[str]) -> tuple[list[str], list[str], int]:
    """The types that are clicks, those that show an item, and how many of all are known."""
    words = {each: {*re.split("[^a-z0-9]+", each.strip().lower()), simplify_name(each)} for each in types}
    shown, viewed, clicked, neither = (
        [each for each in types if not words[each].isdisjoint(known.split())]
        for known in (_SHOWN, _VIEWED, _CLICKED, _NEITHER)
    )
    clicked = [each for each in clicked if each not in (*neither, *shown)]
    viewed = [each for each in viewed if each not in (*neither, *shown, *clicked)]
    num_known = len({*shown, *viewed, *clicked, *neither})
    if shown:
        return [*viewed, *clicked], shown, num_known
    return (clicked, viewed, num_known) if clicked else (viewed, [], num_known)


def _describe_label(name: str, texts: Sequence[str], counts: Counter[str], yes: Collection[str]) -> Feedback | None:
    positive = [text.strip().lower() in yes for text in texts]
    shares = {value: count / len(texts) for value, count in counts.items()}
    ones = [value for value in counts if value.strip().lower() in yes]
    if not 0 < len(ones) < len(counts):
        return None
    values = " and ".join(sorted(_shorten(value) for value in counts))
    holds = f"{values} ({sum(shares[each] for each in ones):.1%} are {' or '.join(sorted(ones))})"
    missing = f", none in {texts.count(''):,}" if "" in texts else ""
    is_opposite = _NO_CLICK_NAME.search(simplify_name(name)) is not None
    return Feedback(name, "label", holds + missing, positive, _are_readable(counts), is_opposite=is_opposite)


def _are_readable(values: Collection[str]) -> bool:
    """Whether a log may have all of these labels."""
    rule = LabelRule()
    try:
        for value in values:
            rule.parse(value)
    except BadLine:
        return False
    return True


def _describe_ratings(name: str, numbers: Counter[float], missing: str, *, is_sure: bool) -> Feedback:
    high = max(numbers)
    enough = 0.8 * high
    if not enough.is_integer():
        enough = min(number for number in numbers if number >= enough)
    share = sum(count for number, count in numbers.items() if number >= enough) / numbers.total()
    holds = f"{min(numbers):g} to {high:g} ({share:.1%} are {enough:g} or more){missing}"
    low = min(numbers)
    is_none = low in (-1, 0) and all(number >= 1 for number in numbers if number != low)
    note = f"'{name}' is {low:g} in {numbers[low]:,} rows, which may mean that there is no rating" if is_none else ""
    return Feedback(name, "rating", holds, at_least=enough if is_sure and 0 < share < 1 else None, note=note)


def _list_counts(counts: Counter[str]) -> str:
    shown = ", ".join(f"{_shorten(value)} {count:,}" for value, count in counts.most_common(_TYPES_SHOWN))
    more = len(counts) - _TYPES_SHOWN
    return f"{shown}, ... ({more} more)" if more > 0 else shown


def _are_opposite(one: Feedback, other: Feedback) -> bool:
    differing = sum(first != second for first, second in zip(one.positive, other.positive, strict=True))
    return differing >= _OPPOSITE_SHARE * len(one.positive)


def _shorten(text: str) -> str:
    return make_printable(text if len(text) <= _VALUE_SHOWN else text[:_VALUE_SHOWN] + "...")
