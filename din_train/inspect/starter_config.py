"""The config for a log: the starter of its source, filled in."""

import json
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from din_train.config.yaml_text import dump_yaml, parse_yaml
from din_train.logs import FileReport
from din_train.logs.rejects import count_allowed
from din_train.printable import make_printable

_COMMENTS_FROM = 35
_BLOCKS = ("columns", "events", "sequences", "list_fields")  # mappings that take a line per key
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*")


def fill_in_starter(
    text: str, data: Mapping[str, Any], comments: Mapping[str, str], missing: Mapping[str, str], *, labelled: bool
) -> str:
    """Fill in a starter config.

    Args:
        data: keys of `data` that replace the starter's or come beside them; a key of None is taken out.
        comments: dotted key of `data` -> what stands behind it. missing: dotted key -> what is not known.
        labelled: whether the log has impressions of its own, so that no negatives are drawn.
    """
    place = text.index("  source:")
    for key, value in data.items():
        lines = "" if value is None else "".join(_write_key(key, value, key, comments, missing))
        given = re.search(rf"^  {key}:.*\n(?:   .*\n)*", text, re.MULTILINE)
        start, end = given.span() if given else (place, place)
        text = text[:start] + lines + text[end:]
        place = start + len(lines)
    if labelled:
        text = re.sub(r"^negatives:.*\n(?:  .*\n)+\n", "", text, flags=re.MULTILINE)
    return text


def _write_key(
    key: str, value: Any, dotted: str, comments: Mapping[str, str], missing: Mapping[str, str]
) -> Iterator[str]:
    """The lines of a key of `data`: a line per key of a mapping in `_BLOCKS`, else one line."""
    indent = "  " * (1 + dotted.count("."))
    comment = make_printable(comments.get(dotted, ""))
    if dotted in missing:
        comment = f"EDIT: {missing[dotted]}"
    if isinstance(value, Mapping) and key in _BLOCKS:
        yield _add_comment(f"{indent}{key}:", comment)
        for name, inner in value.items():
            yield from _write_key(name, inner, f"{dotted}.{name}", comments, missing)
    elif isinstance(value, (Mapping, list)):
        yield _add_comment(f"{indent}{_show(key)}: {_show(value)}", comment)
    else:
        lines = textwrap.indent(dump_yaml({key: value}), indent).removesuffix("\n")
        yield f"{lines}\n" if "\n" in lines else _add_comment(lines, comment)  # a comment would become a part of it


def _add_comment(line: str, comment: str) -> str:
    return f"{line:{_COMMENTS_FROM}} # {comment}\n" if comment else f"{line}\n"


def _show(value: Any) -> str:
    """In flow style."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_show(key)}: {_show(each)}" for key, each in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_show, value))}]"
    if isinstance(value, str) and _PLAIN.fullmatch(value) and parse_yaml(value) == value:
        return value
    return json.dumps(value)


def mark_bad_share(text: str, share: float, reports: Sequence[FileReport]) -> tuple[str, list[str]]:
    """Mark `max_bad_share` in the config if a file has more bad lines than it allows."""
    too_bad = [
        f"data.max_bad_share: {report.path.name} has {bad:,} bad lines of {report.lines:,} ({bad / report.lines:.2%}); "
        "mend the file, or raise the share to go on without them"
        for report in reports
        if (bad := sum(report.rejected.values())) > count_allowed(share, report.lines)
    ]
    mark = lambda match: f"{match[1]:35} # EDIT: a file has more bad lines than this share\n"  # noqa: E731
    return re.sub(r"^(  max_bad_share: \S+).*\n", mark, text, flags=re.MULTILINE) if too_bad else text, too_bad


def split_users(text: str, share: float) -> str:
    """Split by users instead of by each user's last clicks, of which most users have too few."""
    line = _add_comment("  protocol: user", f"{share:.0%} of users have fewer than 3 clicks; or: holdout, paper, time")
    return re.sub(r"^  protocol: holdout.*\n", line, text, flags=re.MULTILINE)
