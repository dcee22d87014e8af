"""The backend: evaluates commands, keeps all state, may be killed at any time.

{s}:messages → evaluate → ends → {s}:control          {s}:messages → logbook → store
"""

import asyncio
import os
import sys
import time
from collections.abc import Sequence

import structlog

from instabot.backend import schedule
from instabot.backend.dead import Graveyard
from instabot.backend.ends import Ends
from instabot.backend.evaluate import Evaluator
from instabot.backend.groups import Groups
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
from instabot.backend.watchdog import Watchdog
from instabot.broker import scripts
from instabot.broker.blame import blame_now
from instabot.broker.consumer import Consumer
from instabot.broker.egress import Egress
from instabot.broker.keys import BACKENDS
from instabot.broker.lanes import Lanes
from instabot.broker.lease import Leases, Taken
from instabot.broker.lists import Bridge
from instabot.broker.pipe import Pipe
from instabot.broker.presence import Presence, memory_mb
from instabot.broker.redis import persist
from instabot.broker.scripts import Caps, Item
from instabot.broker.shards import shard_count
from instabot.broker.trim import trim
from instabot.commands import Plugin
from instabot.config import Settings
from instabot.errors import Fenced, Unreachable
from instabot.model import Request
from instabot.store.store import Store
from instabot.wire import encode

log = structlog.get_logger()

BEAT = 2.0
TRIM = 60.0
"""Seconds between heartbeats, and between trims."""

LAST_WORDS = 10.0
"""Seconds that a stopping backend gives to commands under way."""


class _Stopped(Exception):
    """Ends the TaskGroup after an orderly stop."""


async def serve(settings: Settings, stop: asyncio.Event) -> None:
    """Run until `stop` is set. Raises Superseded when a newer process took our name."""
    client = Pipe(settings.redis, f"backend-{settings.id}")
    blocking = [
        Pipe(settings.redis, f"backend-{settings.id}-{role}", timeout=8)
        for role in ("wait", "log", "egress", "bridge")
    ]
    pipe = Pipe(settings.redis, f"backend-{settings.id}-queue")
    store = await persist(lambda: Store.open(settings.store))
    loader = Loader(settings.plugins, verify=_usable)
    await asyncio.to_thread(loader.load)  # foreign code
    backend = None
    try:
        shards = await persist(lambda: shard_count(client, settings.shards))
        async with asyncio.TaskGroup() as tasks:
            backend = Backend(settings, client, pipe, blocking, shards, store, loader, tasks)
            await backend.start(stop)
            await stop.wait()
            await backend.stop()
            raise _Stopped
    except* _Stopped:
        log.info("backend stopped", id=settings.id)
    finally:
        if backend:
            backend.watchdog.stop()
        await store.close()
        for each in (client, pipe, *blocking):
            await each.aclose()


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
        self._since = time.time()
        self._presence = Presence(client, BACKENDS, settings.id)
        self._leases = leases = Leases(
            client,
            "backend",
            settings.id,
            shards,
            ttl=settings.lease_ttl,
            share=lambda: self._presence.share(shards),
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

    async def start(self, stop: asyncio.Event) -> None:
        """Take our shards and say that we are ready."""
        await persist(self._beat)
        await persist(self._leases.tick)
        self._readers = [
            self._tasks.create_task(self._consumer.run(), name="consumer"),
            self._tasks.create_task(self._logbook.consumer.run(), name="log consumer"),
            self._tasks.create_task(self._egress.run(), name="egress"),
            self._tasks.create_task(self._bridge.run(), name="bridge"),
        ]
        self._tasks.create_task(self._leases.run(), name="leases")
        self._tasks.create_task(self._beats(), name="heartbeat")
        self._tasks.create_task(self._trims(), name="trim")
        self._tasks.create_task(
            schedule.run(self._schedule, self._slot, clock=time.time, stop=stop),
            name="schedule",
        )
        if self._settings.reload and self._settings.plugins:
            self._tasks.create_task(self._loader.watch(self._swap, stop), name="reload")
        self.watchdog.start(asyncio.get_running_loop())
        sys.stdout.write(f"ready: backend {self._settings.id}\n")
        sys.stdout.flush()

    async def stop(self) -> None:
        """Fetch no more, finish what is under way, give the shards up."""
        for reader in self._readers:
            reader.cancel()
        try:
            async with asyncio.timeout(LAST_WORDS):
                await self._lanes.idle()
                await self._ends.idle()
                await self._logbook.idle()
                await self._egress.idle()
        except TimeoutError:
            log.warning("stopping with commands unfinished", rooms=len(self._lanes))
        try:
            await self._bridge.stop()
            await self._leases.release()
            await self._presence.gone()
        except Unreachable:
            log.warning("Redis is away while stopping")

    # -- shards ------------------------------------------------------------------------------

    async def _taken(self, taken: Taken) -> None:
        self._roles.forget_all()
        await self._places.take(taken.shard)
        await self._groups.take(taken)

    async def _lost(self, shard: int) -> None:
        self._groups.drop(shard)
        self._lanes.drop(shard)
        self._places.drop(shard)

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
        entry = self._evaluator.running.get(message)
        log.error("plugin holds the interpreter", plugin=plugin, room=room, stack=stack)
        if entry:
            why = f"plugin {plugin or '?'} blocked the backend"
            blame_now(self._settings.redis, entry.shard, entry.id.decode(), why)

    async def _trims(self) -> None:
        while True:
            await asyncio.sleep(TRIM)
            for shard in list(self._leases.held):
                try:
                    await trim(self._client, shard, self._settings.retention)
                except (Unreachable, Fenced) as error:
                    log.warning("not trimmed", shard=shard, error=str(error))

    async def _beats(self) -> None:
        while True:
            await asyncio.sleep(BEAT)
            try:
                await self._beat()
            except Unreachable:
                continue

    async def _beat(self) -> None:
        await self._presence.beat(
            {
                "pid": os.getpid(),
                "in_flight": len(self._evaluator.running),
                "up_s": round(time.time() - self._since, 1),
                "rss_mb": memory_mb(),
            }
        )
