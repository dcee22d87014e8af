"""People in rooms, as many lines a second as the bot can answer.

A few IRC connections sit in all rooms together, each room with one talker. Only the bot's
`pong NUMBER` is read, by one regular expression over a whole chunk, so that this side costs a
few microseconds a command; `scripts/bench --only ceiling` prints how many it could do.
"""

import asyncio
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tests.chat import RawChat

PONG = re.compile(rb" PRIVMSG (#\S+) :pong (\d+)\r?\n")
CHATTER = "and then the build of last night was green again, nobody knows why ({})"


@dataclass
class Tally:
    """What one measurement saw. `wrong` counts answers out of order, repeated or unasked."""

    seconds: float = 0.0
    answered: int = 0
    wrong: int = 0
    latencies: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Answers a second."""
        return self.answered / self.seconds if self.seconds else 0.0


class Load:
    """The talkers of a set of rooms. One measurement at a time."""

    def __init__(self, port: int, rooms: Sequence[str], connections: int = 4) -> None:
        self.rooms = [room.encode() for room in rooms]
        self._port = port
        self._chats: list[RawChat] = []
        self._size = min(connections, len(rooms))
        self._asked = dict.fromkeys(self.rooms, 0)
        self._answered = dict.fromkeys(self.rooms, 0)
        self._tally = Tally()
        self._next: Callable[[bytes], bytes] | None = None
        self._sent: dict[tuple[bytes, int], float] = {}
        self._quiet = asyncio.Event()

    async def connect(self) -> None:
        """Connect the talkers and join their rooms."""
        for number in range(self._size):
            chat = await RawChat.connect(self._port, f"talker{number}")
            await chat.enter(room.decode() for room in self.rooms[number :: self._size])
            chat.heard = self._listener(chat)
            self._chats.append(chat)

    async def closed_loop(
        self, in_flight: int, seconds: float, warm_up: float = 1.0, chatter: int = 0
    ) -> Tally:
        """Keep `in_flight` commands under way: every answer brings the next question.

        With `chatter`, so many lines that are no command come before each question, and as
        rooms keep their order its answer says that all of them have been dealt with. Raises
        TimeoutError when the bot stops answering.
        """
        bursts = {room: self._burst(room, chatter) for room in self.rooms}

        def ask(room: bytes) -> bytes:
            self._asked[room] += 1
            return b"%b%d\r\n" % (bursts[room], self._asked[room])

        self._next = ask
        for number in range(in_flight):
            room = self.rooms[number % len(self.rooms)]
            self._chat_of(room).send(ask(room))
        self._quiet.clear()
        await self._run(warm_up)
        self._tally = Tally()
        start = time.perf_counter()
        await self._run(seconds)
        tally, self._next = self._tally, None
        tally.seconds = time.perf_counter() - start
        tally.answered = tally.answered  # frozen here: what drains below no longer counts
        self._tally = Tally()
        await self._drain()
        tally.wrong += self._tally.wrong
        return tally

    async def steady(self, rate: float, seconds: float) -> Tally:
        """Ask at a steady rate whatever the answers do; the tally holds every latency, in s."""
        self._tally = tally = Tally()
        start = time.perf_counter()
        for number in range(int(rate * seconds)):
            await asyncio.sleep(start + number / rate - time.perf_counter())
            room = self.rooms[number % len(self.rooms)]
            self._asked[room] += 1
            self._sent[room, self._asked[room]] = time.perf_counter()
            line = b"PRIVMSG %b :!ping %d\r\n" % (room, self._asked[room])
            self._chat_of(room).send(line)
        await self._drain()
        tally.seconds = time.perf_counter() - start
        return tally

    def close(self) -> None:
        """Hang up."""
        for chat in self._chats:
            chat.close()

    def _listener(self, chat: RawChat) -> Callable[[bytes], None]:
        def heard(chunk: bytes) -> None:
            answers = PONG.findall(chunk)
            if not answers:
                return
            out = []
            for room, digits in answers:
                self._answer(room, int(digits))
                if self._next is not None:
                    out.append(self._next(room))
            if out:
                chat.send(b"".join(out))
            elif self._next is None and self._answered == self._asked:
                self._quiet.set()

        return heard

    def _answer(self, room: bytes, number: int) -> None:
        expected = self._answered[room] + 1
        if number != expected:
            self._tally.wrong += 1
        self._answered[room] = max(number, expected - 1)
        self._tally.answered += 1
        if self._sent:
            sent = self._sent.pop((room, number), None)
            if sent is not None:
                self._tally.latencies.append(time.perf_counter() - sent)

    async def _run(self, seconds: float) -> None:
        before = self._tally.answered
        await asyncio.sleep(seconds)
        if self._tally.answered == before and seconds >= 1:
            raise TimeoutError(f"the bot answered nothing for {seconds:g} s")
        if any(chat.closed for chat in self._chats):
            raise ConnectionError("the IRC server closed a talker's connection")

    async def _drain(self, timeout: float = 60.0) -> None:
        if self._answered == self._asked:
            return
        self._quiet.clear()
        try:
            async with asyncio.timeout(timeout):
                await self._quiet.wait()
        except TimeoutError:
            missing = sum(self._asked.values()) - sum(self._answered.values())
            raise TimeoutError(f"{missing} questions were never answered") from None

    def _burst(self, room: bytes, chatter: int) -> bytes:
        said = (
            b"PRIVMSG %b :%b\r\n" % (room, CHATTER.format(n).encode()) for n in range(chatter)
        )
        return b"%bPRIVMSG %b :!ping " % (b"".join(said), room)

    def _chat_of(self, room: bytes) -> RawChat:
        return self._chats[self.rooms.index(room) % self._size]
