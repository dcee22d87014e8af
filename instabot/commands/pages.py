"""Long replies in pages: what is said now, and what waits for `!more`.

Lines are counted as rooms see them: a long line costs as many as a chat service that takes
400 bytes at once would make of it.
"""

from collections.abc import Iterator

import msgspec

from instabot.commands.context import Memory

LINES = 5
"""Lines in one page, the last of them the pointer to the next page."""

LINE_BYTES = 400
"""What counts as one line."""

KEEP_BYTES = 24 * 1024
"""How much of a reply is kept. As JSON, where every character may need an escape, it stays
below the 64 KiB that a memory takes under one key."""

OWNER = "more"
"""The plugin in whose memory the rest waits."""

_KEY = "rest"


class _Rest(msgspec.Struct):
    """`by` is the message that was answered with `page`; `lines` is what comes after it."""

    by: str
    page: str
    lines: list[str]


_decoder = msgspec.json.Decoder(_Rest)


async def first(text: str, message: str, prefix: str, memory: Memory) -> str:
    """Fit a reply to the message id `message`; the rest goes to `memory`.

    Called again for the same message it stores and returns the same, so a backend that dies
    between this and its COMMIT does no harm.
    """
    lines = text.split("\n")
    if sum(map(cost, lines)) <= LINES:
        return text
    page, left = _cut(_capped(lines), prefix)
    await _store(memory, _Rest(message, page, left))
    return page


async def following(message: str, prefix: str, memory: Memory) -> str | None:
    """The next page, or None where there is none. The same message gets the same page."""
    data = await memory.get(_KEY)
    if data is None:
        return None
    kept = _decoder.decode(data)
    if kept.by == message:
        return kept.page or None
    if not kept.lines:
        return None
    page, left = _cut(kept.lines, prefix)
    await _store(memory, _Rest(message, page, left))
    return page


def cost(line: str) -> int:
    """How many lines of a room this line takes."""
    if len(line) * 4 <= LINE_BYTES:
        return 1
    return max(1, -(-len(line.encode("utf-8", "replace")) // LINE_BYTES))


async def _store(memory: Memory, rest: _Rest) -> None:
    await memory.put(_KEY, msgspec.json.encode(rest))


def _cut(lines: list[str], prefix: str) -> tuple[str, list[str]]:
    """One page and what is left of `lines`."""
    if sum(map(cost, lines)) <= LINES:
        return "\n".join(lines), []
    room, page = LINES - 1, list[str]()
    rest = iter(lines)
    left: list[str] = []
    for line in rest:
        if cost(line) <= room:
            room -= cost(line)
            page.append(line)
            continue
        if room:
            head, line = _break(line, room * LINE_BYTES)
            page.append(head)
        left = [line, *rest]
    count = sum(map(cost, left))
    page.append(f"… {count} more {'line' if count == 1 else 'lines'}: {prefix}more")
    return "\n".join(page), left


def _break(line: str, size: int) -> tuple[str, str]:
    """Cut a line after at most `size` bytes, at a space where one is near."""
    head = line.encode("utf-8", "replace")[:size].decode("utf-8", "ignore")
    space = head.rfind(" ", len(head) // 2)
    if space > 0:
        return line[:space], line[space + 1 :]
    return line[: len(head)], line[len(head) :]


def _capped(lines: list[str]) -> list[str]:
    return list(_until_full(lines))


def _until_full(lines: list[str]) -> Iterator[str]:
    left = KEEP_BYTES
    for line in lines:
        size = len(line.encode("utf-8", "replace")) + 1
        if size > left:
            yield _break(line, left)[0] + " … (the rest was too long to keep)"
            return
        left -= size
        yield line
