"""Which of the lines we said did the server take?

After what was said goes a `PING :ib-n`: a server answers in order, so its PONG says that all
before it was dealt with. Where the server echoes what we said (echo-message), a line without an
echo by then was dropped; labels (labeled-response) tell echoes of equal lines apart and errors
of one room from each other. https://ircv3.net/specs/extensions/labeled-response
"""

import asyncio
from collections import deque
from collections.abc import Sequence

from instabot.adapters.base import Kind, Rejection
from instabot.adapters.irc.lines import Line
from instabot.adapters.irc.session import Session
from instabot.adapters.irc.table import hears
from instabot.errors import LinkError

PATIENCE = 120.0
"""Seconds for the PONG: servers hold back what comes too fast, and the PING behind it."""
KEPT = 10_000
"""Pieces remembered while nobody asks for a confirmation."""
DROPPED = "the server dropped it without a word"
_MARK = "ib-"


class Batch:
    """What was said between two barriers, and what the server said to it, by folded room."""

    __slots__ = ("done", "errors", "labels", "pieces")

    def __init__(self) -> None:
        self.pieces: deque[Piece] = deque(maxlen=KEPT)
        self.labels: list[str] = []
        self.errors: dict[str, list[str]] = {}
        self.done: asyncio.Future[list[Rejection]] | None = None


class Piece:
    """One line of ours on its way."""

    __slots__ = ("batch", "echoed", "error", "folded", "kind", "room", "text")

    def __init__(self, batch: Batch, room: str, folded: str, text: str, kind: Kind) -> None:
        self.batch = batch
        self.room = room
        self.folded = folded
        self.text = text
        self.kind = kind
        self.echoed = False
        self.error = ""


