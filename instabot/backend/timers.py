"""`@plugin.every`: a slot's turn, once in each room that asked for the plugin's timers.

A room asks by its setting, or its network's: `--set timers=standup,news`.
"""

import structlog

from instabot import wire
from instabot.backend.places import Place, Places
from instabot.backend.remembering import Remembering
from instabot.backend.replies import fit
from instabot.backend.router import Call, Router
from instabot.backend.speech import Speech
from instabot.broker.scripts import Entry
from instabot.commands import Context, Helm, pages
from instabot.model import Heard, Network, Request, Room, room_shard
from instabot.store.store import Store

log = structlog.get_logger()


class Timers:
    """Runs the requests that `backend/schedule.py` queues."""

    def __init__(self, store: Store, places: Places, speech: Speech, helm: Helm) -> None:
        self._store = store
        self._places = places
        self._speech = speech
        self._helm = helm

    async def run(
        self, entry: Entry, request: Request, router: Router
    ) -> list[tuple[str, str, bytes]]:
        """Call the function in every room that wants it → its replies on this shard.

        Those for rooms of other shards are queued there before this request ends.
        """
        plugin, function = request.args.get("plugin"), request.args.get("function")
        timer = next(
            (t for t in router.timers if (t.plugin, t.name) == (plugin, function)), None
        )
        replies: list[tuple[str, str, bytes]] = []
        if timer is None:
            return replies  # the plugin was taken away meanwhile
        networks = {network.id: network for network in await self._store.rooms.networks()}
        for room in await self._store.rooms.rooms():
            network = networks.get(room.network)
            if network is None or timer.plugin not in _wanted(network, room):
                continue
            ctx = self._context(request, timer.plugin, self._places.place(room, network))
            text = await router.answer(Call(timer), ctx)
            if not text:
                continue
            memory = self._store.memory.of(pages.OWNER, room.tenant, room.id)
            text = await fit(text, ctx, memory)
            number = f"{request.id}:{room.id}"
            if room_shard(room.id) == entry.shard:
                say = self._speech.say(number, room.id, text)
                replies.append((room.id, room.tenant, wire.encode(say)))
            else:
                await self._speech.send(number, room.id, room.tenant, text)
        return replies

    def _context(self, request: Request, plugin: str, place: Place) -> Context:
        room = place.room
        message = Heard(
            id=f"{request.id}:{room.id}",
            room=room.id,
            tenant=room.tenant,
            sender=plugin,
            text="",
            at=request.at,
        )
        return Context(
            message=message,
            room=room,
            memory=Remembering(self._store.memory.of(plugin, room.tenant, room.id)),
            helm=self._helm,
            log=log,
            prefix=place.prefix,
        )


def _wanted(network: Network, room: Room) -> set[str]:
    names = {**network.settings, **room.settings}.get("timers", "")
    return {name.strip() for name in names.split(",")}
