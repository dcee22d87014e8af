"""Talkers who ask numbered questions, and a witness who sits in every room and notes all."""

import asyncio
import random
import re
import time
from collections import Counter
from collections.abc import Sequence

from scripts.harness.checks import Move, Seen
from tests.chat import RawChat

LINE = re.compile(
    rb"(?m)^(?:@\S+ )?:([^!\s]+)\S* (PRIVMSG|JOIN|PART|QUIT|KICK) ?:?(\S*)(?: ([^\r\n]*))?\r?$"
)
ASK = re.compile(r"!ping (\d+)")
REPLY = re.compile(r"pong (\d+)")
TALKERS = 8


class Witness:
    """Notes questions, answers and the bot's coming and going, each with its time."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self.moves: list[Move] = []
        self.asked = 0
        self.answered = 0
        self.last = time.time()

    async def connect(self, port: int, rooms: Sequence[str]) -> RawChat:
        """Sit in all rooms. The connection is for whoever closes it."""
        chat = await RawChat.connect(port, "witness")
        await chat.enter(rooms)
        chat.heard = self.hear
        return chat

    def hear(self, chunk: bytes) -> None:
        """Read whole lines as they came from the server."""
        now = time.time()
        for source, command, target, rest in LINE.findall(chunk):
            nick = source.decode(errors="replace")
            room = target.decode(errors="replace")
            if command == b"PRIVMSG":
                self._say(now, nick, room, rest.decode(errors="replace").removeprefix(":"))
            else:
                self._move(now, nick, command.decode(), room, rest.decode(errors="replace"))

    def _say(self, now: float, nick: str, room: str, text: str) -> None:
        if nick.startswith("talker"):
            asked = ASK.fullmatch(text)
            if asked:
                self.asked += 1
                self.seen.append(Seen(now, room, "ask", int(asked[1])))
            return
        reply = REPLY.fullmatch(text)
        self.last = now
        if reply:
            self.answered += 1
            self.seen.append(Seen(now, room, "reply", int(reply[1])))
        else:
            self.seen.append(Seen(now, room, "other", text=f"<{nick}> {text}"))

    def _move(self, now: float, nick: str, kind: str, room: str, rest: str) -> None:
        who = rest.partition(" ")[0] if kind == "KICK" else nick
        if who.startswith(("talker", "witness")):
            return
        match kind:
            case "JOIN" | "PART" | "KICK":
                self.moves.append(Move(now, kind, room))
            case "QUIT":
                self.moves.append(Move(now, "QUIT"))


class Talkers:
    """Ask `!ping 1`, `!ping 2`, … in every room, at a bounded rate over all rooms.

    Two connections talk in each room, so that the order within a room is the server's choice.
    """

    def __init__(self, rooms: Sequence[str], rng: random.Random) -> None:
        self.asked: Counter[str] = Counter()
        self._rooms = rooms
        self._rng = rng
        self._chats: list[RawChat] = []

    async def connect(self, port: int) -> None:
        """Connect and join."""
        for number in range(TALKERS):
            chat = await RawChat.connect(port, f"talker{number}")
            mine = {number, (number - 1) % TALKERS}
            await chat.enter(room for i, room in enumerate(self._rooms) if i % TALKERS in mine)
            self._chats.append(chat)

    async def talk(self, messages: int, rate: float) -> None:
        """Ask so many questions, so many a second; late ones are asked at once."""
        start = time.perf_counter()
        for number in range(messages):
            await asyncio.sleep(max(0.0, start + number / rate - time.perf_counter()))
            place = self._rng.randrange(len(self._rooms))
            room = self._rooms[place]
            self.asked[room] += 1
            talker = self._chats[(place + self._rng.randrange(2)) % TALKERS]
            talker.send(f"PRIVMSG {room} :!ping {self.asked[room]}\r\n".encode())

    async def barrier(self) -> None:
        """Wait until the server has passed on all that was asked."""
        for chat in self._chats:
            await chat.barrier()

    def close(self) -> None:
        """Hang up."""
        for chat in self._chats:
            chat.close()
