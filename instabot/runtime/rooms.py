"""The map id → queue: one queue and one task for each room that has something to say.

A room's task takes its queue in order, waits until the room is joined, says, waits until the
service confirmed, and acknowledges. A room that hangs waits alone.
"""

import time
from collections.abc import Sequence

import structlog

from instabot import wire
from instabot.adapters.base import Kind
from instabot.broker.scripts import Dead, Entry, Said
from instabot.errors import LinkError, Malformed
from instabot.model import Answer, Heard, Say
from instabot.runtime.acks import Acks
from instabot.runtime.board import Board
from instabot.runtime.desired import Desired
from instabot.runtime.plain import encode, plain
from instabot.runtime.spot import Spot

log = structlog.get_logger()

PATIENCE = 15 * 60.0
"""Seconds that a Say without a deadline of its own waits for its room."""

Waiting = tuple[Entry, Say]


class Rooms:
    """Serves the lanes of `control`."""

    def __init__(self, desired: Desired, acks: Acks, board: Board, log_own: bool) -> None:
        self._desired = desired
        self._find = desired.find
        self._acks = acks
        self._board = board
        self._log_own = log_own

    async def serve(self, room: str, entries: Sequence[Entry]) -> None:
        """Say a batch of one room's entries; returns when each has come to its end."""
        waiting = [pair for entry in entries if (pair := self._read(entry))]
        try:
            await self._serve(room, waiting)
        except Exception as error:  # a mistake of ours: it costs these lines, not the room
            log.exception("room failed", room=room)
            self._bury(waiting, f"the runtime failed: {type(error).__name__}")

    async def _serve(self, room: str, waiting: list[Waiting]) -> None:
        while waiting:
            waiting = self._expire(room, waiting)
            spot = self._find(room) or await self._look_again(waiting)
            if spot is None:
                self._bury(waiting, "there is no such room, or it is not wanted any more")
                return
            if spot.state == "refused":
                self._bury(waiting, f"the room is refused: {spot.text or spot.reason}")
                return
            if not waiting:
                return
            if spot.state != "joined":
                await spot.changed(_until(waiting))
            elif await self._say(spot, waiting):
                return

    async def _look_again(self, waiting: Sequence[Waiting]) -> Spot | None:
        """The room may be so new that its nudge is still on the way."""
        if waiting:
            await self._desired.reread(waiting[0][0].shard)
        return self._find(waiting[0][1].room) if waiting else None

    async def _say(self, spot: Spot, waiting: Sequence[Waiting]) -> bool:
        """True when done; False when the link went away, and all of it is to be said again."""
        lines: list[tuple[str, Kind]] = [(say.text, say.kind) for _, say in waiting]
        try:
            reasons = await spot.link.sender.say(spot.room.name, lines)
        except LinkError:
            if spot.state == "joined":  # the link has yet to notice
                await spot.changed(1.0)
            return False
        if row := self._board.row(spot.room.id):
            row.said += reasons.count("")
        for (entry, say), reason in zip(waiting, reasons, strict=True):
            if reason:
                self._bury([(entry, say)], reason)
            else:
                self._acks.put(Said(entry, self._own(spot, say), _answer(say)))
        return True

    def _own(self, spot: Spot, say: Say) -> bytes:
        """The bot's own line, as the log will have it."""
        if not self._log_own:
            return b""
        return encode(
            Heard(
                id=f"own|{say.id}",
                room=spot.room.id,
                tenant=spot.room.tenant,
                sender=spot.link.me,
                text=say.text,
                at=time.time(),
                kind=say.kind,
                me=spot.link.me,
                own=True,
            )
        )

    def _read(self, entry: Entry) -> Waiting | None:
        if entry.data is None:
            self._acks.put(entry)  # trimmed away meanwhile: nothing is left to say
            return None
        try:
            say = wire.decode_control(entry.data)
        except Malformed as error:
            self._acks.put(Dead(entry, str(error)))
            return None
        if not isinstance(say, Say) or say.room != entry.room:
            self._acks.put(Dead(entry, f"not a Say for {entry.room}"))
            return None
        return entry, say

    def _expire(self, room: str, waiting: Sequence[Waiting]) -> list[Waiting]:
        now, left = time.time(), []
        for entry, say in waiting:
            if now < _deadline(say):
                left.append((entry, say))
                continue
            spot = self._find(room)
            state = f"{spot.state} {spot.reason}".strip() if spot else "unknown"
            self._bury([(entry, say)], f"not said in time: the room is {state}")
        return left

    def _bury(self, waiting: Sequence[Waiting], why: str) -> None:
        why = plain(why)
        for entry, say in waiting:
            self._acks.put(Dead(entry, why, _answer(say, why)))


def _deadline(say: Say) -> float:
    return say.deadline or say.at + PATIENCE


def _until(waiting: Sequence[Waiting]) -> float:
    first = min(_deadline(say) for _, say in waiting)
    return max(0.0, first - time.time())


def _answer(say: Say, why: str = "") -> bytes:
    if not say.request:
        return b""
    outcome: Answer = Answer(request=say.request, outcome="failed" if why else "done", text=why)
    return wire.encode(outcome)