class Confirmer:
    """The batch being said, and those whose barrier is on its way, oldest first.

    While nothing is being said there is nothing: thousands of idle links have one each.
    """

    __slots__ = ("_count", "_labels", "_lost", "_open", "_rooms", "_session", "_waiting")

    def __init__(self, session: Session) -> None:
        self._session = session
        self._open: Batch | None = None
        self._waiting: tuple[tuple[str, Batch], ...] = ()
        self._labels: dict[str, Piece] | None = None
        self._rooms: dict[str, deque[Piece]] | None = None
        self._count = 0
        self._lost: LinkError | None = None

    # -- saying --------------------------------------------------------------------------

    def expect(self, room: str, text: str, kind: Kind) -> str:
        """Remember a piece that is about to be sent; returns what to put before its line."""
        folded = self._session.fold(room)
        batch = self._open
        if batch is None:
            batch = self._open = Batch()
        rooms = self._rooms
        if rooms is None:
            rooms = self._rooms = {}
        piece = Piece(batch, room, folded, text, kind)
        batch.pieces.append(piece)
        pieces = rooms.get(folded)
        if pieces is None:
            pieces = rooms[folded] = deque(maxlen=KEPT)
        pieces.append(piece)
        caps = self._session.caps
        if "echo-message" not in caps or "labeled-response" not in caps:
            return ""
        self._count += 1
        label = f"ib{self._count}"
        if len(batch.labels) < KEPT:
            labels = self._labels = self._labels or {}
            labels[label] = piece
            batch.labels.append(label)
        return f"@label={label} "

    async def barrier(self, patience: float = PATIENCE) -> Sequence[Rejection]:
        """Send a PING and wait for its PONG; what was refused since the barrier before.

        Several may be under way. Raises LinkError.
        """
        if self._lost is not None:
            raise self._lost
        batch, self._open = self._open or Batch(), None
        return await self._wait(batch, patience)

    async def ping(self, patience: float) -> None:
        """Wait for a PONG, and leave what was said to the next barrier. Raises LinkError."""
        await self._wait(Batch(), patience)

    async def _wait(self, batch: Batch, patience: float) -> Sequence[Rejection]:
        self._count += 1
        mark = f"{_MARK}{self._count}"
        self._session.connection.send_raw(f"PING :{mark}")
        batch.done = asyncio.get_running_loop().create_future()
        self._waiting = (*self._waiting, (mark, batch))
        try:
            async with asyncio.timeout(patience):
                return await batch.done
        except TimeoutError:
            raise LinkError(f"the server did not answer for {patience:.0f} s") from None

    def lost(self, error: LinkError) -> None:
        """The connection is gone: nobody will ever know."""
        self._lost = error
        for _, batch in self._waiting:
            if batch.done is not None and not batch.done.done():
                batch.done.set_exception(error)
        self._waiting = ()
        self._labels = self._rooms = None

    # -- hearing what became of it -------------------------------------------------------

    def echo(self, room: str, text: str, kind: Kind, label: str = "") -> None:
        """A line of ours came back: the server took it."""
        piece = self._by_label(label) or self._oldest(room, text, kind)
        if piece is not None:
            piece.echoed = True

    def _by_label(self, label: str) -> Piece | None:
        return self._labels.pop(label, None) if self._labels else None

    def _unanswered(self, folded: str) -> deque[Piece] | None:
        pieces = self._rooms.get(folded) if self._rooms else None
        while pieces and (pieces[0].echoed or pieces[0].error):
            pieces.popleft()
        return pieces

    def _oldest(self, room: str, text: str, kind: Kind) -> Piece | None:
        # Filters may change a text on its way (+S strips colours): then the room's oldest.
        pieces = self._unanswered(self._session.fold(room))
        if not pieces:
            return None
        if pieces[0].text == text and pieces[0].kind == kind:
            return pieces.popleft()
        due = [piece for piece in pieces if not piece.echoed and piece.kind == kind]
        return next((piece for piece in due if piece.text == text), due[0] if due else None)

    @hears("4xx")
    def _error(self, line: Line) -> None:
        if not self._labelled(line):
            self._room_error(line.param(1), line.text)

    @hears("fail")
    def _fail(self, line: Line) -> None:
        # https://ircv3.net/specs/extensions/standard-replies: FAIL command code context… :text
        if not self._labelled(line) and line.param(0).upper() in {"PRIVMSG", "NOTICE"}:
            for word in line.params[2:-1]:
                self._room_error(word, line.text)

    def _labelled(self, line: Line) -> bool:
        piece = self._by_label(line.tags.get("label", ""))
        if piece is not None:
            piece.error = line.text or line.command
        return piece is not None

    def _room_error(self, target: str, text: str) -> None:
        # Errors come in the order of the lines, so it is about the oldest batch of the room.
        # Where nothing is echoed, it takes the place of one piece, nobody knows which.
        folded = self._session.fold(target)
        pieces = self._unanswered(folded)
        if pieces:
            piece = pieces[0] if self._echoes else pieces.popleft()
            piece.batch.errors.setdefault(folded, []).append(text)

    @property
    def _echoes(self) -> bool:
        return "echo-message" in self._session.caps

    # -- the barrier's end ---------------------------------------------------------------

    @hears("pong")
    def _pong(self, line: Line) -> None:
        mark = next((word for word in line.params if word.startswith(_MARK)), "")
        if all(mark != waiting for waiting, _ in self._waiting):
            return
        while self._waiting:
            (passed, batch), *rest = self._waiting
            self._waiting = tuple(rest)
            self._settle(batch)
            if passed == mark:
                return

    def _settle(self, batch: Batch) -> None:
        rejected = self._refused(batch) if self._echoes else _counted(batch)
        for label in batch.labels:
            self._by_label(label)
        rooms = self._rooms or {}
        for piece in batch.pieces:
            pieces = rooms.get(piece.folded)
            while pieces and pieces[0].batch is batch:
                pieces.popleft()
            if not pieces:
                rooms.pop(piece.folded, None)
        # An emptied dict keeps its memory.
        self._labels, self._rooms = self._labels or None, self._rooms or None
        if batch.done is not None and not batch.done.done():
            batch.done.set_result(rejected)

    def _refused(self, batch: Batch) -> list[Rejection]:
        rejected = []
        for piece in batch.pieces:
            if not piece.echoed:
                errors = batch.errors.get(piece.folded)
                reason = piece.error or (errors.pop(0) if errors else DROPPED)
                rejected.append(Rejection(piece.room, reason, piece.text))
        return rejected


def _counted(batch: Batch) -> list[Rejection]:
    # As many errors as pieces: each has its own. Fewer: which piece it was, nobody can tell.
    rejected = []
    for folded, errors in batch.errors.items():
        pieces = [piece for piece in batch.pieces if piece.folded == folded]
        known = len(pieces) == len(errors)
        for index, reason in enumerate(errors):
            piece = pieces[min(index, len(pieces) - 1)]
            rejected.append(Rejection(piece.room, reason, piece.text if known else ""))
    return rejected
