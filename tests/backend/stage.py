"""A whole backend in this process, over a real Redis and a SQLite store; no runtime.

    async with stage(redis_server, tmp_path) as s:
        await s.want("#ops")
        async with s.backend(plugin):
            await s.hear("#ops", "!ping")
            assert await s.said("#ops", 1) == ["pong"]

What is said is read off the stream `control`, where a runtime would take it.
"""

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from instabot import config, wire
from instabot.backend.guard import Stopped
from instabot.backend.loader import Loader
from instabot.backend.router import Router
from instabot.backend.service import Backend, _pipes
from instabot.broker import scripts
from instabot.broker.desk import Desk
from instabot.broker.keys import key
from instabot.broker.pipe import Pipe
from instabot.broker.scripts import Entry, Item
from instabot.commands import Plugin
from instabot.errors import Unreachable
from instabot.model import (
    Answer,
    Control,
    Heard,
    Message,
    Network,
    Request,
    Room,
    Say,
    network_id,
    room_shard,
    shard_of,
)
from instabot.plugins.again import plugin as again
from instabot.plugins.more import plugin as more
from instabot.plugins.ping import plugin as ping
from instabot.plugins.status import plugin as status
from instabot.store.rooms import Wish
from instabot.store.store import Store
from tests.servers import RedisServer
from tests.servers.process import until

OURS = (again, more, ping, status)
URL = "loopback://bot@net"


class Away:
    """Takes a store away, and gives it back."""

    def __init__(self, store: Store) -> None:
        self._database = store.database
        self._whole = (self._database.read, self._database.write)
        self.asked = asyncio.Event()
        """Set when somebody asked in vain."""

    @contextlib.asynccontextmanager
    async def _nobody(self) -> AsyncIterator[Any]:
        self.asked.set()
        raise Unreachable("the store is away")
        yield

    def go(self) -> None:
        self._database.read = self._database.write = self._nobody  # type: ignore[method-assign]

    def come(self) -> None:
        self._database.read, self._database.write = self._whole  # type: ignore[method-assign]


class Running:
    """A running backend with its store. `crash` leaves it at the block's end without a word."""

    def __init__(self, backend: Backend, store: Store) -> None:
        self.backend = backend
        self.store = store
        self.away = Away(store)
        self.crashes = False
        self.evaluator = backend._evaluator
        self.places = backend._places
        self.leases = backend._leases

    def crash(self) -> None:
        self.crashes = True

    async def handle(self, request: Request, shard: int = 0) -> Answer:
        """Carry a request out as if it had just been fetched, and nothing else with it."""
        entry = Entry(shard, b"1-1", "", request.tenant, wire.encode(request))
        router: Router = self.evaluator.router
        done = await self.evaluator._requests.handle(entry, request, router)
        return wire.decode_answer(done.answers[0])

    async def handle_timer(self, request: Request) -> list[tuple[str, str, bytes]]:
        """A timer's turn → its replies on shard 0."""
        entry = Entry(0, b"1-1", "", request.tenant, wire.encode(request))
        timers = self.evaluator._requests._timers
        return await timers.run(entry, request, self.evaluator.router)


