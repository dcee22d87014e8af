"""Requests: what operators, the console and the web page wish. The only writer of the store's
networks and rooms. Each handler is idempotent: a backend killed in the middle does it again.

The verbs and their arguments are listed in docs/protocol.md.
"""

import hashlib
import re
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import msgspec
import structlog

from instabot import endpoint, wire
from instabot.backend.dead import Graveyard
from instabot.backend.places import Places
from instabot.backend.roles import Roles
from instabot.backend.router import Router
from instabot.backend.speech import Speech
from instabot.backend.timers import Timers
from instabot.broker.redis import persist
from instabot.broker.scripts import Done, Entry
from instabot.errors import BadInput
from instabot.model import (
    Answer,
    Join,
    Network,
    Part,
    Request,
    Room,
    Sync,
    network_id,
    room_shard,
    shard_of,
)
from instabot.store.rooms import Wish
from instabot.store.store import Store

log = structlog.get_logger()

LONGEST_SAY = 20_000
"""Characters that an operator may have said at once: some fifty lines on IRC."""

Reply = tuple[str, str, bytes]

_LETTER = re.compile(r"\d{1,20}-\d{1,20}")


class Outcome(msgspec.Struct):
    """What a request came to: its answer's outcome and data, and the nudges that go with it."""

    data: dict[str, Any] = {}
    outcome: str = "done"
    replies: list[Reply] = []


class Requests:
    """verb → handler. A wrong argument is answered `failed` with what is wrong.

    `changed` are told the shard after each request: its networks may want something else now.
    """

    def __init__(
        self,
        store: Store,
        places: Places,
        speech: Speech,
        graveyard: Graveyard,
        timers: Timers,
        roles: Roles,
        shards: int,
    ) -> None:
        self._roles = roles
        self._shards = shards
        self.changed: list[Callable[[int], Awaitable[None]]] = []
        self._store = store
        self._places = places
        self._speech = speech
        self._graveyard = graveyard
        self._timers = timers
        self._verbs: dict[str, Callable[[Entry, Request], Awaitable[Outcome]]] = {
            "network.put": self._put_network,
            "network.remove": self._remove_network,
            "join": self._join,
            "part": self._part,
            "say": self._say,
            "dead.redrive": self._redrive,
            "dead.drop": self._drop,
            "role.grant": self._grant,
            "role.revoke": self._revoke,
            "role.list": self._roles_of,
        }

    async def handle(self, entry: Entry, request: Request, router: Router) -> Done:
        """Carry a request out → its end, answer included. Raises Unreachable, Fenced."""
        if request.deadline and time.time() > request.deadline:
            return _done(entry, request, Outcome(outcome="refused"), "it came too late")
        if request.verb == "every":
            return Done(entry, await self._timers.run(entry, request, router))
        handler = self._verbs.get(request.verb)
        if handler is None:
            return _done(
                entry, request, Outcome(outcome="refused"), f"no verb {request.verb!r}"
            )
        try:
            async with self._places.changing:
                outcome = await handler(entry, request)
                for tell in self.changed:
                    await persist(partial(tell, entry.shard))
        except BadInput as error:
            return _done(entry, request, Outcome(outcome="failed"), str(error))
        log.info("request done", verb=request.verb, by=request.by, id=request.id)
        return _done(entry, request, outcome)

    # -- networks and rooms ------------------------------------------------------------------

    async def _put_network(self, entry: Entry, request: Request) -> Outcome:
        network = await self._network(request, self._id(entry, request, "name"))
        await self._store.rooms.put_network(network, entry.shard)
        await self._places.put(entry.shard, network)
        return Outcome({"network": network.id}, replies=[_nudge(Sync(network=network.id))])

    async def _remove_network(self, entry: Entry, request: Request) -> Outcome:
        name = self._id(entry, request, "name")
        there = await self._store.rooms.network(name) is not None
        if not await self._was_ours(request, there, name):
            raise BadInput(f"there is no network {_text(request, 'name')!r}")
        await self._store.rooms.remove_network(name)
        self._roles.forget(name)
        await self._places.remove(entry.shard, network=name)
        return Outcome({"network": name}, replies=[_nudge(Sync(network=name))])

    async def _join(self, entry: Entry, request: Request) -> Outcome:
        network = await self._network(request, self._id(entry, request, "network"))
        wishes = [_wish(row) for row in _list(request, "rooms")]
        # The rooms first: where they cannot be, neither may the network change.
        rooms = await self._store.rooms.add_rooms(network, entry.shard, wishes)
        await self._store.rooms.put_network(network, entry.shard)
        await self._places.put(entry.shard, network, list(rooms.values()))
        nudges = [_nudge(Join(room=room.id), room) for room in rooms.values()]
        data = {"rooms": {name: room.id for name, room in rooms.items()}}
        return Outcome(data, replies=[_nudge(Sync(network=network.id)), *nudges])

    async def _part(self, entry: Entry, request: Request) -> Outcome:
        ids = [_own_room(str(row), entry.shard) for row in _list(request, "rooms")]
        rooms = [place.room for name in ids if (place := self._places.get(name))]
        await self._store.rooms.unwant(ids)
        await self._places.remove(entry.shard, rooms=ids)
        return Outcome(replies=[_nudge(Part(room=room.id), room) for room in rooms])

    def _id(self, entry: Entry, request: Request, argument: str) -> str:
        """The id of the network that an argument names; it must be ours to write."""
        name = endpoint.check_name(_text(request, argument))
        number = network_id(request.tenant, name)
        if shard_of(number, self._shards) != entry.shard:
            raise BadInput(f"network {name!r} is not of this shard")
        return number

    async def _network(self, request: Request, number: str) -> Network:
        """The network as it is now, with what the request says laid over it."""
        name = number.removeprefix(f"{request.tenant}/")
        before = await self._store.rooms.network(number)
        url = _url(request) or (before.url if before else "")
        if before and url != before.url and request.verb == "join":
            raise BadInput(f"network {name!r} is {before.url} already; join it by another name")
        if not url:
            raise BadInput(f"there is no network {name!r}; give its URL to make it")
        settings = {**(before.settings if before else {}), **_settings(request)}
        secret = _text(request, "secret", "") or (before.secret if before else "")
        return Network(
            id=number,
            tenant=request.tenant,
            name=name,
            url=url,
            secret=secret,
            settings={key: value for key, value in settings.items() if value},
        )

    async def _was_ours(self, request: Request, there: bool, *what: str) -> bool:
        """Whether something is there to be taken away, or was until this very request took it
        (carried out before, by a backend that died of something else)."""
        digest = hashlib.blake2s("\0".join(what).encode(), digest_size=16).hexdigest()
        name = f"taken:{digest}"
        if there:
            await self._store.meta.put(name, request.id)
        return there or await self._store.meta.get(name) == request.id

    # -- the rest ----------------------------------------------------------------------------

    async def _say(self, entry: Entry, request: Request) -> Outcome:
        room = _own_room(_text(request, "room"), entry.shard)
        place = self._places.get(room)
        if place is None:
            raise BadInput(f"there is no room {room}")
        text = _text(request, "text")
        if not text.strip():
            raise BadInput("say needs a text: there is nothing in this one")
        if len(text) > LONGEST_SAY:
            raise BadInput(f"{len(text)} characters are too many to say; {LONGEST_SAY} at most")
        say = self._speech.say(f"{request.id}:0", room, text, request.id)
        reply = (room, place.room.tenant, wire.encode(say))
        return Outcome(outcome="accepted", replies=[reply])

    async def _redrive(self, entry: Entry, request: Request) -> Outcome:
        ids = _letters(request)
        return Outcome({"count": await self._graveyard.redrive(entry.shard, ids)})

    async def _drop(self, entry: Entry, request: Request) -> Outcome:
        ids = _letters(request)
        return Outcome({"count": await self._graveyard.drop(entry.shard, ids)})

    async def _grant(self, entry: Entry, request: Request) -> Outcome:
        network = self._id(entry, request, "network")
        account, role = _text(request, "account"), _text(request, "role")
        await self._store.roles.grant(request.tenant, network, account, role, request.by)
        self._roles.forget(network)
        return Outcome()

    async def _revoke(self, entry: Entry, request: Request) -> Outcome:
        network = self._id(entry, request, "network")
        account, role = _text(request, "account"), _text(request, "role")
        there = role in await self._store.roles.of(network, account)
        if not await self._was_ours(request, there, network, account, role):
            raise BadInput(f"{account} does not have the role {role}")
        await self._store.roles.revoke(network, account, role)
        self._roles.forget(network)
        return Outcome()

    async def _roles_of(self, entry: Entry, request: Request) -> Outcome:
        network = self._id(entry, request, "network")
        grants = await self._store.roles.list(request.tenant, network)
        return Outcome(
            {"roles": [{"account": grant.account, "role": grant.role} for grant in grants]}
        )


