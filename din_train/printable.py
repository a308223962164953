r"""Text from a log, a path or a config, made fit to be shown: on a terminal, in a page, in Markdown or in YAML.

A character that moves the cursor, sets a title, turns the direction of reading or cannot be seen becomes an escape as
in Python and YAML: `\x1b`, `\u202e`. All others stay as they are: Chinese, accents, emoji.
"""

import re
from typing import Any

import orjson

# Controls (C0, DEL, C1), lone surrogates, line and paragraph separators, marks of direction, what has no width, and
# tags; not the variation selectors, which choose the form of a Chinese character.
_UNPRINTABLE = (
    "\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff\ufff9-\ufffb\ufffe\uffff"
    "\U0001d173-\U0001d17a\U000e0000-\U000e007f"
)
# Emoji that need such characters: people joined to a family, the flags of parts of a country.
_EMOJI = "[\u2190-\u21ff\u2300-\u27bf\u2b00-\u2bff\U0001f000-\U0001faff][\ufe0f\U0001f3fb-\U0001f3ff]*"
_JOINED = f"{_EMOJI}(?:\u200d{_EMOJI})+|\U0001f3f4[\U000e0030-\U000e007a]+\U000e007f"
_FOUND = re.compile(f"({_JOINED})|[{_UNPRINTABLE}]")

_MARKDOWN = re.compile(r"[\\`*_\[\]<>#|~&]")


def make_printable(text: str) -> str:
    r"""The text on one line; a line's end is `\n`."""
    return _FOUND.sub(lambda match: match[1] or match[0].encode("unicode_escape").decode(), text)


def make_lines_printable(text: str) -> str:
    """The same for a text of several lines, whose line breaks stay."""
    return "\n".join(map(make_printable, text.split("\n")))


def shorten(text: str, longest: int) -> str:
    """The text; its beginning and its end if it is longer."""
    if len(text) <= longest:
        return text
    return f"{text[: longest * 2 // 3]} ... {text[len(text) - longest // 3 :]}"


def escape_markdown(text: str) -> str:
    """The text as Markdown that reads as it, also in the cell of a table."""
    return _MARKDOWN.sub(r"\\\g<0>", make_printable(text))


def dump_printable_json(value: Any) -> str:
    """Indented JSON of the same value; what is not printable is escaped as JSON has it."""
    text = orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY).decode()
    return "\n".join(_FOUND.sub(_escape_for_json, line) for line in text.split("\n"))


def _escape_for_json(match: re.Match[str]) -> str:
    units = match[0].encode("utf-16-be")
    return match[1] or "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))
