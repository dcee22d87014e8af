"""Five lines at most, and the rest for !more, once and only once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from instabot.backend.replies import clean
from instabot.commands import pages
from instabot.testing import InMemory


async def first(text: str, memory: InMemory, message: str = "1") -> list[str]:
    return (await pages.first(text, message, "!", memory)).split("\n")


async def more(memory: InMemory, message: str) -> list[str] | None:
    page = await pages.following(message, "!", memory)
    return None if page is None else page.split("\n")


def numbered(count: int) -> str:
    return "\n".join(str(number) for number in range(1, count + 1))


async def test_five_lines_are_said_whole() -> None:
    memory = InMemory()
    assert await first(numbered(5), memory) == ["1", "2", "3", "4", "5"]
    assert memory.kept == {}
    assert await more(memory, "2") is None


async def test_longer_replies_are_read_page_by_page() -> None:
    memory = InMemory()
    assert await first(numbered(10), memory) == ["1", "2", "3", "4", "… 6 more lines: !more"]
    assert await more(memory, "2") == ["5", "6", "7", "8", "… 2 more lines: !more"]
    assert await more(memory, "3") == ["9", "10"]
    assert await more(memory, "4") is None


async def test_a_message_answered_again_after_a_crash_gets_the_same_page() -> None:
    memory = InMemory()
    assert await first(numbered(12), memory) == await first(numbered(12), memory)
    second = await more(memory, "2")
    assert await more(memory, "2") == second
    third = await more(memory, "3")
    assert third == ["9", "10", "11", "12"]
    assert await more(memory, "3") == third
    assert await more(memory, "4") is None
    assert await more(memory, "4") is None


async def test_a_long_line_counts_as_what_it_becomes() -> None:
    memory = InMemory()
    line = " ".join(["word"] * 500)  # 2,499 bytes: seven lines
    page = await first(line, memory)
    assert len(page) == 2
    assert page[1] == "… 3 more lines: !more"
    rest = await more(memory, "2")
    assert rest is not None
    assert " ".join([page[0], *rest]) == line


async def test_what_is_too_long_to_keep_is_cut_and_says_so() -> None:
    memory = InMemory()
    await first('"' * 300_000, memory)
    assert len(memory.kept["rest"]) <= 64 * 1024
    last, number = "", 2
    while (page := await more(memory, str(number))) is not None:
        last, number = page[-1], number + 1
    assert last.endswith(" … (the rest was too long to keep)")


@given(
    lines=st.lists(st.text(st.characters(exclude_characters="\n"), max_size=900), max_size=9)
)
async def test_every_page_is_short_and_nothing_is_lost(lines: list[str]) -> None:
    text = clean("\n".join(lines))
    memory, said, message = InMemory(), list[str](), 1
    page: list[str] | None = await first(text, memory)
    while page is not None:
        assert sum(map(pages.cost, page)) <= pages.LINES
        said += [line for line in page if not line.startswith("… ") or message == 0]
        message += 1
        page = await more(memory, str(message))
    # A line broken at a space loses just that space.
    assert _letters("".join(said)) == _letters("".join(
        line for line in text.split("\n") if not line.startswith("… ")))  # fmt: skip


def _letters(text: str) -> str:
    return "".join(text.split())


@given(text=st.text())
def test_clean_text_stays_clean(text: str) -> None:
    once = clean(text)
    assert clean(once) == once
    once.encode()
    assert all(line and not line.isspace() for line in once.split("\n")) or once == ""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a  b ", "a  b "),
        ("a\r\n\r\nb", "a\nb"),
        ("a\x0bb\u2028c", "a\nb\nc"),
        ("\x02\x02", ""),
    ],
)
def test_lines_and_spaces(text: str, expected: str) -> None:
    assert clean(text) == expected