def _done(entry: Entry, request: Request, outcome: Outcome, text: str = "") -> Done:
    answer = Answer(
        request=request.id,
        outcome=outcome.outcome,  # type: ignore[arg-type]
        text=text,
        data=outcome.data,
    )
    return Done(entry, outcome.replies, [wire.encode(answer)])


def _nudge(control: Join | Part | Sync, room: Room | None = None) -> Reply:
    return (room.id if room else "", room.tenant if room else "", wire.encode(control))


def _text(request: Request, name: str, default: str | None = None) -> str:
    value = request.args.get(name, default)
    if not isinstance(value, str) or (not value and default is None):
        raise BadInput(f"{request.verb} needs {name}, a text")
    return value


def _list(request: Request, name: str) -> Sequence[Any]:
    value = request.args.get(name)
    if not isinstance(value, list) or not value:
        raise BadInput(f"{request.verb} needs {name}, a list")
    return value


def _letters(request: Request) -> list[str]:
    ids = [str(row) for row in _list(request, "ids")]
    for number in ids:
        if not _LETTER.fullmatch(number):
            raise BadInput(f"{number[:40]!r} is not the id of a dead letter")
    return ids


def _url(request: Request) -> str:
    """The network's URL, '' for none; never one with a password, which belongs sealed."""
    url = _text(request, "url", "")
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise BadInput(f"this is not a URL: {error}") from None
    if url and not (parts.scheme and parts.netloc):
        raise BadInput("a network's URL looks like ircs://nick@irc.example.org:6697")
    if parts.password:
        raise BadInput("the URL holds a password; it must come apart, and sealed")
    return url


def _settings(request: Request) -> dict[str, str]:
    value = request.args.get("settings") or {}
    if not isinstance(value, dict) or not all(isinstance(v, str) for v in value.values()):
        raise BadInput("settings must be texts by name")
    return value


def _wish(row: Any) -> Wish:
    if not isinstance(row, dict) or not isinstance(row.get("name"), str):
        raise BadInput("each of rooms needs a name")
    return row["name"], row["name"].lower(), str(row.get("key") or ""), {}


def _own_room(room: str, shard: int) -> str:
    try:
        if room_shard(room) == shard:
            return room
    except ValueError:
        pass
    raise BadInput(f"{room!r} is not the id of a room of this shard")
