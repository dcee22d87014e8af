"""A whole runtime in this process: the real one, over a fake Redis and the Loopback service.

    async with stage(tmp_path) as s:
        await s.want("#ops")
        await s.state("#ops", "joined")
        s.service.say("#ops", "alice", "!ping")
        assert await s.heard(1) == ["<alice> !ping"]

Tests wait for a condition, looked at again whenever anything happened: a command reached Redis, a
room changed its state, somebody said something in the service.
"""

import asyncio
import itertools
import time
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import fakeredis
import msgspec

from instabot import wire
from instabot.adapters.base import Identity
from instabot.adapters.loopback import Loopback, Service
from instabot.broker import scripts
from instabot.broker.keys import ANSWERS, key
from instabot.broker.scripts import Item
from instabot.config import Settings
from instabot.errors import Unreachable
from instabot.model import (
    Answer,
    Control,
    Heard,
    Join,
    Live,
    Message,
    Network,
    Notice,
    Part,
    Room,
    Say,
    Sync,
)
from instabot.runtime.guard import Tasks
from instabot.runtime.ports import Pace
from instabot.runtime.service import Runtime

PATIENCE = 20.0
NET = "local/net"

QUICK = Pace(
    dial_timeout=5.0,
    join_timeout=0.2,
    first_delay=0.001,
    most_delay=0.01,
    rejoin_first=0.01,
    rejoin_most=0.05,
    keepalive=0.02,
    ping_timeout=0.1,
    history_timeout=0.5,
    goodbye=0.2,
)


