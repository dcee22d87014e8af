"""`join`, `part`, `rooms`."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from instabot import config, endpoint
from instabot.cli.asking import Args, asks
from instabot.cli.networks import given_secret, given_settings, seal, secrets_and_settings
from instabot.cli.output import ago, complain, document, say, table
from instabot.cli.parsing import Adder, command, seconds
from instabot.errors import BadInput
from instabot.model import Network, network_id, shard_of

if TYPE_CHECKING:
    from instabot.broker.desk import Desk
    from instabot.broker.views import RoomView

Settings = config.Settings
_CHUNK = 500
"""Rooms in one Request, far below the megabyte that the wire takes."""

_WHY = {
    "unreachable": "the server cannot be reached",
    "tls": "TLS failed",
    "password": "wrong password",
    "banned": "the bot is banned",
    "invite-only": "the room is invite only",
    "key": "the room's key is wrong or missing (--key)",
    "full": "the room is full",
    "nick": "the nick is taken",
    "throttled": "the server says: too fast",
    "no-such-room": "there is no such room",
    "register-first": "the server wants a registered account",
    "too-many": "the server allows no further room",
    "config": "the settings are wrong",
}


def add(commands: Adder) -> None:
    """Add this file's commands."""
    join = command(
        commands,
        "join",
        "Sit in rooms, and wait until the bot is in.",
        "instabot join ircs://acmebot@irc.libera.chat/#ops\n"
        "instabot join libera ops dev --key sesame\n"
        "instabot join libera --file rooms.txt",
        asks(_join),
        as_json=True,
    )
    join.add_argument("target", metavar="URL | NETWORK")
    join.add_argument("rooms", metavar="ROOM", nargs="*", help="or further URLs")
    join.add_argument("--key", metavar="K", default="", help="the rooms' key")
    join.add_argument("--file", metavar="F", help="more rooms, one a line: ROOM [KEY]")
    join.add_argument("--timeout", type=seconds, default=60.0, metavar="S", help="default 60")
    join.add_argument("--no-wait", action="store_true", help="do not wait for being inside")
    secrets_and_settings(join)
    part = command(commands, "part", "Leave rooms.", "instabot part libera/ops", asks(_part))
    part.add_argument("rooms", metavar="ROOM", nargs="+")
    part.add_argument("--timeout", type=seconds, default=15.0, metavar="S", help="default 15")
    rooms = command(
        commands,
        "rooms",
        "List the rooms and how they are.",
        "instabot rooms --filter 'libera lost'",
        asks(_rooms),
        as_json=True,
    )
    rooms.add_argument("--filter", metavar="F", default="", help="words that a row must hold")


class Wish:
    """The rooms to join on one network: name → sealed key."""

    def __init__(self, name: str, url: str, secret: str, settings: dict[str, str]) -> None:
        self.name = name
        self.url = url
        self.secret = secret
        self.settings = settings
        self.rooms: dict[str, str] = {}

    def requests(self) -> list[dict[str, Any]]:
        """The arguments of the Requests to send, a chunk of rooms each."""
        names = list(self.rooms)
        return [
            {
                "network": self.name,
                "url": self.url,
                "secret": self.secret,
                "settings": self.settings,
                "rooms": [{"name": n, "key": self.rooms[n]} for n in names[i : i + _CHUNK]],
            }
            for i in range(0, len(names), _CHUNK)
        ]


async def _join(desk: "Desk", settings: Settings, args: Args) -> int:
    from instabot.broker.joining import wait_joined

    networks = await desk.networks()
    if "://" in args.target:
        wishes = _by_url(desk, settings, args, networks)
    else:
        wishes = [await _by_name(desk, settings, args)]
    asked = time.time()
    ids: list[str] = []
    for wish in wishes:
        shard = shard_of(network_id(desk.tenant, wish.name), desk.shards)
        for request in wish.requests():
            answer = await desk.ask(shard, "join", request, timeout=args.timeout)
            ids += answer.data["rooms"].values()
    if args.no_wait:
        return await _not_waited(desk, ids, args)
    left = max(1.0, args.timeout - (time.time() - asked))
    each = (lambda view: None) if args.json else _report
    views = await wait_joined(desk, ids, asked, left, each)
    return _joined(views, ids, asked, args)


async def _not_waited(desk: "Desk", ids: Sequence[str], args: Args) -> int:
    if args.json:
        document([view for view in await desk.rooms() if view.id in set(ids)])
    else:
        for room in ids:
            say(f"wanted   {room}")
    return 0


def _joined(views: Sequence["RoomView"], ids: Sequence[str], asked: float, args: Args) -> int:
    from instabot.broker.joining import settled

    if args.json:
        document(views)
    else:
        for view in views:
            if not settled(view, asked):
                where = f"{view.network}/{view.name} ({view.id})"
                complain(f"{where} is not joined yet: {_reason(view)}; the bot keeps trying")
    inside = sum(view.state == "joined" for view in views)
    return 0 if inside == len(set(ids)) else 1


def _report(view: "RoomView") -> None:
    where = f"{view.network}/{view.name} ({view.id})"
    if view.state == "joined":
        say(f"joined   {where}")
    else:
        going_on = "; the bot keeps trying" if view.state == "lost" else ""
        complain(f"{where} is not joined: {_reason(view)}{going_on}")


def _reason(view: "RoomView") -> str:
    why = _WHY.get(view.reason, view.reason or f"it is {view.state}")
    return f"{why} ({view.text})" if view.text else why