class Stage:
    """One Redis with `shards` shards and one store's file; backends come and go."""

    def __init__(self, server: RedisServer, folder: Path, shards: int) -> None:
        self.server = server
        self.shards = shards
        self.rooms: dict[str, str] = {}
        self.folder = folder
        flags = {
            "data": str(folder / "data"),
            "redis": server.unix_url,
            "store": f"sqlite:///{folder / 'store.db'}",
            "shards": str(shards),
        }
        self.settings = config.load(flags, env={})
        config.make_data(self.settings.data)
        self.client = Pipe(server.unix_url, "test")
        self._counter = itertools.count(1)

    async def raw(self, *command: Any) -> Any:
        """One Redis command."""
        return await self.client.execute_command(*command)

    async def want(self, *names: str, net: str = "net", **settings: str) -> None:
        """Rooms of a network, in the store before any backend starts."""
        network = Network(
            id=network_id("local", net), tenant="local", name=net, url=URL, settings=settings
        )
        shard = shard_of(network.id, self.shards)
        async with await Store.open(self.settings.store) as store:
            await store.rooms.put_network(network, shard)
            wishes: list[Wish] = [(name, name, "", {}) for name in names]
            found = await store.rooms.add_rooms(network, shard, wishes)
        self.rooms |= {name: room.id for name, room in found.items()}

    @asynccontextmanager
    async def backend(
        self, *plugins: Plugin, id: str = "b", **changes: Any
    ) -> AsyncIterator[Running]:
        """A backend that has taken its shards, for the length of the block."""
        settings = msgspec.structs.replace(self.settings, id=id, **changes)
        client, pipe, *blocking = pipes = _pipes(settings)
        store = await Store.open(settings.store)
        loader = Loader(points=[])
        loader.plugins = (*OURS, *plugins)
        stop = asyncio.Event()
        backend = None
        try:
            async with asyncio.TaskGroup() as tasks:
                backend = Backend(
                    settings, client, pipe, blocking, self.shards, store, loader, tasks
                )
                run = Running(backend, store)
                await backend._start(stop)
                yield run
                if not run.crashes:
                    stop.set()
                    await backend._stop()
                raise Stopped
        except* Stopped:
            pass
        finally:
            if backend:
                backend.watchdog.stop()
            await store.close()
            for each in pipes:
                await each.aclose()

    # -- what a runtime does -----------------------------------------------------------------

    def line(self, room: str, text: str, **facts: Any) -> Heard:
        """A line said in a room, by its name."""
        number = f"local/net|{self.rooms.get(room, room)}|1:{next(self._counter)}"
        given: dict[str, Any] = {
            "id": number,
            "sender": "alice",
            "at": time.time(),
            "me": "bot",
        }
        return Heard(room=self.rooms.get(room, room), text=text, **{**given, **facts})

    async def hear(self, room: str, *texts: str, **facts: Any) -> None:
        """Lines arrive."""
        await self.put(*(self.line(room, text, **facts) for text in texts))

    async def put(self, *messages: Message) -> None:
        """Messages arrive, all at once."""
        rooms = [getattr(message, "room", "") for message in messages]
        await self.queue(*zip(rooms, map(wire.encode, messages), strict=True))

    async def queue(self, *rows: tuple[str, bytes], shard: int | None = None) -> None:
        """Bytes arrive, for a room id each."""
        for to in sorted({room_shard(room) if shard is None else shard for room, _ in rows}):
            items = [
                Item(room, "local", data, ref=f"test:{next(self._counter)}")
                for room, data in rows
                if shard is not None or room_shard(room) == to
            ]
            assert set(await scripts.ingest(self.client, to, items, time.time())) == {"A"}

    # -- what comes of it --------------------------------------------------------------------

    async def control(self) -> list[Control]:
        """All that was queued for the runtime so far."""
        found = []
        for shard in range(self.shards):
            rows = await self.raw("XRANGE", key(shard, "control"), "-", "+")
            found += [wire.decode_control(fields[5]) for _, fields in rows]
        return found

    async def says(self, room: str) -> list[Say]:
        """All Says for a room so far, in order."""
        number = self.rooms[room]
        return [s for s in await self.control() if isinstance(s, Say) and s.room == number]

    async def said(self, room: str, count: int, timeout: float = 15.0) -> list[str]:
        """What was said in a room, once it is so many lines."""

        async def enough() -> bool:
            return len(await self.says(room)) >= count

        try:
            await until(enough, f"{count} lines said in {room}", timeout)
        except TimeoutError as error:
            texts = [say.text for say in await self.says(room)]
            raise AssertionError(f"{error}; there are {texts}") from None
        return [say.text for say in await self.says(room)]

    async def quiet(self, timeout: float = 15.0) -> None:
        """Wait until every message has come to its end."""

        async def nothing() -> bool:
            return not any([await self.depth(s, "m") for s in range(self.shards)])

        await until(nothing, "nothing waits on messages", timeout)

    async def logged(self, timeout: float = 15.0) -> None:
        """Wait until the log has everything."""

        async def nothing() -> bool:
            return not any([await self.depth(s, "l") for s in range(self.shards)])

        await until(nothing, "nothing waits for the log", timeout)

    async def depth(self, shard: int, field: str) -> int:
        """A counter."""
        return int(await self.raw("HGET", key(shard, "depth"), field) or 0)

    async def dead(self, shard: int = 0) -> list[dict[str, str]]:
        """The dead letters, each with its own id as `number`."""
        rows = await self.raw("XRANGE", key(shard, "dead"), "-", "+")
        return [{"number": number.decode(), **_texts(fields)} for number, fields in rows]

    async def died(self, count: int, timeout: float = 15.0) -> list[dict[str, str]]:
        """The dead letters, once there are so many."""

        async def enough() -> bool:
            return len(await self.dead()) >= count

        await until(enough, f"{count} dead letters", timeout)
        return await self.dead()

    async def hash(self, name: str, shard: int = 0) -> dict[str, str]:
        """A hash of a shard."""
        return _texts(await self.raw("HGETALL", key(shard, name)))

    async def ask(
        self, verb: str, net: str = "net", timeout: float = 15.0, **args: Any
    ) -> Answer:
        """A Request on the network's shard, and its answer. Raises as Desk.ask."""
        async with Desk.open(self.server.url, self.shards) as desk:
            shard = shard_of(network_id("local", net), self.shards)
            return await desk.ask(
                shard, verb, args, timeout=timeout, final=("done", "accepted")
            )


def room(name: str, number: str = "0.a") -> Room:
    """A room of no store."""
    return Room(id=number, network="local/net", tenant="local", name=name)


def _texts(fields: Sequence[bytes]) -> dict[str, str]:
    parts = [part.decode(errors="replace") for part in fields]
    return dict(zip(parts[::2], parts[1::2], strict=True))


@asynccontextmanager
async def stage(server: RedisServer, folder: Path, shards: int = 1) -> AsyncIterator[Stage]:
    """An empty stage."""
    one = Stage(server, folder, shards)
    try:
        yield one
    finally:
        await one.client.aclose()
