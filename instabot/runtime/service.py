"""The runtime: the process that sits in the rooms. Wires its parts together and runs them.

links → outgoing → {s}:messages          {s}:control → incoming → rooms → links
"""

import asyncio
import os
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from typing import Any, TypeVar

import structlog

from instabot import adapters
from instabot.adapters.base import Account, Adapter, Report
from instabot.broker import scripts
from instabot.broker.consumer import Consumer
from instabot.broker.keys import RUNTIMES
from instabot.broker.lanes import Lanes
from instabot.broker.lease import Leases, Taken
from instabot.broker.pipe import Pipe
from instabot.broker.presence import Presence, memory_mb
from instabot.broker.redis import Caller, persist
from instabot.broker.scripts import Caps
from instabot.broker.shards import shard_count
from instabot.config import Settings
from instabot.errors import Fenced, InstabotError, Unreachable
from instabot.runtime.acks import Acks
from instabot.runtime.board import Board
from instabot.runtime.desired import Desired, Lost, Nudged
from instabot.runtime.guard import Tasks, unending
from instabot.runtime.incoming import Incoming
from instabot.runtime.outgoing import Outgoing
from instabot.runtime.ports import Pace, Ports
from instabot.runtime.rooms import Rooms
from instabot.secrets import Keyring

log = structlog.get_logger()
T = TypeVar("T")

BEAT = 2.0
"""Seconds between heartbeats."""

LAST_WORDS = 4.0
"""Seconds that a stopping runtime gives to what is under way."""


class _Stopped(Exception):
    """Ends the TaskGroup after an orderly stop."""


async def serve(settings: Settings, stop: asyncio.Event) -> None:
    """Run until `stop` is set. Raises Superseded when a newer process took our name."""
    client = Pipe(settings.redis, f"runtime-{settings.id}")
    pipe = Pipe(settings.redis, f"runtime-{settings.id}-queue")
    blocking = Pipe(settings.redis, f"runtime-{settings.id}-wait", timeout=8)
    try:
        async with Tasks() as tasks:
            shards = await _unless(stop, persist(lambda: shard_count(client, settings.shards)))
            runtime = Runtime(settings, client, pipe, blocking, shards, tasks)
            try:
                await _unless(stop, runtime.start())
                await stop.wait()
            finally:
                await runtime.stop()
            raise _Stopped
    except BaseExceptionGroup as errors:
        error = _first(errors)
        if not isinstance(error, _Stopped):
            raise error from None
        log.info("runtime stopped", id=settings.id)
    finally:
        for each in (client, pipe, blocking):
            await each.aclose()


async def _unless(stop: asyncio.Event, work: Coroutine[Any, Any, T]) -> T:
    """The work's result. Raises _Stopped when it is to stop first: Redis may be away for hours."""
    async with asyncio.TaskGroup() as tasks:
        working = tasks.create_task(work)
        stopping = tasks.create_task(stop.wait())
        await asyncio.wait([working, stopping], return_when=asyncio.FIRST_COMPLETED)
        done = working.done()
        working.cancel()
        stopping.cancel()
    if not done:
        raise _Stopped
    return working.result()


