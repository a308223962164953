"""The config for a log: the starter of its source, filled in."""

import re
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

from din_train.config.data import AMAZON_SOURCES
from din_train.config.yaml_text import dump_yaml
from din_train.inspect.recognise import Recognised
from din_train.inspect.table_columns import COLUMN_NAMES, NEEDED_ROLES
from din_train.logs import FileReport
from din_train.logs.rejects import count_allowed
from din_train.printable import make_printable


def fill_in_starter(
    text: str, path: Path, found: Recognised, other_key: str | None, other_file: Path | None
) -> tuple[str, list[str]]:
    """Fill in the config, and name the keys left to be edited, with the reason."""
    text, to_edit = _fill_in(text, found.key, path), []
    if other_key is not None and other_file is not None:
        text = _fill_in(text, other_key, other_file)
    elif other_key is not None:
        to_edit.append(f"data.{other_key}: no such file was found beside {path.name}")
    if found.key in ("items", "users"):
        others = {"users": ["events", "items"], "items": ["reviews" if found.source in AMAZON_SOURCES else "events"]}
        to_edit += [f"data.{key}: the path of that file" for key in others[found.key]]
    if found.key == "users":
        to_edit.append(f"add data.users: {path}, and data.user_fields: age, gender or occupation; or leave it out")
    if found.source == "table":
        roles = [role for role in NEEDED_ROLES if role not in found.roles]
        to_edit += [f"data.columns.{role}: no column's name or values tell" for role in roles]
        columns = _build_columns(found.roles, found.comments)
        text = re.sub(r"^  columns:.*\n(?:    .*\n)+", lambda _match: columns, text, flags=re.MULTILINE)
        if "label" in found.roles:  # the log's own impressions are the negatives
            text = re.sub(r"^negatives:.*\n(?:  .*\n)+\n", "", text, flags=re.MULTILINE)
    return text, to_edit


def _fill_in(text: str, key: str, value: object) -> str:
    line = textwrap.indent(dump_yaml({key: str(value)}), "  ")
    return re.sub(rf"^  {key}:.*\n", lambda _match: line, text, count=1, flags=re.MULTILINE)


def _build_columns(roles: Mapping[str, str], comments: Mapping[str, str]) -> str:
    lines = ["  columns:\n"]
    for role in COLUMN_NAMES:
        if role in roles:
            line = textwrap.indent(dump_yaml({role: roles[role]}), "    ").rstrip("\n")
            comment = f"# {make_printable(comments[role])}" if role in comments else ""
            is_one = "\n" not in line  # a comment would become a part of a text that goes on
            lines.append(f"{line:35} {comment}\n" if comment and is_one else f"{line}\n")
        elif role in NEEDED_ROLES:
            lines.append(f"{f'    {role}: {role}':35} # EDIT: which of the columns listed above\n")
        elif role == "category":
            lines.append(f"{'    # category: category':35} # of the item, if there is such a column\n")
    return "".join(lines)


def mark_bad_share(text: str, share: float, reports: Sequence[FileReport]) -> tuple[str, list[str]]:
    """Mark `max_bad_share` in the config if a file has more bad lines than it allows."""
    too_bad = []
    for report in reports:
        bad = sum(report.rejected.values())
        if bad > count_allowed(share, report.lines):
            quotes = "a quoted field goes on across lines or has quotes after backslashes, which is not read; "
            too_bad.append(
                f"data.max_bad_share: {report.path.name} has {bad:,} bad lines of {report.lines:,} "
                f"({bad / report.lines:.2%}); {quotes if 'broken quotes' in report.rejected else ''}mend the file, or "
                "raise the share to go on without them"
            )
    mark = lambda match: f"{match[1]:35} # EDIT: a file has more bad lines than this share\n"  # noqa: E731
    return re.sub(r"^(  max_bad_share: \S+).*\n", mark, text, flags=re.MULTILINE) if too_bad else text, too_bad
