"""Says on one link: fair between rooms, within the flood budget, confirmed before they count.

A room hands over one batch at a time and waits for its outcome. The sender takes pieces room by
room in turn, and after each flush asks the adapter to confirm all that went before: one barrier
per flush, not per line. Its task lives only while something is to be sent.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from instabot.adapters.base import Adapter, Confirms, Kind, Rejection, Splits
from instabot.errors import LinkError, Refused
from instabot.runtime.budget import Budget
from instabot.runtime.guard import guarded, spelling

FLUSH = 400
FLUSH_LIMITED = 4
"""Pieces sent before a barrier is due, so that what is unconfirmed stays small; with a flood
limit few, for a room's next reply waits until its last one is confirmed."""

PAUSE = 0.05
"""Seconds between two looks at the lease while it forbids to speak."""

CONFIRM = 900.0
"""Seconds until a barrier that never ends counts as a dead link; a server that throttles us may
well take minutes for a full flush, and the keepalive finds a dead one sooner."""


@dataclass(slots=True, eq=False)
class Batch:
    """A room's pieces on their way, each with the number of its line.

    The outcome is why each line was refused, '' where it was taken.
    """

    room: str
    pieces: Sequence[tuple[str, Kind, int]]
    reasons: list[str]
    outcome: asyncio.Future[list[str]]
    sent: int = 0
    blamed: set[int] = field(default_factory=set)

    def settle(self) -> None:
        if not self.outcome.done():
            self.outcome.set_result(self.reasons)

    def fail(self, error: Exception) -> None:
        if not self.outcome.done():
            self.outcome.set_exception(error)

    def refuse(self, number: int, reason: str) -> None:
        """A piece was not taken, and with it its line."""
        self.blamed.add(number)
        line = self.pieces[number][2]
        self.reasons[line] = self.reasons[line] or reason or "refused"

    def blame(self, rejection: Rejection) -> None:
        """Find the piece that the service means: by its text, else the last one sent."""
        free = [n for n in range(self.sent) if n not in self.blamed]
        text = rejection.text
        same = [n for n in free if text and self.pieces[n][0] == text]
        near = same or [n for n in free if text and text in self.pieces[n][0]]
        if hit := near[:1] or free[-1:]:
            self.refuse(hit[0], rejection.reason)


