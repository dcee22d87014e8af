"""Tables and times on a terminal."""

import pytest

from instabot.cli import output


def test_columns_are_as_wide_as_their_longest_cell(capsys: pytest.CaptureFixture[str]) -> None:
    output.table(("A", "B", "C"), [("x", "日本", "1"), ("long", "é", "")])
    assert capsys.readouterr().out == "A     B     C\nx     日本  1\nlong  é\n"


def test_a_cell_cannot_break_out_of_its_row(capsys: pytest.CaptureFixture[str]) -> None:
    output.table(("A", "B"), [("a\nb\x1b[31m", "c")])
    assert capsys.readouterr().out.splitlines()[1] == r"a\x0ab\x1b[31m  c"


def test_json_is_ascii_whatever_was_said(capsys: pytest.CaptureFixture[str]) -> None:
    output.document({"text": "\x1b\u202eü"})
    text = capsys.readouterr().out
    assert text.isascii()
    assert "\x1b" not in text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-5, "0s"), (0, "0s"), (59.9, "59s"), (60, "1m"), (7200, "2h"), (172800, "2d")],
)
def test_a_length_of_time_is_said_in_its_largest_unit(seconds: float, text: str) -> None:
    assert output.span(seconds) == text


def test_never_is_a_dash() -> None:
    assert output.ago(0.0) == "-"
    assert output.ago(100.0, now=160.0) == "1m"
