"""Text of strangers is shown as it reads: no terminal obeys it, and nothing in it is out of sight."""

import io
import sys
import unicodedata

import pytest

from clbench.cli.console import plain_console, tell
from clbench.core.shown_text import pictured, shown
from clbench.running.text_console import TextConsole

CONTROL = [*range(0x20), *range(0x7F, 0xA0)]
BIDI = [0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)]


def test_every_control_character_of_the_first_block_has_its_picture_in_unicode():
    for code in range(0x20):
        if chr(code) not in "\n\t":
            name = unicodedata.name(pictured(chr(code)))
            assert name.startswith("SYMBOL FOR "), (code, name)
    assert [pictured(letter) for letter in "\x00\x1b\x7f\r\x07"] == ["␀", "␛", "␡", "␍", "␇"]


@pytest.mark.parametrize(
    "code", [*CONTROL, *BIDI, 0xAD, 0x200B, 0x200D, 0x2060, 0xFEFF, 0xE0041, 0x2028, 0xD800, 0xE000, 0x3164]
)
def test_no_character_that_acts_or_hides_is_left_in_a_line(code):
    line = shown(f"a{chr(code)}b")
    assert chr(code) not in line
    assert all(unicodedata.category(letter) not in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp") for letter in line)
    line.encode()  # a lone surrogate could not be written
    assert (line[0], line[-1]) == ("a", "b")
    assert len(line) > 2


def test_characters_without_a_picture_are_written_as_their_number():
    assert shown("a\u202eb") == "a⟨U+202E⟩b"
    assert shown("\x9b2J") == "⟨U+009B⟩2J"


def test_letters_of_all_scripts_and_signs_of_mathematics_stay_as_they_are():
    for text in ("er_ace(α=½)", "naïve", "经验回放", "повтор", "حفظ", "é", "er → ewc ≈ ±", "𝛼 🙂"):
        assert shown(text) == text


def test_spaces_and_ends_of_lines_become_one_space_in_a_line_and_stay_in_several():
    assert shown("  a\r\n\tb\u00a0 c ") == "a b c"
    assert pictured("a\n\tb") == "a\n\tb"


def test_a_long_label_keeps_its_beginning_and_its_end_within_eighty_letters():
    label = "er(" + "x" * 300 + ") [training.lr=0.1]"
    line = shown(label)
    assert len(line) == 80
    assert line.count("…") == 1
    assert line.startswith("er(xxx")
    assert line.endswith("x) [training.lr=0.1]")
    assert shown("a" * 80) == "a" * 80
    assert shown("ab" * 300, 7) == "abab…ab"
    assert shown("a" * 300, None) == "a" * 300


def test_shown_text_is_not_changed_when_it_is_shown_again():
    for text in ("a\x1b[2Jb", "\u202ea", "x" * 200, "a  b"):
        assert shown(shown(text)) == shown(text)


def test_a_console_prints_pictures_and_keeps_its_own_colours():
    from rich.table import Table
    from rich.text import Text

    out = io.StringIO()
    console = TextConsole(file=out, force_terminal=True, color_system="standard", width=40)
    table = Table("head of a column \x1b[2J")
    table.add_row(Text("cell\x1b]0;title\x07", style="bold"))
    console.print(table)
    console.print("plain \x1b[31mred \u202eback", soft_wrap=True)
    text = out.getvalue()
    assert "\x1b[1mcell␛]0;title" in text
    assert "column ␛[2J" in text
    assert "plain ␛[31mred ⟨U+202E⟩back" in text


def test_a_sentence_about_an_error_cannot_clear_the_terminal(monkeypatch):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with plain_console():
        tell("no strategy is called '\x1b[2Jer'")
    assert sys.stderr.getvalue() == "clbench: no strategy is called '␛[2Jer'\n"
