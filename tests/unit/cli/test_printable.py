"""What a terminal would obey is shown as text: a file may be called anything."""

from __future__ import annotations

import pytest

from rra_cli.console import make_table, printable, show, show_error
from rra_cli.errors import ConfigError, UserError

EVIL = "a\x1b[2J\x1b]0;owned\x07\r\x9b31m\u202eb\udcff"
SHOWN = "a\\x1b[2J\\x1b]0;owned\\x07\\r\\x9b31m\\u202eb\\udcff"


def test_controls_are_written_out_and_letters_stay() -> None:
    assert printable(EVIL) == SHOWN
    assert printable("two\nlines\tand µ ± 한글 عربي\u00a0😀") == "two\nlines\tand µ ± 한글 عربي\u00a0😀"


@pytest.mark.parametrize("error", [UserError(EVIL, EVIL), ConfigError([EVIL, EVIL], EVIL)])
def test_messages_obey_nobody(error: UserError, capsys: pytest.CaptureFixture[str]) -> None:
    show_error(error)
    text = capsys.readouterr().err
    assert "\\x1b[2J" in text
    assert not any(letter in text for letter in "\x1b\x07\x9b\r\u202e")


def test_results_obey_nobody(capsys: pytest.CaptureFixture[str]) -> None:
    show(EVIL)
    show(make_table("", ["layer", "value"], [[EVIL, 1]]))
    text = capsys.readouterr().out
    assert text.count("\\x1b[2J") == 2
    assert not any(letter in text for letter in "\x1b\x07\x9b\r\u202e")