class Sender:
    """The outgoing half of a link. `attach` when connected, `detach` when the link is gone.

    `broken` is told when the adapter says that the link is gone.
    """

    def __init__(
        self,
        tasks: asyncio.TaskGroup,
        budget: Budget,
        may_speak: Callable[[], bool],
        broken: Callable[[LinkError], None] = lambda error: None,
    ) -> None:
        self._tasks = tasks
        self._budget = budget
        self._may_speak = may_speak
        self._broken = broken
        self._adapter: Adapter | None = None
        self._splits: Splits | None = None
        self._confirms: Confirms | None = None
        self._fold: Callable[[str], str] = str.lower
        self._turns: deque[Batch] = deque()
        self._open: set[Batch] = set()
        self._running = False

    def attach(self, adapter: Adapter) -> None:
        """The link is up."""
        able: object = adapter  # isinstance of a Protocol is slow, hence once
        self._adapter = adapter
        self._splits = able if isinstance(able, Splits) else None
        self._confirms = able if isinstance(able, Confirms) else None
        self._fold = spelling(adapter)

    def detach(self, error: LinkError) -> None:
        """The link is gone: every batch that is not confirmed fails, to be said again."""
        self._adapter = None
        self._turns.clear()
        for batch in list(self._open):
            batch.fail(error)

    async def say(self, room: str, lines: Sequence[tuple[str, Kind]]) -> list[str]:
        """Say lines in a room → for each '' once it is known to be taken, or why it was not.

        Raises LinkError when the link goes first; then they may have been said, or not.
        """
        adapter = self._adapter
        if adapter is None:
            raise LinkError("not connected")
        reasons = [""] * len(lines)
        pieces = self._cut(room, lines, reasons)
        if not pieces:
            return reasons
        outcome: asyncio.Future[list[str]] = asyncio.get_running_loop().create_future()
        batch = Batch(room, pieces, reasons, outcome)
        self._open.add(batch)
        self._turns.append(batch)
        if not self._running:
            self._running = True
            self._tasks.create_task(self._pump(adapter), name="sender")
        try:
            return await outcome
        finally:
            self._open.discard(batch)

    def _cut(
        self, room: str, lines: Sequence[tuple[str, Kind]], reasons: list[str]
    ) -> list[tuple[str, Kind, int]]:
        if self._splits is None:
            return [(text, kind, number) for number, (text, kind) in enumerate(lines)]
        pieces: list[tuple[str, Kind, int]] = []
        for number, (text, kind) in enumerate(lines):
            try:
                with guarded("split", one=True):
                    cut = self._splits.split(room, text, kind)
                    pieces += [(piece, kind, number) for piece in cut]
            except Refused as error:
                reasons[number] = str(error)
        return pieces

    async def _pump(self, adapter: Adapter) -> None:
        flushed: list[Batch] = []
        pieces = 0
        most = FLUSH_LIMITED if self._budget.limited else FLUSH
        try:
            while self._adapter is adapter and (self._turns or flushed):
                if self._turns:
                    batch = self._turns.popleft()
                    pieces += await self._send(adapter, batch)
                    if batch.sent < len(batch.pieces) and not batch.outcome.done():
                        self._turns.append(batch)
                    else:
                        flushed.append(batch)
                if flushed and (pieces >= most or not self._turns):
                    await self._barrier(flushed)
                    flushed, pieces = [], 0
        except LinkError as error:
            self._fail(adapter, flushed, error)
        finally:
            # No await since the last look at `_turns`: a `say` sees a pump that runs, or none.
            self._running = False
            if self._turns and self._adapter:
                self._running = True
                self._tasks.create_task(self._pump(self._adapter), name="sender")

    def _fail(self, adapter: object, flushed: Sequence[Batch], error: LinkError) -> None:
        for batch in flushed:
            batch.fail(error)
        if self._adapter is adapter:
            self._broken(error)

    async def _permission(self, adapter: Adapter) -> None:
        """Wait while the lease does not cover us: another runtime may hold the rooms by now."""
        while not self._may_speak():
            if self._adapter is not adapter:
                break
            await asyncio.sleep(PAUSE)
        if self._adapter is not adapter:
            raise LinkError("the link went away")

    async def _send(self, adapter: Adapter, batch: Batch) -> int:
        """One piece where there is a limit, so that rooms take turns; else the whole batch."""
        last = batch.sent + 1 if self._budget.limited else len(batch.pieces)
        before = batch.sent
        try:
            with guarded("say", one=True):
                for text, kind, _ in batch.pieces[before:last]:
                    if self._budget.limited:
                        await self._budget.take()
                    # Right before it goes: a process may be stopped for longer than its lease.
                    if self._adapter is not adapter or not self._may_speak():
                        await self._permission(adapter)
                    if batch.outcome.done():
                        break  # nobody waits for it any more
                    await adapter.say(batch.room, text, kind)
                    batch.sent += 1
        except Refused as error:  # this piece; the rest has its turn
            batch.refuse(batch.sent, str(error))
            batch.sent += 1
        except LinkError as error:
            batch.fail(error)
            raise
        return batch.sent - before

    async def _barrier(self, flushed: list[Batch]) -> None:
        if self._confirms is None:
            for batch in flushed:
                batch.settle()
            return
        await self._budget.take()
        # The next flush goes out while this one is being confirmed.
        self._tasks.create_task(self._confirm(self._confirms, flushed), name="confirm")
        await asyncio.sleep(0)

    async def _confirm(self, adapter: Confirms, flushed: Sequence[Batch]) -> None:
        try:
            with guarded("confirm"):
                async with asyncio.timeout(CONFIRM):
                    rejections = await adapter.confirm()
        except (LinkError, Refused) as error:
            self._fail(adapter, flushed, LinkError(str(error)))
            return
        for rejection in rejections:
            self._blame(flushed, rejection)
        for batch in flushed:
            batch.settle()

    def _blame(self, flushed: Sequence[Batch], rejection: Rejection) -> None:
        """A room has one batch at a time; it may be in the flush that is still going out."""
        room = self._fold(rejection.room)
        for batch in (*flushed, *self._open):
            if self._fold(batch.room) == room:
                batch.blame(rejection)
                return
