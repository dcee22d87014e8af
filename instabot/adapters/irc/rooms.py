"""Entering and leaving rooms."""

import asyncio
from collections.abc import Iterable, Sequence

from instabot.adapters.base import Happened, Report
from instabot.adapters.irc.lines import Line, one_line, well_formed
from instabot.adapters.irc.session import Session
from instabot.adapters.irc.table import hears
from instabot.errors import LinkError, Refused

PATIENCE = 15.0
"""Seconds without any answer before a join counts as refused, for now."""

BATCH = 20
"""Rooms in one JOIN where the server does not say how many it takes (TARGMAX)."""
MAX_BATCH = 100

# Numeric → (word of model.Reason, whether asking again is useless). 403 and 476 are about the
# name; 405, 437, 471, 477, 480 pass when somebody leaves, a timer ends, or we log in.
_REFUSALS: dict[str, tuple[str, bool]] = {
    "403": ("no-such-room", True),
    "405": ("too-many", False),
    "407": ("too-many", False),
    "437": ("throttled", False),
    "447": ("other", False),
    "471": ("full", False),
    "473": ("invite-only", True),
    "474": ("banned", True),
    "475": ("key", True),
    "476": ("no-such-room", True),
    "477": ("register-first", False),
    "479": ("no-such-room", True),
    "480": ("throttled", False),
    "489": ("tls", True),
    "500": ("throttled", False),
    "520": ("other", True),
}


class Batch:
    """Rooms asked for together: what is still open, and how the others ended."""

    def __init__(self, names: Iterable[tuple[str, str]]) -> None:
        self.open = dict(names)
        self.answers: dict[str, Refused | None] = {}
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.patience = asyncio.timeout(PATIENCE)

    def answer(self, folded: str, refused: Refused | None) -> None:
        """Note a room's answer; the others get their full patience anew."""
        name = self.open.pop(folded, None)
        if name is None:
            return
        self.answers[name] = refused
        if self.open and not self.patience.expired():
            self.patience.reschedule(asyncio.get_running_loop().time() + PATIENCE)
        if not self.open and not self.done.done():
            self.done.set_result(None)


