"""Chat without a network: an adapter and its service in one process.

For tests and `instabot shell`. A `Service` has rooms in which test users speak, hears what bots
say, and goes wrong in every way that a real one does, on demand:

    service = Service.named("acme")
    bot = Loopback(Account("local/acme", "loopback://bot@acme"), report)
    await bot.connect(); await bot.join("#ops")
    service.say("#ops", "alice", "!ping 1")
    await service.heard("pong 1")
"""

import asyncio
import itertools
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar
from urllib.parse import urlsplit
from weakref import WeakValueDictionary

from instabot.adapters.base import (
    Account,
    Happened,
    Identity,
    Kind,
    Lost,
    Rejection,
    Report,
    Said,
)
from instabot.errors import LinkError, Refused

_BREAKS = re.compile(r"[\r\n]+")
_SURROGATE = re.compile(r"[\ud800-\udfff]")
LONGEST = 400
"""Characters of a piece, so that tests see splitting without a page of text."""


@dataclass
class Faults:
    """What goes wrong, until it is taken back. Rooms are given as `fold` spells them.

    `login` and `joins` are raised; `reject` gives the reason for refusing a piece, '' to take
    it; while `held` is set, nothing is confirmed and no ping is answered; `room_limit` is what
    connect() tells; without `history` there is none.
    """

    login: Exception | None = None
    joins: dict[str, Exception] = field(default_factory=dict)
    reject: Callable[[str, str], str] = lambda room, text: ""
    held: bool = False
    history: bool = True
    room_limit: int | None = None


@dataclass
class LoopbackRoom:
    """One room: its people, its bots, all that was said, the bots' lines included."""

    name: str
    key: str = ""
    topic: str = ""
    bots: set["Loopback"] = field(default_factory=set)
    lines: list[Said] = field(default_factory=list)


class Service:
    """One chat service. Lives as long as somebody holds it; use it on one event loop."""

    _named: ClassVar[WeakValueDictionary[str, "Service"]] = WeakValueDictionary()

    def __init__(self, name: str = "") -> None:
        self.name = name
        self.rooms: dict[str, LoopbackRoom] = {}
        self.faults = Faults()
        self.bots: list[Loopback] = []
        self._count = itertools.count(1)
        self._changed = asyncio.Event()

    @classmethod
    def named(cls, name: str) -> "Service":
        """The service behind `loopback://…@name`, made when nobody has it yet."""
        name = name.lower()  # as URLs spell hosts
        service = cls._named.get(name)
        if service is None:
            service = cls._named[name] = cls(name)
        return service

    # -- what test users do --------------------------------------------------------------

    def say(
        self, room: str, sender: str, text: str, kind: Kind = "say", account: str = ""
    ) -> Said:
        """Somebody says a line; every bot in the room hears it before this returns."""
        place = self.room(room)
        ref = f"m{next(self._count)}"
        said = Said(place.name, sender, text, time.time(), kind, account, ref)
        place.lines.append(said)
        for bot in list(place.bots):
            if bot.nick != sender:
                bot.report(said)
        self._wake()
        return said

    def enter(self, room: str, who: str) -> None:
        """Somebody joins."""
        self._happened(room, Happened(self.room(room).name, "joined", who, at=time.time()))

    def leave(self, room: str, who: str, reason: str = "") -> None:
        """Somebody leaves."""
        self._happened(room, Happened(self.room(room).name, "left", who, reason, time.time()))

    def set_topic(self, room: str, who: str, topic: str) -> None:
        """Somebody changes the topic."""
        place = self.room(room)
        place.topic = topic
        self._happened(room, Happened(place.name, "topic", who, topic, time.time()))

    def kick(self, room: str, nick: str, reason: str = "") -> None:
        """A bot is thrown out of a room."""
        place = self.room(room)
        for bot in [bot for bot in place.bots if bot.nick == nick]:
            place.bots.discard(bot)
            bot.report(Happened(place.name, "kicked", nick, reason, time.time(), me=True))
        self._wake()

    def cut(self, reason: str = "cut", delay: float = 0.0) -> None:
        """All connections break."""
        for bot in list(self.bots):
            bot.drop(reason, delay)

    def release(self) -> None:
        """End `faults.held`."""
        self.faults.held = False
        self._wake()

    # -- what tests ask ------------------------------------------------------------------

    def room(self, name: str) -> LoopbackRoom:
        """A room, made when it is new."""
        return self.rooms.setdefault(fold(name), LoopbackRoom(name))

    def lines(self, room: str) -> list[str]:
        """A room's transcript: `<alice> hi`, `* bot waves`, `-bot- psst`."""
        return [shown(said) for said in self.room(room).lines]

    async def heard(self, text: str, room: str = "", timeout: float = 5.0) -> Said:
        """Wait until a line that holds `text` was said, now or before. Raises TimeoutError."""
        async with asyncio.timeout(timeout):
            while True:
                rooms = [self.room(room)] if room else list(self.rooms.values())
                for said in itertools.chain.from_iterable(place.lines for place in rooms):
                    if text in said.text:
                        return said
                await self.changed()

    async def joined(self, room: str, timeout: float = 5.0) -> None:
        """Wait until a bot is in a room. Raises TimeoutError."""
        async with asyncio.timeout(timeout):
            while not self.room(room).bots:
                await self.changed()

    async def changed(self) -> None:
        """Wait until anything happens."""
        self._changed.clear()
        await self._changed.wait()

    def _happened(self, room: str, happened: Happened) -> None:
        for bot in list(self.room(room).bots):
            bot.report(happened)
        self._wake()

    def _wake(self) -> None:
        self._changed.set()

    # -- what bots do --------------------------------------------------------------------

    def admit(self, bot: "Loopback", room: str, key: str) -> None:
        """Let a bot into a room. Raises Refused."""
        if not room.strip() or any(character in room for character in " ,\r\n\0"):
            raise Refused("no-such-room", f"{room!r} is no room's name")
        error = self.faults.joins.get(fold(room))
        if error is not None:
            raise error
        place = self.room(room)
        if place.key and place.key != key:
            raise Refused("key", f"{place.name} needs another key")
        place.bots.add(bot)
        self._wake()

    def told(self, bot: "Loopback", room: str, text: str, kind: Kind) -> str:
        """Take a line from a bot; why it is refused, or ''."""
        place = self.rooms.get(fold(room))
        if place is None or bot not in place.bots:
            return "not in the room"
        reason = self.faults.reject(place.name, text)
        if not reason:
            self.say(place.name, bot.nick, text, kind)
        return reason

    async def flowing(self, bot: "Loopback") -> None:
        """Wait while `faults.held`. Raises LinkError when the bot's link breaks meanwhile."""
        while self.faults.held and bot.connected:
            await self.changed()
        bot.check()

    def forget(self, bot: "Loopback") -> None:
        """A bot is gone."""
        for place in self.rooms.values():
            place.bots.discard(bot)
        if bot in self.bots:
            self.bots.remove(bot)
        self._wake()


