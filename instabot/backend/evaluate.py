"""Evaluating: from fetched messages to their ends. Rooms run concurrently, each in order.

`deliver` sorts what was fetched: chatter that calls nothing is acknowledged at once, everything
else takes its room's lane. `serve` runs a lane's messages one after the other; a message's end
(ack and replies in one script) may still be on its way when the next one begins.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence

import structlog

from instabot import wire
from instabot.backend.ends import Ends
from instabot.backend.journal import Effects
from instabot.backend.places import Place, Places
from instabot.backend.remembering import Remembering
from instabot.backend.replies import fit
from instabot.backend.requests import Requests
from instabot.backend.roles import Roles
from instabot.backend.router import Call, Router
from instabot.backend.speech import Speech
from instabot.broker.lanes import Lanes
from instabot.broker.redis import Backoff
from instabot.broker.scripts import Dead, Done, Entry
from instabot.commands import Context, Helm, Memory, pages
from instabot.errors import Fenced, Malformed, Unreachable
from instabot.model import Answer, Heard, Hook, Message, Notice, Request
from instabot.store.store import Store

log = structlog.get_logger()

BACKGROUND = 64
"""Background commands under way at once; further ones wait in their rooms' lanes."""


class Evaluator:
    """`router` is replaced between messages when plugins are reloaded.

    `running` maps the ids of messages under evaluation to their entries, and `sorting` is the one
    that `deliver` is looking at, for the watchdog.
    """

    def __init__(
        self,
        tasks: asyncio.TaskGroup,
        router: Router,
        ends: Ends,
        places: Places,
        store: Store,
        speech: Speech,
        requests: Requests,
        roles: Roles,
        helm: Helm,
    ) -> None:
        self._roles = roles
        self.router = router
        self.running: dict[str, Entry] = {}
        self.sorting: Entry | None = None
        self._tasks = tasks
        self._ends = ends
        self._places = places
        self._store = store
        self._speech = speech
        self._requests = requests
        self._helm = helm
        self._effects = Effects(store.journal)
        self._background = asyncio.Semaphore(BACKGROUND)
        self._behind: set[asyncio.Task[None]] = set()

    def attach(self, lanes: Lanes) -> None:
        """Where messages that need evaluating wait for their turn."""
        self._lanes = lanes
        self._window = lanes.window

    def deliver(self, entries: Sequence[Entry]) -> None:
        """Sort a batch of one shard; never blocks, never raises."""
        plain: list[Entry] = []
        for entry in entries:
            if entry.data is None:
                plain.append(entry)
                continue
            self.sorting = entry
            try:
                message = wire.decode_message(entry.data)
                calls = self._calls(message)
            except Malformed as error:
                self._ends.commit(Dead(entry, str(error)))
                self._window.give(1)
                continue
            except Exception:  # a plugin's pattern: its turn in the lane tells
                calls = True
            if calls:
                self._lanes.put(_lane(entry, message), entry)
            else:
                plain.append(entry)
        self.sorting = None
        if plain:
            self._ends.ack(plain)
            self._window.give(len(plain))

    def _calls(self, message: Message) -> bool:
        """Does this message call anything at all?"""
        if isinstance(message, Heard):
            place = self._places.get(message.room)
            if place is None or place.egress:
                return False
            router = self.router
            return bool(router.match(message, place.prefix) or router.listeners(message))
        return isinstance(message, Request | Hook)

    def plugins_of(self, entry: Entry) -> set[str]:
        """The plugins that an entry calls by name; listeners, whose patterns would have to be
        searched for, are left out."""
        try:
            message = wire.decode_message(entry.data or b"")
        except Malformed:
            return set()
        if isinstance(message, Request):
            return {str(message.args.get("plugin"))} if message.verb == "every" else set()
        if isinstance(message, Hook):
            return {call.plugin for call in self.router.hooks(message)}
        place = self._places.get(message.room)
        if place is None or not isinstance(message, Heard):
            return set()
        call = self.router.match(message, place.prefix)
        return {call.plugin} if call else set()

    def calls_plugin(self, entry: Entry, plugin: str) -> bool:
        """Does this entry call that plugin (or one of `a+b`) by name?"""
        return not self.plugins_of(entry).isdisjoint(plugin.split("+"))

    async def idle(self) -> None:
        """Return when no background command is under way."""
        if self._behind:
            await asyncio.wait(self._behind)

    async def serve(self, room: str, entries: Sequence[Entry]) -> None:
        """Evaluate a room's messages in order."""
        for entry in entries:
            await self.one(entry)

    async def one(self, entry: Entry, *, alone: bool = False) -> None:
        """Evaluate one message to its end. `alone`: wait for background commands too."""
        try:
            message = wire.decode_message(entry.data) if entry.data is not None else None
        except Malformed as error:
            self._ends.commit(Dead(entry, str(error)))
            return
        if message is None:  # trimmed while its room was busy
            self._ends.commit(Done(entry))
        else:
            await self._to_its_end(
                entry, message, lambda: self._evaluate(entry, message, alone)
            )

    async def _to_its_end(
        self, entry: Entry, message: Message, work: Callable[[], Awaitable[None]]
    ) -> None:
        """Do the work, again and again while the store is away. Never raises."""
        backoff = Backoff(0.1, 5.0)
        self.running[message.id] = entry
        try:
            while True:
                try:
                    return await work()
                except Unreachable as error:
                    log.warning("message waits", entry=entry.id, error=str(error))
                    await backoff.wait()
                except Fenced:
                    return self._ends.void(entry)
        except (asyncio.CancelledError, GeneratorExit):
            raise
        except BaseException as error:
            # Ours or a plugin's, whatever a plugin raises: one message must not end the backend.
            log.exception("message not evaluated", entry=entry.id, room=entry.room)
            self._ends.commit(_failed(entry, message, error))
        finally:
            self.running.pop(message.id, None)

    async def _evaluate(self, entry: Entry, message: Message, alone: bool) -> None:
        if isinstance(message, Request):
            self._ends.commit(await self._requests.handle(entry, message, self.router))
            return
        place = self._places.get(message.room)
        if place is None or isinstance(message, Notice):
            self._ends.commit(Done(entry))
            return
        calls: list[Call] = []
        if isinstance(message, Hook):
            calls += self.router.hooks(message)
            message = _stand_in(message)
        elif not place.egress:
            if call := self.router.match(message, place.prefix):
                calls.append(call)
            calls += self.router.listeners(message)
        calls = [await self._effects.recall(self.router, call, message) for call in calls]
        if any(call.background for call in calls) and not alone:
            await self._background.acquire()
            task = self._tasks.create_task(
                self._in_background(entry, message, place, calls),
                name=f"background {entry.id!r}",
            )
            self._behind.add(task)
            task.add_done_callback(self._behind.discard)
        else:
            await self._answer(entry, message, place, calls)

    async def _in_background(
        self, entry: Entry, message: Heard, place: Place, calls: Sequence[Call]
    ) -> None:
        try:
            await self._to_its_end(
                entry, message, lambda: self._answer(entry, message, place, calls)
            )
        finally:
            self._background.release()

    async def _answer(
        self, entry: Entry, message: Heard, place: Place, calls: Sequence[Call]
    ) -> None:
        texts: list[str] = []
        saying = self._speech.progress(entry, message)
        for call in calls:
            ctx = await self._context(message, place, call)
            text = await self._effects.answer(self.router, call, ctx, saying)
            if text:
                memory = self._store.memory.of(pages.OWNER, message.tenant, message.room)
                texts.append(await fit(text, ctx, memory))
        says = [
            self._speech.say(f"{message.id}:{n}", message.room, text)
            for n, text in enumerate(texts)
        ]
        replies = [(say.room, message.tenant, wire.encode(say)) for say in says]
        self._ends.commit(Done(entry, replies))

    async def _context(self, message: Heard, place: Place, call: Call) -> Context:
        memory: Memory = self._store.memory.of(call.plugin, message.tenant, message.room)
        return Context(
            message=message,
            room=place.room,
            memory=memory if call.effect else Remembering(memory),
            helm=self._helm,
            log=log,
            roles=await self._roles.of(place.network.id, message.account),
            prefix=place.prefix,
        )


def _lane(entry: Entry, message: Message) -> str:
    """Which lane an entry takes: its room's. Operators' requests wait for each other, but not
    for a plugin's timers."""
    if entry.room:
        return entry.room
    if isinstance(message, Request) and message.verb == "every":
        return f"every {entry.shard} {message.args.get('plugin')}"
    return f"requests {entry.shard}"


def _failed(entry: Entry, message: Message, error: BaseException) -> Dead:
    why = f"evaluation failed: {type(error).__name__}"
    if not isinstance(message, Request):
        return Dead(entry, why)
    answer = Answer(request=message.id, outcome="failed", text=why)
    return Dead(entry, why, wire.encode(answer))


def _stand_in(hook: Hook) -> Heard:
    """What a hook's Context shows as its message."""
    return Heard(
        id=hook.id,
        room=hook.room,
        tenant=hook.tenant,
        sender=hook.source,
        text="",
        at=hook.at or time.time(),
    )
