"""The backend: evaluates commands, keeps all state, may be killed at any time.

{s}:messages → evaluate → ends → {s}:control          {s}:messages → logbook → store
"""

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from functools import partial

import structlog

from instabot.backend import schedule
from instabot.backend.dead import Graveyard
from instabot.backend.ends import Ends
from instabot.backend.evaluate import Evaluator
from instabot.backend.groups import Groups
from instabot.backend.guard import Stopped, unending, unless
from instabot.backend.helm import Backstage
from instabot.backend.holdup import remains
from instabot.backend.loader import Loader
from instabot.backend.logbook import Logbook
from instabot.backend.places import Places
from instabot.backend.poison import Poison
from instabot.backend.requests import Requests
from instabot.backend.roles import Roles
from instabot.backend.router import Router
from instabot.backend.speech import Speech
from instabot.backend.timers import Timers
from instabot.backend.upkeep import Upkeep
from instabot.backend.watchdog import Watchdog
from instabot.broker import scripts
from instabot.broker.blame import blame_now
from instabot.broker.consumer import Consumer
from instabot.broker.egress import Egress
from instabot.broker.lanes import Lanes
from instabot.broker.lease import Leases, Taken
from instabot.broker.lists import Bridge
from instabot.broker.pipe import Pipe
from instabot.broker.redis import ReplyError, persist
from instabot.broker.scripts import Caps, Item
from instabot.broker.shards import shard_count
from instabot.commands import Plugin
from instabot.config import Settings
from instabot.errors import Fenced, InstabotError, Unreachable
from instabot.model import Request, room_shard
from instabot.store.store import Store
from instabot.wire import encode

log = structlog.get_logger()

LAST_WORDS = 10.0
"""Seconds that a stopping backend gives to commands under way."""


async def serve(settings: Settings, stop: asyncio.Event) -> None:
    """Run until `stop` is set. Raises Superseded when a newer process took our name."""
    loader = Loader(settings.plugins, verify=_usable)
    async with AsyncExitStack() as closing:
        client, pipe, *blocking = _pipes(settings)
        for each in (client, pipe, *blocking):
            closing.push_async_callback(each.aclose)
        try:
            store = await unless(stop, persist(lambda: Store.open(settings.store)))
            closing.push_async_callback(store.close)
            await asyncio.to_thread(loader.load)  # foreign code
            shards = await unless(stop, persist(lambda: shard_count(client, settings.shards)))
            async with asyncio.TaskGroup() as tasks:
                backend = Backend(
                    settings, client, pipe, blocking, shards, store, loader, tasks
                )
                closing.callback(backend.watchdog.stop)
                await backend.run(stop)
                raise Stopped
        except* Stopped:
            log.info("backend stopped", id=settings.id)


def _pipes(settings: Settings) -> list[Pipe]:
    """For everything but queues; for queues; and four that wait: wait, log, egress, bridge."""
    name = f"backend-{settings.id}"
    waiting = ("wait", "log", "egress", "bridge")
    return [
        Pipe(settings.redis, name),
        Pipe(settings.redis, f"{name}-queue"),
        *(Pipe(settings.redis, f"{name}-{role}", timeout=8) for role in waiting),
    ]


def _usable(plugins: Sequence[Plugin]) -> None:
    """Raises BadInput for a set of plugins that cannot be used together."""
    Router(plugins)
    schedule.jobs(plugins)


