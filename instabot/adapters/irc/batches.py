"""Batches (https://ircv3.net/specs/extensions/batch) and what was said while we were away.

CHATHISTORY (https://ircv3.net/specs/extensions/chathistory) answers with a batch. Servers also
send such batches unasked when we join; those hold what is long past and are not reported.
"""

import asyncio
from datetime import UTC, datetime

from instabot.adapters.base import Said
from instabot.adapters.irc.lines import Line
from instabot.adapters.irc.session import Session
from instabot.errors import LinkError

PATIENCE = 60.0
PAGE = 100
MAX_LINES = 10_000
"""Lines fetched for one room: a longer absence leaves a gap, which is said aloud."""
MAX_OPEN = 1000
_HISTORY = {"chathistory", "draft/chathistory", "znc.in/playback"}


class Batch:
    """An open batch: its kind, its room, the label it answers to, and the lines in it."""

    __slots__ = ("kind", "label", "lines", "room")

    def __init__(self, kind: str, room: str, label: str) -> None:
        self.kind = kind
        self.room = room
        self.label = label
        self.lines: list[Said] = []


class Batches:
    """The open batches, and who waits for the history of which room (folded).

    Made when there is a batch, and dropped when it is `idle` again.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._open: dict[str, Batch] = {}
        self._asked: dict[str, asyncio.Future[list[Said] | None]] = {}

    @property
    def idle(self) -> bool:
        """No batch is open, and nobody waits for one."""
        return not (self._open or self._asked)

    # -- what hearing asks ---------------------------------------------------------------

    def is_history(self, reference: str) -> bool:
        """True for lines of the past."""
        batch = self._open.get(reference)
        return batch is not None and batch.kind in _HISTORY

    def take(self, reference: str, said: Said) -> bool:
        """Keep a line of the past; False where it is of the present."""
        batch = self._open.get(reference)
        if batch is None or batch.kind not in _HISTORY:
            return False
        if len(batch.lines) < MAX_LINES:
            batch.lines.append(said)
        return True

    def label(self, reference: str) -> str:
        """The label that the lines of a batch answer to, '' where there is none."""
        batch = self._open.get(reference)
        return batch.label if batch is not None else ""

    # -- history -------------------------------------------------------------------------

    async def history(self, room: str, since: float, ref: str) -> list[Said] | None:
        """All lines after a moment or a message, oldest first; None where there is no history.

        Our own lines are left out: they were logged when they were confirmed.
        """
        if not offered(self._session):
            return None
        size = min(self._session.features.number("CHATHISTORY") or PAGE, PAGE)
        found: dict[str, Said] = {}
        after = f"msgid={ref}" if ref else _timestamp(since)
        while len(found) < MAX_LINES:
            page = await self._page(room, after, size)
            if page is None and after.startswith("msgid=") and not found:
                after = _timestamp(since)  # it no longer knows that message
                continue
            if page is None:
                return None
            known = len(found)
            found.update(
                (said.ref or f"{said.at} {said.sender} {said.text}", said) for said in page
            )
            if len(found) == known or len(page) < size:
                break
            last = page[-1]
            after = f"msgid={last.ref}" if last.ref else _timestamp(last.at)
        me = self._session.me
        lines = [said for said in found.values() if said.sender != me and said.at >= since]
        return sorted(lines, key=lambda said: said.at)

    async def _page(self, room: str, after: str, size: int) -> list[Said] | None:
        folded = self._session.fold(room)
        answer: asyncio.Future[list[Said] | None] = asyncio.get_running_loop().create_future()
        self._asked[folded] = answer
        self._session.connection.send_raw(f"CHATHISTORY AFTER {room} {after} {size}")
        try:
            async with asyncio.timeout(PATIENCE):
                return await answer
        except TimeoutError:
            raise LinkError(f"no answer to CHATHISTORY for {PATIENCE:.0f} s") from None
        finally:
            self._asked.pop(folded, None)

    def lost(self, error: LinkError) -> None:
        """The connection is gone: everybody who waits hears so."""
        for answer in self._asked.values():
            if not answer.done():
                answer.set_exception(error)
        self._open.clear()

    def batch(self, line: Line) -> None:
        """A batch begins or ends."""
        sign, reference = line.param(0)[:1], line.param(0)[1:]
        if sign == "+" and len(self._open) < MAX_OPEN:
            label = line.tags.get("label") or self.label(line.tags.get("batch", ""))
            self._open[reference] = Batch(line.param(1).lower(), line.param(2), label)
        elif sign == "-":
            batch = self._open.pop(reference, None)
            if batch is not None and batch.kind in _HISTORY:
                self._answer(batch.room, batch.lines)

    def _answer(self, room: str, lines: list[Said] | None) -> None:
        answer = self._asked.get(self._session.fold(room))
        if answer is not None and not answer.done():
            answer.set_result(lines)

    def fail(self, line: Line) -> None:
        """FAIL: perhaps to our CHATHISTORY."""
        if line.param(0).upper() == "CHATHISTORY":
            for word in line.params[2:]:
                self._answer(word, None)
            if len(self._asked) == 1:
                self._answer(next(iter(self._asked)), None)

    def unknown(self, line: Line) -> None:
        """The server does not know a command: perhaps our CHATHISTORY."""
        if line.param(1).upper() == "CHATHISTORY":
            for room in list(self._asked):
                self._answer(room, None)


def offered(session: Session) -> bool:
    """Whether this server keeps a history that we can ask for."""
    caps = session.caps
    return "batch" in caps and not caps.isdisjoint({"chathistory", "draft/chathistory"})


def _timestamp(at: float) -> str:
    # Whole milliseconds, rounded down: rather a line twice, which has an id, than none.
    moment = datetime.fromtimestamp(max(at, 0.0), UTC)
    return f"timestamp={moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"