def _by_url(
    desk: "Desk", settings: Settings, args: Args, networks: Sequence[Network]
) -> list[Wish]:
    """One wish for each network that the URLs name, made where there is none yet."""
    if args.file:
        raise BadInput("--file goes with a NETWORK, not with URLs: network add, then join it")
    wishes: dict[str, Wish] = {}
    for text in (args.target, *args.rooms):
        if "://" not in text:
            raise BadInput(f"{text!r} is no URL; write all rooms as URLs, or NETWORK ROOM…")
        point = endpoint.parse(text)
        if not point.rooms:
            raise BadInput(f"{point.url} names no room; write {point.url}/#room")
        known = _known(point, networks)
        taken = {network.name for network in networks} | set(wishes)
        name = known.name if known else _other(wishes, point) or _free(point.host, taken)
        options = given_settings(args, point)
        where = network_id(desk.tenant, name)
        url = known.url if known else point.url
        whole = {**(known.settings if known else {}), **options}
        if name not in wishes:
            secret = seal(settings, given_secret(args, point), where, url, whole)
            wishes[name] = Wish(name, "" if known else url, secret, options)
        for room in point.rooms:
            wishes[name].rooms[room] = seal_key(settings, args.key, where, url, whole)
    return list(wishes.values())


def _known(point: endpoint.Endpoint, networks: Sequence[Network]) -> Network | None:
    """The network that a URL means: same scheme and address, and no other nick."""
    for network in networks:
        there = endpoint.parse(network.url)
        same = (there.scheme, there.host, there.port) == (point.scheme, point.host, point.port)
        if same and point.user in ("", there.user):
            return network
    return None


def _other(wishes: dict[str, Wish], point: endpoint.Endpoint) -> str:
    """The name of a network that an earlier URL of this command made."""
    return next((wish.name for wish in wishes.values() if wish.url == point.url), "")


def _free(host: str, taken: set[str]) -> str:
    base = endpoint.name_for(host)
    names = [base, *(f"{base}-{n}" for n in range(2, len(taken) + 3))]
    return next(name for name in names if name not in taken)


async def _by_name(desk: "Desk", settings: Settings, args: Args) -> Wish:
    network = await desk.network(args.target)
    point = endpoint.parse(network.url)
    options = given_settings(args, point)
    whole = {**network.settings, **options}
    secret = seal(settings, given_secret(args, point), network.id, network.url, whole)
    wish = Wish(network.name, "", secret, options)
    wanted = [(name, args.key) for name in args.rooms]
    wanted += _read_file(args.file, args.key) if args.file else []
    if not wanted:  # `join NETWORK`: try all its rooms again
        wanted = [(r.name, "") for r in await desk.wanted_rooms() if r.network == network.id]
    if not wanted:
        raise BadInput(f"which rooms? write: instabot join {network.name} ROOM…")
    for name, key in wanted:
        room = endpoint.room_name(point.scheme, name)
        wish.rooms[room] = seal_key(settings, key, network.id, network.url, whole)
    return wish


def _read_file(path: str, key: str) -> list[tuple[str, str]]:
    try:
        lines = Path(path).read_text().splitlines()
    except OSError as error:
        raise BadInput(f"--file {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise BadInput(f"--file {path} is not UTF-8 text") from None
    pairs = [line.split(maxsplit=1) for line in lines if line.strip()]
    return [(pair[0], pair[1].strip() if len(pair) > 1 else key) for pair in pairs]


def seal_key(
    settings: Settings, key: str, network: str, url: str, options: dict[str, str]
) -> str:
    """Seal a room's key; unlike a password it may travel readable, as IRC knows no other way."""
    return seal(settings, key, network, url, {**options, "allow_plaintext_password": "true"})


async def _part(desk: "Desk", settings: Settings, args: Args) -> int:
    from instabot.broker.views import pick

    rooms = await desk.wanted_rooms()
    by_network: dict[str, list[str]] = {}
    for text in args.rooms:
        room = pick(rooms, text, desk.tenant)
        by_network.setdefault(room.network, []).append(room.id)
    for network, ids in by_network.items():
        shard = shard_of(network, desk.shards)
        await desk.ask(shard, "part", {"rooms": ids}, timeout=args.timeout)
    names = {room.id: room.name for room in rooms}
    for ids in by_network.values():
        for room_id in ids:
            say(f"left     {names[room_id]} ({room_id})")
    return 0


async def _rooms(desk: "Desk", settings: Settings, args: Args) -> int:
    words = args.filter.casefold().split()
    views = [view for view in await desk.rooms() if _holds(view, words)]
    if args.json:
        document(views)
        return 0
    if not views:
        say("no room matches" if words else "no rooms yet: instabot join URL")
        return 0
    head = ("ID", "ROOM", "STATE", "SINCE", "DEPTH", "HEARD", "SAID", "LAST HEARD", "WHY")
    table(head, [_row(view) for view in views])
    return 0


def _holds(view: "RoomView", words: Sequence[str]) -> bool:
    text = f"{view.id} {view.network}/{view.name} {view.state} {view.reason} {view.runtime}"
    return all(word in text.casefold() for word in words)


def _row(view: "RoomView") -> tuple[str, ...]:
    counts = (str(view.depth), str(view.heard), str(view.said))
    why = "" if view.state == "joined" else " ".join(filter(None, (view.reason, view.text)))
    name = f"{view.network}/{view.name}"
    heard = ago(view.last_heard)
    return (view.id, name, view.state, ago(view.since), *counts, heard, why[:120])