class Tap:
    """The way to Redis: tells when something went through, and breaks on demand."""

    def __init__(self, client: Any, pulse: Callable[[], None]) -> None:
        self.away = False
        self.deaf: set[str] = set()
        """Scripts that are carried out, but whose answer is lost; by the start of their name."""
        self.calls: list[str] = []
        self._client = client
        self._pulse = pulse

    async def execute_command(self, *command: Any) -> Any:
        if self.away:
            await asyncio.sleep(0)
            raise Unreachable("Redis is away")
        answer = await self._client.execute_command(*command)
        await self._went(command)
        return answer

    async def execute_many(self, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        if self.away:
            await asyncio.sleep(0)
            raise Unreachable("Redis is away")
        pipe = self._client.pipeline(transaction=False)
        for command in commands:
            pipe.execute_command(*command)
        answers = list(await pipe.execute(raise_on_error=False))
        self._pulse()
        return answers

    async def _went(self, command: tuple[Any, ...]) -> None:
        name = _script(command)
        self.calls.append(name)
        self._pulse()
        if name in self.deaf:
            raise Unreachable("the answer was lost")


def _script(command: tuple[Any, ...]) -> str:
    if command[0] not in {"EVALSHA", "EVAL"}:
        return str(command[0])
    names = ("lease", "ingest", "fetch", "confirm", "ack", "dead", "groups", "live", "release")
    sums = {scripts._source(name)[1]: name for name in names}
    texts = {scripts._source(name)[0]: name for name in names}
    return sums.get(command[1]) or texts.get(command[1]) or "script"


class Stage:
    """One fake Redis, one Loopback service, one runtime at a time. One shard, number 0."""

    def __init__(self, folder: Path, pace: Pace, settings: dict[str, Any]) -> None:
        self.service = Service.named(f"s{uuid.uuid4().hex}")
        self.folder = folder
        self.pace = pace
        self.wishes: dict[str, Room] = {}
        self.network = Network(
            id=NET,
            tenant="local",
            name="net",
            url=f"loopback://bot@{self.service.name}",
            settings={"rate": "0"},
        )
        self._generation = 0
        self._numbers = itertools.count(1)
        self._settings = settings
        self._happened = asyncio.Event()
        server = fakeredis.FakeServer()
        self.redis = fakeredis.FakeAsyncRedis(server=server, protocol=2)
        self.taps = [
            Tap(fakeredis.FakeAsyncRedis(server=server, protocol=2), self.pulse)
            for _ in range(3)
        ]
        self.runtime: Runtime
        self.tasks: Tasks
        self.answers: list[Answer] = []

    @property
    def pipe(self) -> Tap:
        """What carries INGEST, FETCH and CONFIRM."""
        return self.taps[1]

    def pulse(self) -> None:
        self._happened.set()

    async def until(self, check: Callable[[], Any], what: str = "") -> Any:
        """The first true value of `check`, looked at whenever something happened."""
        try:
            async with asyncio.timeout(PATIENCE):
                while True:
                    self._happened.clear()
                    value = check()
                    if asyncio.iscoroutine(value):
                        value = await value
                    if value:
                        return value
                    await self._happened.wait()
        except TimeoutError:
            raise AssertionError(f"never happened: {what or check}\n{self.rows()}") from None

    # -- the runtime's life --------------------------------------------------------------

    @asynccontextmanager
    async def run(self, name: str = "rt", *, kill: bool = False) -> AsyncIterator[Runtime]:
        """A runtime from here on; in the end it stops, or is killed where it stands."""
        values = {
            "data": self.folder,
            "redis": "",
            "redis_server": "",
            "redis_memory": 0,
            "store": "",
            "key_file": self.folder / "key",
            "log": "text",
            "color": False,
            "prefix": "!",
            "plugins": None,
            "room_log": True,
            "retention": 3600.0,
            "spool": 1 << 20,
            "messages_cap": 10_000,
            "control_cap": 10_000,
            "lease_ttl": 60.0,
            "shards": 1,
            "id": name,
            "reload": False,
            **self._settings,
        }
        settings = Settings(**values)
        async with Tasks() as self.tasks:
            client, pipe, blocking = self.taps
            self.runtime = Runtime(settings, client, pipe, blocking, 1, self.tasks, self.pace)
            self._listen()
            await self.runtime.start()
            try:
                yield self.runtime
            finally:
                if not kill:
                    await self.runtime.stop()
                for task in list(self.tasks._tasks):
                    task.cancel()

    def _listen(self) -> None:
        board, change = self.runtime._board, self.runtime._board.state

        def state(*args: Any) -> None:
            change(*args)
            self.pulse()

        board.state = state  # type: ignore[method-assign, assignment]
        wake = self.service._wake

        def woken() -> None:
            wake()
            self.pulse()

        self.service._wake = woken  # type: ignore[method-assign]

    # -- what the backend does -----------------------------------------------------------

    async def want(self, *rooms: str, key: str = "", nudge: bool = True) -> None:
        """Rooms by their names; the id of `#ops` is `0.ops`."""
        for name in rooms:
            number = room_id(name)
            self.wishes[number] = Room(
                id=number, network=NET, tenant="local", name=name, key=key
            )
        await self.publish()
        if nudge:
            await self.control(*(Join(room=room_id(name)) for name in rooms))

    async def unwant(self, *rooms: str, nudge: bool = True) -> None:
        for name in rooms:
            del self.wishes[room_id(name)]
        await self.publish()
        if nudge:
            await self.control(*(Part(room=room_id(name)) for name in rooms))

    async def change(self, url: str = "", **settings: str) -> None:
        """Other settings of the network."""
        self.network = msgspec.structs.replace(
            self.network,
            url=url or self.network.url,
            settings={**self.network.settings, **settings},
        )
        await self.publish()
        await self.sync()

    async def sync(self) -> None:
        await self.control(Sync(network=NET))

    async def publish(self) -> None:
        """Write the desired state whole, as the backend does."""
        self._generation += 1
        hashes: dict[str, Any] = {"networks": {NET: self.network}, "rooms": self.wishes}
        for name, rows in hashes.items():
            await self.redis.delete(key(0, name))
            fields = {number: wire.encode(row) for number, row in rows.items()}
            await self.redis.hset(
                key(0, name), mapping={"generation": str(self._generation), **fields}
            )

    async def say(self, room: str, text: str, **more: Any) -> str:
        """A reply of the backend's → its id."""
        number = f"say-{next(self._numbers)}"
        await self.control(
            Say(id=number, room=room_id(room), text=text, at=time.time(), **more)
        )
        return number

    async def control(self, *controls: Control) -> None:
        items = [
            Item(
                getattr(control, "room", ""),
                "local",
                wire.encode(control),
                ref=f"c{next(self._numbers)}",
            )
            for control in controls
        ]
        answer = await scripts.ingest(self.redis, 0, items, time.time(), stream="control")
        assert set(answer) == {"A"}, answer

    # -- what tests see ------------------------------------------------------------------

    def rows(self) -> dict[str, str]:
        """Room id → state and reason, as the runtime has it."""
        board = self.runtime._board.rows
        return {room: f"{row.state} {row.reason}".strip() for room, row in board.items()}

    async def state(self, room: str, state: str) -> None:
        """Wait until a room is in a state, `lost cut` or `joined`."""
        await self.until(lambda: self.rows().get(room_id(room)) == state, f"{room} {state}")

    async def live(self) -> dict[str, Live]:
        """What consoles see."""
        rows: Any = await self.redis.hgetall(key(0, "live"))
        return {room.decode(): wire.decode_live(data) for room, data in rows.items()}

    async def messages(self) -> list[Message]:
        rows: Any = await self.redis.xrange(key(0, "messages"))
        return [wire.decode_message(fields[b"d"]) for _, fields in rows]

    async def said_to_backend(self, room: str = "") -> list[str]:
        """The transcript of the queue `messages`, the bot's own lines left out."""
        return [
            shown(message)
            for message in await self.messages()
            if (not room or getattr(message, "room", "") == room_id(room))
            and not (isinstance(message, Heard) and message.own)
        ]

    async def heard(self, count: int) -> list[str]:
        """Wait for so many lines of people in `messages` → all of them."""

        async def enough() -> list[str] | None:
            lines = await self.said_to_backend()
            lines = [line for line in lines if line.startswith("<")]
            return lines if len(lines) >= count else None

        found: list[str] = await self.until(enough, f"{count} lines heard")
        return found

    async def dead(self, count: int) -> list[tuple[str, str]]:
        """Wait for so many dead letters → (text, why) of all."""

        async def enough() -> list[tuple[str, str]] | None:
            rows: Any = await self.redis.xrange(key(0, "dead"))
            letters = [
                (getattr(wire.decode_control(f[b"d"]), "text", ""), f[b"w"].decode())
                for _, f in rows
            ]
            return letters if len(letters) >= count else None

        found: list[tuple[str, str]] = await self.until(enough, f"{count} dead letters")
        return found

    async def settled(self) -> None:
        """Wait until nothing is left in `control`."""

        async def empty() -> bool:
            pending: Any = await self.redis.xpending(key(0, "control"), "runtime")
            groups: Any = await self.redis.xinfo_groups(key(0, "control"))
            last: Any = await self.redis.xrevrange(key(0, "control"), count=1)
            read = not last or groups[0]["last-delivered-id"] == last[0][0]
            return not pending["pending"] and read

        await self.until(empty, "control drained")

    def names(self) -> list[str]:
        """What tasks of the runtime run now, its standing loops left out."""
        loops = {"leases", "desired", "consumer", "board", "heartbeat", "strays"}
        return sorted(
            task.get_name() for task in self.tasks._tasks if task.get_name() not in loops
        )

    @asynccontextmanager
    async def answering(self) -> AsyncIterator[list[Answer]]:
        """The answers published meanwhile."""
        answers: list[Answer] = []
        pubsub = self.redis.pubsub()
        await pubsub.subscribe(ANSWERS)

        async def listen() -> None:
            async for message in pubsub.listen():
                if message["type"] == "message":
                    answers.append(wire.decode_answer(message["data"]))
                    self.pulse()

        async with asyncio.TaskGroup() as tasks:
            listening = tasks.create_task(listen())
            yield answers
            listening.cancel()
        await pubsub.aclose()  # type: ignore[no-untyped-call]


class Counted(Loopback):
    """Loopback that counts how often it is dialled."""

    dials = 0

    async def connect(self) -> Identity:
        type(self).dials += 1
        return await super().connect()


async def joined(s: Stage, *rooms: str) -> None:
    """Want rooms and wait until they are joined."""
    await s.want(*rooms)
    for room in rooms:
        await s.state(room, "joined")


def room_id(name: str) -> str:
    """`#ops` → `0.ops`."""
    return f"0.{name.lstrip('#')}"


def shown(message: Message) -> str:
    """A message in one line: `<alice> hi`, `late <alice> hi`, `* joined bot`, `* gap 3`."""
    if isinstance(message, Heard):
        return f"{'late ' if message.late else ''}<{message.sender}> {message.text}"
    if isinstance(message, Notice):
        return f"* {message.kind} {message.count or message.who}".strip()
    return type(message).__name__


@asynccontextmanager
async def stage(folder: Path, pace: Pace = QUICK, **settings: Any) -> AsyncIterator[Stage]:
    """A stage with a runtime on it that stops in the end."""
    made = Stage(folder, pace, settings)
    try:
        async with made.run():
            yield made
    except BaseExceptionGroup as errors:  # so that a failed assertion reads as one
        error: BaseException = errors
        while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
            error = error.exceptions[0]
        raise error from None
    finally:
        await aclose(made)


async def aclose(made: Stage) -> None:
    """Free what a stage holds."""
    await made.redis.aclose()
    for tap in made.taps:
        await tap._client.aclose()