class Loopback:
    """The adapter, with every ability. The URL is `loopback://NICK@SERVICE`."""

    join_batch = 50

    def __init__(self, account: Account, report: Report) -> None:
        url = urlsplit(account.url)
        self.nick = account.settings.get("nick") or url.username or "instabot"
        if account.spare:
            self.nick += str(account.spare + 1)
        self.service = Service.named(url.hostname or "loopback")
        self.connected = False
        self.remembers = self.service.faults.history
        self._report = report
        self._unconfirmed: list[Rejection] = []

    async def connect(self) -> Identity:
        """Log in, unless the service's faults say otherwise."""
        if self.service.faults.login is not None:
            raise self.service.faults.login
        self.connected = True
        self.remembers = self.service.faults.history
        self.service.bots.append(self)
        return Identity(self.nick, self.service.faults.room_limit)

    async def join(self, room: str, key: str = "") -> None:
        """Enter a room."""
        self.check()
        self.service.admit(self, room, key)

    async def join_many(
        self, rooms: Sequence[tuple[str, str]]
    ) -> Mapping[str, Exception | None]:
        """Enter rooms."""
        answers: dict[str, Exception | None] = {}
        for room, key in rooms:
            try:
                await self.join(room, key)
                answers[room] = None
            except Refused as error:
                answers[room] = error
        return answers

    async def say(self, room: str, text: str, kind: Kind = "say") -> None:
        """Say a piece; a refusal comes with confirm()."""
        self.check()
        for piece in self.split(room, text, kind):
            reason = self.service.told(self, room, piece, kind)
            if reason:
                self._unconfirmed.append(Rejection(room, reason, piece))

    async def part(self, room: str, reason: str = "") -> None:
        """Leave a room."""
        self.check()
        place = self.service.rooms.get(fold(room))
        if place is not None:
            place.bots.discard(self)

    async def close(self, reason: str = "") -> None:
        """Hang up."""
        self.connected = False
        self.service.forget(self)

    def split(self, room: str, text: str, kind: Kind = "say") -> Sequence[str]:
        """Lines of at most LONGEST characters."""
        clean = _SURROGATE.sub("\ufffd", text.replace("\0", "").replace("\x01", ""))
        return [
            line[start : start + LONGEST]
            for line in _BREAKS.split(clean)
            for start in range(0, len(line), LONGEST)
        ]

    async def confirm(self) -> Sequence[Rejection]:
        """What was refused since the last time."""
        self.check()
        rejected, self._unconfirmed = self._unconfirmed, []
        await self.service.flowing(self)
        return rejected

    def fold(self, name: str) -> str:
        """Room names differ by more than their case."""
        return fold(name)

    async def history(self, room: str, since: float, ref: str = "") -> Sequence[Said] | None:
        """What others said after a moment and a message."""
        self.check()
        if not self.service.faults.history:
            return None
        lines = self.service.room(room).lines
        index = next((at for at, said in enumerate(lines) if ref and said.ref == ref), -1)
        later = lines[index + 1 :]
        return [said for said in later if said.at >= since and said.sender != self.nick]

    async def ping(self) -> None:
        """Ask whether the service is there."""
        self.check()
        await self.service.flowing(self)

    def check(self) -> None:
        """Raises LinkError when the link is gone."""
        if not self.connected:
            raise LinkError("the connection is closed")

    def report(self, event: Said | Happened | Lost) -> None:
        """Tell the link, as a connection would."""
        if self.connected:
            self._report(event)

    def drop(self, reason: str, delay: float) -> None:
        """The link breaks: reported once."""
        self.report(Lost(reason, delay))
        self.connected = False
        self.service.forget(self)


def fold(name: str) -> str:
    """The one spelling of a room's name."""
    return name.casefold()


def shown(said: Said) -> str:
    """A line as a chat window shows it."""
    marks = {"say": "<{}> {}", "action": "* {} {}", "notice": "-{}- {}"}
    return marks[said.kind].format(said.sender, said.text)
