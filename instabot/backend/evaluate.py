"""Evaluating: from fetched messages to their ends. Rooms run concurrently, each in order.

`deliver` sorts what was fetched: chatter that calls nothing is acknowledged at once, everything
else takes its room's lane. `serve` runs a lane's messages one after the other; a message's end
(ack and replies in one script) may still be on its way when the next one begins.
"""

import asyncio
import time
from collections.abc import Sequence

import structlog

from instabot import wire
from instabot.backend.ends import Ends
from instabot.backend.journal import Effects
from instabot.backend.places import Place, Places
from instabot.backend.replies import fit
from instabot.backend.requests import Requests
from instabot.backend.roles import Roles
from instabot.backend.router import Call, Router
from instabot.backend.speech import Speech
from instabot.broker.lanes import Lanes
from instabot.broker.redis import Backoff
from instabot.broker.scripts import Dead, Done, Entry
from instabot.commands import Context, Helm, pages
from instabot.errors import Fenced, Malformed, Unreachable
from instabot.model import Heard, Hook, Message, Notice, Request
from instabot.store.store import Store

log = structlog.get_logger()

BACKGROUND = 64
"""Background commands under way at once; further ones wait in their rooms' lanes."""


class Evaluator:
    """`router` is replaced between messages when plugins are reloaded.

    `running` maps the ids of messages under evaluation to their entries, for the watchdog.
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
        self._tasks = tasks
        self._ends = ends
        self._places = places
        self._store = store
        self._speech = speech
        self._requests = requests
        self._helm = helm
        self._effects = Effects(store.journal)
        self._background = asyncio.Semaphore(BACKGROUND)

    def attach(self, lanes: Lanes) -> None:
        """Where messages that need evaluating wait for their turn."""
        self._lanes = lanes
        self._window = lanes.window

    def deliver(self, entries: Sequence[Entry]) -> None:
        """Sort a batch of one shard; never blocks."""
        plain: list[Entry] = []
        for entry in entries:
            try:
                message = wire.decode_message(entry.data) if entry.data else None
            except Malformed as error:
                self._ends.commit(Dead(entry, str(error)))
                self._window.give(1)
                continue
            if message is None or not self._calls(message):
                plain.append(entry)
            else:
                self._lanes.put(entry.room or f"requests {entry.shard}", entry)
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

    def calls_plugin(self, entry: Entry, plugin: str) -> bool:
        """Does this entry's command belong to that plugin (or to one of `a+b`)?"""
        try:
            message = wire.decode_message(entry.data or b"")
        except Malformed:
            return False
        place = self._places.get(message.room) if isinstance(message, Heard) else None
        if place is None or not isinstance(message, Heard):
            return False
        call = self.router.match(message, place.prefix)
        return call is not None and call.plugin in plugin.split("+")

    async def serve(self, room: str, entries: Sequence[Entry]) -> None:
        """Evaluate a room's messages in order."""
        for entry in entries:
            await self.one(entry)

    async def one(self, entry: Entry) -> None:
        """Evaluate one message to its end, again and again while the store is away."""
        backoff = Backoff(0.1, 5.0)
        while True:
            try:
                message = wire.decode_message(entry.data or b"")
                self.running[message.id] = entry
                try:
                    await self._evaluate(entry, message)
                finally:
                    self.running.pop(message.id, None)
                return
            except Unreachable as error:
                log.warning("message waits", entry=entry.id, error=str(error))
                await backoff.wait()
            except Fenced:
                return  # another backend has it now
            except (
                Exception
            ) as error:  # ours or a plugin's: one message must not end the backend
                log.exception("message not evaluated", entry=entry.id, room=entry.room)
                self._ends.commit(Dead(entry, f"evaluation failed: {type(error).__name__}"))
                return

    async def _evaluate(self, entry: Entry, message: Message) -> None:
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
        else:
            if call := self.router.match(message, place.prefix):
                calls.append(call)
            calls += self.router.listeners(message)
        if any(call.background for call in calls):
            await self._background.acquire()
            self._tasks.create_task(
                self._in_background(entry, message, place, calls),
                name=f"background {entry.id!r}",
            )
        else:
            await self._answer(entry, message, place, calls)

    async def _in_background(
        self, entry: Entry, message: Heard, place: Place, calls: Sequence[Call]
    ) -> None:
        self.running[message.id] = entry
        try:
            await self._answer(entry, message, place, calls)
        except Fenced:
            pass
        except Exception as error:  # as in `one`
            log.exception("message not evaluated", entry=entry.id, room=entry.room)
            self._ends.commit(Dead(entry, f"evaluation failed: {type(error).__name__}"))
        finally:
            self.running.pop(message.id, None)
            self._background.release()

    async def _answer(
        self, entry: Entry, message: Heard, place: Place, calls: Sequence[Call]
    ) -> None:
        texts: list[str] = []
        for each in calls:
            call = await self._effects.recall(self.router, each, message)
            ctx = await self._context(message, place, call)
            saying = self._speech.progress(entry, message)
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
        return Context(
            message=message,
            room=place.room,
            memory=self._store.memory.of(call.plugin, message.tenant, message.room),
            helm=self._helm,
            log=log,
            roles=await self._roles.of(place.network.id, message.account),
            prefix=place.prefix,
        )


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