class Rooms:
    """Which rooms we are in, and who waits to be. What is None holds nothing."""

    __slots__ = ("_forwards", "_joining", "_parting", "_report", "_session")

    def __init__(self, session: Session, report: Report) -> None:
        self._session = session
        self._report = report
        self._joining: dict[str, Batch] | None = None
        self._parting: dict[str, asyncio.Future[None]] | None = None
        self._forwards: set[str] | None = None

    @property
    def batch(self) -> int:
        """How many rooms `join_many` takes at once on this server."""
        return min(self._session.features.join_targets or BATCH, MAX_BATCH)

    # -- join ----------------------------------------------------------------------------

    async def join(self, rooms: Sequence[tuple[str, str]]) -> dict[str, Refused | None]:
        """Enter rooms (name, key); for each None, or why not. Raises LinkError."""
        answers: dict[str, Refused | None] = {}
        asked: dict[str, tuple[str, str]] = {}
        for name, key in rooms:
            wrong = self._wrong(name, key)
            folded = self._session.fold(name)
            if wrong or folded in self._session.inside:
                answers[name] = wrong
            else:
                asked.setdefault(folded, (name, key))
        if asked:
            answers.update(await self._ask(asked))
        # Two spellings of one room are one room, and share its answer.
        by_fold = {self._session.fold(name): answer for name, answer in answers.items()}
        return {name: answers.get(name, by_fold[self._session.fold(name)]) for name, _ in rooms}

    async def _ask(self, asked: dict[str, tuple[str, str]]) -> dict[str, Refused | None]:
        batch = Batch((folded, name) for folded, (name, _) in asked.items())
        self._joining = {**(self._joining or {}), **dict.fromkeys(asked, batch)}
        try:
            for line in join_lines(list(asked.values())):
                self._session.connection.send_raw(line)
            async with batch.patience:
                await batch.done
        except TimeoutError:
            silent = Refused("other", f"no answer to JOIN for {PATIENCE:.0f} s", final=False)
            batch.answers.update(dict.fromkeys(batch.open.values(), silent))
        finally:
            joining = self._joining or {}
            self._joining = {
                folded: other for folded, other in joining.items() if folded not in asked
            } or None
        return batch.answers

    def _wrong(self, name: str, key: str) -> Refused | None:
        features = self._session.features
        if not well_formed(name) or not features.is_channel(name):
            kinds = " or ".join(features.channel_types)
            return Refused(
                "no-such-room", f"{name!r} is no channel's name: it begins with {kinds}"
            )
        longest = features.number("CHANNELLEN") or 300
        if len(name.encode()) > longest:
            return Refused("no-such-room", f"a channel's name has at most {longest} bytes here")
        if key and not well_formed(key):
            return Refused("key", "the key holds a space, a comma or a control character")
        if len(key) > 100:
            return Refused("key", "the key is longer than any server allows")
        return None

    def _answer(self, name: str, refused: Refused | None) -> bool:
        folded = self._session.fold(name)
        batch = self._joining.pop(folded, None) if self._joining else None
        if batch is not None:
            batch.answer(folded, refused)
        return batch is not None

    @hears("join")
    def _join(self, line: Line) -> None:
        # "JOIN #a", with extended-join "JOIN #a account :real name"; some send "#a,#b".
        for name in line.param(0).split(","):
            me = line.nick == self._session.me
            if me and self._unwanted(name):
                return
            if me:
                self._session.learn_mask(line.source)
                self._session.entered(self._session.fold(name))
                self._answer(name, None)
            self._report(Happened(name, "joined", line.nick, at=line.at, me=me))

    def _unwanted(self, name: str) -> bool:
        folded = self._session.fold(name)
        if self._forwards is None or folded not in self._forwards:
            return False
        self._forwards.discard(folded)
        self._session.connection.send_raw(f"PART {name}")
        return True

    @hears("470")
    def _forwarded(self, line: Line) -> None:
        # 470 me #asked #instead :Forwarding to another channel
        instead = line.param(2)
        refused = Refused("other", f"{line.param(1)} forwards to {instead}: {line.text}")
        folded = self._session.fold(instead)
        wanted = folded in (self._joining or ()) or folded in self._session.inside
        if self._answer(line.param(1), refused) and not wanted:
            self._forwards = {*(self._forwards or ()), folded}

    @hears("4xx")
    def _refused(self, line: Line) -> None:
        if line.command in _REFUSALS:
            code, final = _REFUSALS[line.command]
            self._answer(line.param(1), Refused(code, line.text, final))

    @hears("fail")
    def _fail(self, line: Line) -> None:
        if line.param(0).upper() == "JOIN":
            for word in line.params[2:-1]:
                self._answer(word, Refused("other", line.text, final=False))

    # -- part ----------------------------------------------------------------------------

    async def part(self, name: str, reason: str) -> None:
        """Leave; returns when outside, or when the server keeps silent. Raises LinkError."""
        folded = self._session.fold(name)
        if not well_formed(name) or folded not in self._session.inside:
            return
        outside = asyncio.get_running_loop().create_future()
        parting = self._parting = self._parting or {}
        parting[folded] = outside
        reason = one_line(reason).encode()[:200].decode(errors="ignore")
        try:
            self._session.connection.send_raw(
                f"PART {name}" + (f" :{reason}" if reason else "")
            )
            async with asyncio.timeout(PATIENCE):
                await outside
        except TimeoutError:
            return
        finally:
            self._parted(folded)

    def _parted(self, folded: str) -> asyncio.Future[None] | None:
        outside = self._parting.pop(folded, None) if self._parting else None
        self._parting = self._parting or None
        return outside

    def _outside(self, name: str) -> None:
        folded = self._session.fold(name)
        self._session.left(folded)
        outside = self._parted(folded)
        if outside is not None and not outside.done():
            outside.set_result(None)

    @hears("notonchannel nosuchchannel")
    def _not_inside(self, line: Line) -> None:
        if self._session.fold(line.param(1)) in (self._parting or ()):
            self._outside(line.param(1))

    @hears("part")
    def _part(self, line: Line) -> None:
        for name in line.param(0).split(","):
            me = line.nick == self._session.me
            if me and self._session.fold(name) not in self._session.inside:
                continue  # a forward that we left again
            if me:
                self._outside(name)
            self._report(Happened(name, "left", line.nick, line.param(1), line.at, me))

    @hears("kick")
    def _kick(self, line: Line) -> None:
        name, who = line.param(0), line.param(1)
        me = who == self._session.me
        if me:
            self._outside(name)
        text = f"{line.nick}: {line.param(2)}"
        self._report(Happened(name, "kicked", who, text, line.at, me))

    # -- end -----------------------------------------------------------------------------

    def lost(self, error: LinkError) -> None:
        """The connection is gone: everybody who waits hears so."""
        waiting = [batch.done for batch in (self._joining or {}).values()]
        waiting += (self._parting or {}).values()
        for future in waiting:
            if not future.done():
                future.set_exception(error)
        self._joining = None
        self._session.inside = ()


def join_lines(rooms: Sequence[tuple[str, str]], longest: int = 510) -> list[str]:
    """The fewest JOIN lines for rooms and keys; keyed ones first, since keys go by position."""
    lines: list[str] = []
    names: list[str] = []
    keys: list[str] = []
    used = 0
    for name, key in sorted(rooms, key=lambda room: not room[1]):
        size = len(f"{name},".encode()) + (len(f"{key},".encode()) if key else 0)
        if names and len("JOIN  ") + used + size > longest:
            lines.append(_join_line(names, keys))
            names, keys, used = [], [], 0
        names.append(name)
        keys += [key] if key else []
        used += size
    return [*lines, _join_line(names, keys)] if names else lines


def _join_line(names: list[str], keys: list[str]) -> str:
    return " ".join(filter(None, ("JOIN", ",".join(names), ",".join(keys))))
