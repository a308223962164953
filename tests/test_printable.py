"""What is not printable becomes an escape, and nothing else changes."""

import json
import unicodedata

import pytest

from din_train.printable import dump_printable_json, escape_markdown, make_lines_printable, make_printable, shorten


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b]0;owned\x07", r"\x1b]0;owned\x07"),
        ("\x1b[2J\x7f", r"\x1b[2J\x7f"),
        ("\x9b2J\x85", r"\x9b2J\x85"),
        ("a\nb\tc\rd\x00", r"a\nb\tc\rd\x00"),
        ("u\u202eevil\u2066", r"u\u202eevil\u2066"),
        ("\u200bzero\u200d\ufeff\u2060\xad", r"\u200bzero\u200d\ufeff\u2060\xad"),
        ("line\u2028paragraph\u2029", r"line\u2028paragraph\u2029"),
        ("half \ud83d of \udcff", r"half \ud83d of \udcff"),
        ("tag\U000e0041", r"tag\U000e0041"),
        ("无线蓝牙耳机 café Ω naïve \u00a0 \U0010fffd", "无线蓝牙耳机 café Ω naïve \u00a0 \U0010fffd"),
        ("葛\U000e0100 ☺\ufe0f 👋🏽", "葛\U000e0100 ☺\ufe0f 👋🏽"),
        ("👨\u200d👩\u200d👧 ❤\ufe0f\u200d🔥", "👨\u200d👩\u200d👧 ❤\ufe0f\u200d🔥"),
        ("\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f", None),
        (r"\x1b", r"\x1b"),
    ],
)
def test_what_is_shown(text: str, shown: str | None) -> None:
    assert make_printable(text) == (text if shown is None else shown)


def test_no_character_of_unicode_controls_what_it_is_shown_on() -> None:
    for code in range(0x110000):
        letter = chr(code)
        shown = make_printable(letter)
        if unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp"):
            assert shown.isprintable(), hex(code)
        if unicodedata.bidirectional(letter) in ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"):
            assert shown.isprintable(), hex(code)
        if unicodedata.category(letter)[0] in "LMNPS":
            assert shown == letter, hex(code)


def test_lines_stay_lines() -> None:
    assert make_lines_printable("a: 1\n\tb\x1b\n") == "a: 1\n\\tb\\x1b\n"


def test_json_has_the_same_value() -> None:
    value = {"a\x9b": ["\u202e中", "\U000e0041", "\x7f"]}
    text = dump_printable_json(value)
    assert json.loads(text) == value
    assert make_lines_printable(text) == text
    assert "中" in text


def test_markdown_of_an_id_is_the_id() -> None:
    assert escape_markdown("a|b`c`[x](y)<z>\n") == r"a\|b\`c\`\[x\](y)\<z\>\\n"


def test_a_long_text_keeps_its_ends() -> None:
    assert shorten("a" * 50 + "b" * 50, 30) == "a" * 20 + " ... " + "b" * 10
    assert shorten("ab", 2) == "ab"