class Backend:
    """All parts of one backend process."""

    def __init__(
        self,
        settings: Settings,
        client: Pipe,
        pipe: Pipe,
        blocking: Sequence[Pipe],
        shards: int,
        store: Store,
        loader: Loader,
        tasks: asyncio.TaskGroup,
    ) -> None:
        self._settings = settings
        self._client = client
        self._shards = shards
        self._tasks = tasks
        self._readers: list[asyncio.Task[None]] = []
        self._upkeep = Upkeep(
            client,
            settings.id,
            shards,
            settings.retention,
            lambda: len(self._evaluator.running),
        )
        self._leases = leases = Leases(
            client,
            "backend",
            settings.id,
            shards,
            ttl=settings.lease_ttl,
            share=self._upkeep.share,
        )
        caps = Caps(settings.control_cap, settings.control_cap)
        self._places = Places(client, leases, store, settings.prefix)
        self._ends = Ends(tasks, pipe, leases, caps.room)
        self._loader = loader
        speech = Speech(client, leases, caps)
        helm = Backstage(client, shards, lambda: self._evaluator.router)
        self._roles = Roles(store)
        requests = Requests(
            store,
            self._places,
            speech,
            Graveyard(client, leases),
            Timers(store, self._places, speech, helm),
            self._roles,
            shards,
        )
        router = Router(loader.plugins)
        self._evaluator = Evaluator(
            tasks, router, self._ends, self._places, store, speech, requests, self._roles, helm
        )
        dump = settings.data / f"backend-{settings.id}.holdup"
        culprit = next(filter(None, map(loader.owner_of_file, remains(dump))), "")
        poison = Poison(client, self._evaluator, self._ends, culprit)
        self._consumer = Consumer(
            pipe,
            blocking[0],
            leases,
            "messages",
            "backend",
            self._evaluator.deliver,
            inspect=poison.inspect,
            early=True,
        )
        window = self._consumer.window
        self._lanes = Lanes(tasks, client, "messages", window, self._evaluator.serve)
        self._evaluator.attach(self._lanes)
        self._ends.consumer = self._consumer
        self._logbook = Logbook(tasks, pipe, blocking[1], leases, store, self._places)
        self._egress = Egress(tasks, pipe, blocking[2], leases, self._places.wants_egress)
        readers = {"backend": self._consumer, "compat": self._egress.consumer}
        if settings.room_log:
            readers["log"] = self._logbook.consumer
        self._groups = Groups(client, leases, self._places, readers)
        requests.changed.append(self._groups.changed)
        self._bridge = Bridge(
            client, blocking[3], settings.id, shards, ttl=settings.lease_ttl, caps=caps
        )
        self._schedule = schedule.Schedule(schedule.jobs(self._loader.plugins))
        self.watchdog = Watchdog(self._blame, loader.owner, dump=dump)
        leases.on_taken.append(self._taken)
        leases.on_lost.append(self._lost)
        leases.on_generation.append(self._places.noticed)

    async def run(self, stop: asyncio.Event) -> None:
        """From taking our shards to giving them up, once `stop` is set."""
        try:
            await unless(stop, self._start(stop))
            await stop.wait()
        except Stopped:
            pass
        await self._stop()

    async def _start(self, stop: asyncio.Event) -> None:
        """Take our shards and say that we are ready."""
        await persist(self._upkeep.beat)
        await persist(self._first_look)
        readers: dict[str, Callable[[], Awaitable[None]]] = {
            "consumer": self._consumer.run,
            "log consumer": self._logbook.consumer.run,
            "egress": self._egress.run,
            "bridge": self._bridge.run,
        }
        for name, run in readers.items():
            self._readers.append(self._tasks.create_task(unending(name, run), name=name))
        others: dict[str, Callable[[], Awaitable[None]]] = {
            "leases": self._leases.run,
            "heartbeat": self._upkeep.beats,
            "trim": partial(self._upkeep.trims, self._leases),
            "schedule": partial(
                schedule.run, self._schedule, self._slot, clock=time.time, stop=stop
            ),
        }
        if self._settings.reload and self._settings.plugins:
            others["reload"] = partial(self._loader.watch, self._swap, stop)
        for name, run in others.items():
            self._tasks.create_task(unending(name, run, stop), name=name)
        self.watchdog.start(asyncio.get_running_loop())
        sys.stdout.write(f"ready: backend {self._settings.id}\n")
        sys.stdout.flush()

    async def _first_look(self) -> None:
        try:
            await self._leases.tick()
        except Fenced as error:  # it took too long: the next look goes on from there
            raise Unreachable(str(error)) from None

    async def _stop(self) -> None:
        """Fetch no more, finish what is under way, give the shards up."""
        for reader in self._readers:
            reader.cancel()
        try:
            async with asyncio.timeout(LAST_WORDS):
                if self._readers:
                    await asyncio.wait(self._readers)
                await self._lanes.idle()
                await self._evaluator.idle()
                await self._ends.idle()
                await self._logbook.idle()
                await self._egress.idle()
        except TimeoutError:
            log.warning("stopping with commands unfinished", rooms=len(self._lanes))
        try:
            await self._bridge.stop()
            await self._leases.release()
            await self._upkeep.presence.gone()
        except InstabotError as error:
            log.warning("stopped without telling Redis", error=str(error))

    # -- shards ------------------------------------------------------------------------------

    async def _taken(self, taken: Taken) -> None:
        """Settle in. Raises Unreachable, to be told again; Fenced."""
        self._roles.forget_all()
        shard = taken.shard
        try:
            # Not for ever: who waits here renews no lease.
            async with asyncio.timeout(0.5 * self._settings.lease_ttl):
                if not taken.again or taken.generation < self._places.generation(shard):
                    await self._places.take(shard)
                if not taken.generation and self._places.generation(shard) > 1:
                    self._empty(shard)
                await self._groups.take(taken)
        except TimeoutError:
            raise Unreachable(f"shard {shard} is not settled in: the store is slow") from None
        except ReplyError as error:
            log.error("shard cannot be served", shard=shard, error=str(error))
            raise Unreachable(str(error)) from None

    async def _lost(self, shard: int) -> None:
        self._groups.drop(shard)
        self._lanes.drop(shard)
        self._places.drop(shard)

    def _empty(self, shard: int) -> None:
        """We wrote this shard's desired state before, but Redis knew nothing of it."""
        if any(room_shard(room) == shard for room in self._places.places):
            log.error("Redis lost its data: queued lines are gone", shard=shard)

    # -- what runs beside --------------------------------------------------------------------

    def _swap(self, plugins: Sequence[Plugin]) -> None:
        """New plugins: used from the next message on."""
        self._evaluator.router = Router(plugins)
        self._schedule.replace(schedule.jobs(plugins))
        log.info("plugins reloaded", plugins=[plugin.name for plugin in plugins])

    async def _slot(self, slot: schedule.Slot, request: Request) -> bool:
        shard = slot.shard(self._shards)
        if shard not in self._leases.held:
            return False
        item = Item("", request.tenant, encode(request), slot.job.source, slot.number)
        answer = await scripts.ingest(
            self._client,
            shard,
            [item],
            time.time(),
            token=self._leases.token,
            role="backend",
        )
        return answer != "F"

    def _blame(self, plugin: str, message: str, room: str, stack: str) -> None:
        """In the watchdog's thread, while the loop is stuck."""
        entry = self._evaluator.running.get(message) or self._evaluator.sorting
        log.error("plugin holds the interpreter", plugin=plugin, room=room, stack=stack)
        if entry:
            why = f"plugin {plugin or '?'} blocked the backend"
            blame_now(self._settings.redis, entry.shard, entry.id.decode(), why)