def _first(error: BaseException) -> BaseException:
    """The error itself, without the groups around it."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


class Runtime:
    """All parts of one runtime process."""

    def __init__(
        self,
        settings: Settings,
        client: Caller,
        pipe: Caller,
        blocking: Caller,
        shards: int,
        tasks: asyncio.TaskGroup,
        pace: Pace = Pace(),  # noqa: B008 - immutable
    ) -> None:
        self._settings = settings
        self._client = client
        self._tasks = tasks
        self._since = time.time()
        self._loops: dict[str, asyncio.Task[None]] = {}
        self._untold: dict[int, Taken] = {}
        self._presence = Presence(client, RUNTIMES, settings.id)
        self._leases = leases = Leases(
            client,
            "runtime",
            settings.id,
            shards,
            ttl=settings.lease_ttl,
            share=lambda: self._presence.share(shards),
        )
        caps = Caps(settings.messages_cap, settings.messages_cap)
        self._board = Board(client, settings.id, leases.token)
        self._outgoing = Outgoing(
            tasks,
            pipe,
            leases,
            self._board,
            settings.data / "spool" / settings.id,
            caps,
            settings.spool,
        )
        ports = Ports(
            tasks,
            self._outgoing,
            self._board,
            Keyring.load(settings.key_file, create=True),
            leases.valid,
            make_adapter,
            pace,
        )
        self._desired = Desired(client, ports)
        self._acks = Acks(tasks, pipe, leases)
        self._incoming = Incoming(self._acks, self._nudge)
        self._consumer = Consumer(
            pipe, blocking, leases, "control", "runtime", self._incoming.deliver
        )
        rooms = Rooms(self._desired, self._acks, self._board, settings.room_log)
        self._lanes = Lanes(tasks, client, "control", self._consumer.window, rooms.serve)
        self._incoming.attach(self._lanes, self._consumer)
        self._acks.consumer = self._consumer
        leases.beat = self._outgoing.safe_until
        leases.on_taken.append(self._taken)
        leases.on_lost.append(self._lost)
        leases.on_generation.append(self._changed)

    async def start(self) -> None:
        """Take our shards, open what should be open, and say that we are ready."""
        await persist(self._beat)
        await persist(self._first_look)
        for name, run in {
            "leases": self._leases.run,
            "desired": self._desired.run,
            "consumer": self._consumer.run,
            "board": self._board.run,
            "heartbeat": self._beats,
        }.items():
            self._loops[name] = self._tasks.create_task(unending(name, run), name=name)
        self._loops["strays"] = self._tasks.create_task(self._strays(), name="strays")
        for shard in list(self._leases.held):
            await self._desired.reread(shard)
        rooms = sum(len(links.spots) for links in self._desired.networks.values())
        sys.stdout.write(f"ready: runtime {self._settings.id}, {rooms} rooms\n")
        sys.stdout.flush()

    async def _first_look(self) -> None:
        try:
            await self._leases.tick()
        except Fenced as error:  # a shard was taken from us meanwhile: the next look tells
            raise Unreachable(str(error)) from None

    async def stop(self) -> None:
        """Finish what is under way, leave politely, give the shards up."""
        self._end("consumer", "strays")
        deadline = asyncio.get_running_loop().time() + LAST_WORDS
        await self._last_words(self._lanes.idle, deadline)
        await self._last_words(self._acks.idle, deadline)
        await self._desired.close("the bot's runtime is being restarted")
        self._end("desired", "board", "heartbeat")
        await self._last_words(self._outgoing.idle, deadline + 1.0)
        self._outgoing.park()
        for row in self._board.rows.values():
            if row.state == "joined":
                row.state, row.reason, row.since = "lost", "cut", time.time()
                row.text = "the runtime was stopped"
        self._board.dirty.update(self._board.rows)
        try:
            await self._board.flush()
            self._end("leases")
            await self._leases.release()
            await self._presence.gone()
        except InstabotError as error:
            log.warning("stopped without telling Redis", error=str(error))

    async def _last_words(self, idle: Callable[[], Awaitable[None]], until: float) -> None:
        try:
            async with asyncio.timeout_at(until):
                await idle()
        except TimeoutError:
            log.warning("stopping with work undone", rooms=len(self._lanes))

    def _end(self, *loops: str) -> None:
        for name in loops:
            if loop := self._loops.get(name):
                loop.cancel()

    async def _strays(self) -> None:
        """Lines on our disk whose shards others have taken meanwhile: for the log only."""
        await asyncio.sleep(3 * self._settings.lease_ttl)  # what was free is somebody's by now
        for shard in self._outgoing.left_over() - self._leases.held.keys():
            self._outgoing.recover(shard, late=True)

    async def _taken(self, taken: Taken) -> None:
        earlier = self._untold.get(taken.shard)
        if earlier and taken.before == self._leases.token:
            # We failed below, and are told again; what counts is who held it before us.
            taken = replace(
                taken, before=earlier.before, beat=earlier.beat, again=earlier.again
            )
        self._untold[taken.shard] = taken
        await scripts.groups(
            self._client,
            taken.shard,
            "control",
            "runtime",
            self._leases.token,
            [("runtime", b"")],
        )
        del self._untold[taken.shard]
        self._acks.take(taken.shard)
        self._consumer.take(taken)
        self._desired.tell(taken)
        ours = taken.before.rpartition(":")[0] in {"", self._settings.id}
        self._outgoing.recover(taken.shard, late=not ours)

    async def _lost(self, shard: int) -> None:
        self._consumer.drop(shard)
        self._lanes.drop(shard)
        self._acks.drop(shard)
        self._outgoing.lost(shard)
        self._desired.tell(Lost(shard))

    async def _changed(self, shard: int, generation: int) -> None:
        self._desired.tell(Nudged(shard))

    def _nudge(self, nudged: Nudged) -> None:
        self._desired.tell(nudged)

    async def _beats(self) -> None:
        while True:
            await asyncio.sleep(BEAT)
            try:
                await self._beat()
            except InstabotError as error:
                log.warning("no heartbeat", error=str(error))

    async def _beat(self) -> None:
        links = [link for each in self._desired.networks.values() for link in each.links]
        await self._presence.beat(
            {
                "pid": os.getpid(),
                "rooms": sum(len(link.spots) for link in links),
                "links": sum(link.up for link in links),
                "up_s": round(time.time() - self._since, 1),
                "rss_mb": memory_mb(),
            }
        )


def make_adapter(account: Account, report: Report) -> Adapter:
    """The adapter for an account's URL, by its scheme."""
    return adapters.find(account.url)(account, report)
