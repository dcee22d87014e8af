"""The demo server's commands, as RFC 2812 has them: as much as irssi and WeeChat ask for."""

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from instabot.adapters.demo.names import fold

if TYPE_CHECKING:
    from instabot.adapters.demo.client import Client
    from instabot.adapters.demo.server import Room

Words = list[str]
Command = Callable[["Client", Words], None]

_BEFORE_LOGIN = {"CAP", "NICK", "USER", "PASS", "PING", "PONG", "QUIT"}
_CHANNEL = re.compile(r"#[^\s,\x00-\x1f:]{1,49}")
_TABLE: dict[str, tuple[int, Command]] = {}


def run(client: "Client", name: str, words: Words) -> None:
    """Carry out a command, or answer why not (421, 451, 461)."""
    least, command = _TABLE.get(name, (0, None))
    if command is None:
        client.reply("421", name[:50], "Unknown command")
    elif not client.registered and name not in _BEFORE_LOGIN:
        client.reply("451", "You have not registered")
    elif len(words) < least or (least and not words[0]):
        client.reply("461", name, "Not enough parameters")
    else:
        command(client, words)


def _command(least: int = 0) -> Callable[[Command], Command]:
    def add(function: Command) -> Command:
        _TABLE[function.__name__.strip("_").upper()] = least, function
        return function

    return add


def _room(client: "Client", name: str) -> "Room | None":
    room = client.server.rooms.get(fold(name))
    if room is None:
        client.reply("403", name, "No such channel")
    elif client not in room.members:
        client.reply("442", name, "You are not on that channel")
        return None
    return room


# -- logging in ----------------------------------------------------------------------------


@_command(1)
def cap(client: "Client", words: Words) -> None:
    verb = words[0].upper()
    if verb == "LS":
        client.negotiating = not client.registered
        client.reply("CAP", "LS", "")
    elif verb == "LIST":
        client.reply("CAP", "LIST", "")
    elif verb == "REQ":
        client.negotiating = not client.registered
        client.reply("CAP", "NAK", " ".join(words[1:]))
    elif verb == "END":
        client.negotiating = False
        client.welcome()


@_command()
def nick(client: "Client", words: Words) -> None:
    if words:
        client.rename(words[0])
    else:
        client.reply("431", "No nickname given")


@_command(4)
def user(client: "Client", words: Words) -> None:
    if client.registered:
        client.reply("462", "You may not reregister")
        return
    client.user = "~" + (re.sub(r"[^\w.-]", "", words[0])[:9] or "user")
    client.realname = words[3][:100]
    client.welcome()


@_command()
def pass_(client: "Client", words: Words) -> None:
    """Any password will do."""


@_command(1)
def ping(client: "Client", words: Words) -> None:
    client.send(f":{client.server.name} PONG {client.server.name} :{words[0]}")


@_command()
def pong(client: "Client", words: Words) -> None:
    """That it came is all."""


@_command()
def quit_(client: "Client", words: Words) -> None:
    client.hang_up(f"Quit: {words[0]}" if words else "Quit")


# -- rooms ---------------------------------------------------------------------------------


@_command(1)
def join(client: "Client", words: Words) -> None:
    if words[0] == "0":
        part(client, [",".join(room.name for room in client.server.rooms_of(client))])
        return
    for name in words[0].split(",")[:50]:
        room = client.server.enter(client, name) if _CHANNEL.fullmatch(name) else None
        if room is None:
            client.reply("403" if not _CHANNEL.fullmatch(name) else "405", name, "Cannot join")
            continue
        client.server.tell(room.members, f":{client.mask} JOIN {room.name}")
        if room.topic:
            client.reply("332", room.name, room.topic)
        names(client, [room.name])


@_command(1)
def part(client: "Client", words: Words) -> None:
    for name in filter(None, words[0].split(",")):
        room = _room(client, name)
        if room is not None:
            reason = f" :{words[1]}" if len(words) > 1 else ""
            client.server.tell(room.members, f":{client.mask} PART {room.name}{reason}")
            client.server.leave(client, room)


@_command(2)
def kick(client: "Client", words: Words) -> None:
    room = _room(client, words[0])
    if room is None:
        return
    victim = client.server.clients.get(fold(words[1]))
    if not room.members[client]:
        client.reply("482", room.name, "You are not channel operator")
    elif victim is None or victim not in room.members:
        client.reply("441", words[1], room.name, "They are not on that channel")
    else:
        reason = words[2] if len(words) > 2 else client.nick
        line = f":{client.mask} KICK {room.name} {victim.nick} :{reason}"
        client.server.tell(room.members, line)
        client.server.leave(victim, room)


@_command(1)
def topic(client: "Client", words: Words) -> None:
    room = _room(client, words[0])
    if room is None:
        return
    if len(words) > 1:
        room.topic = words[1][:300]
        client.server.tell(room.members, f":{client.mask} TOPIC {room.name} :{room.topic}")
    elif room.topic:
        client.reply("332", room.name, room.topic)
    else:
        client.reply("331", room.name, "No topic is set")


@_command()
def names(client: "Client", words: Words) -> None:
    for name in words[0].split(",") if words else []:
        room = client.server.rooms.get(fold(name))
        shown = (
            [("@" if op else "") + who.nick for who, op in room.members.items()] if room else []
        )
        for start in range(0, len(shown), 12):
            client.reply("353", "=", name, " ".join(shown[start : start + 12]))
        client.reply("366", name, "End of NAMES list")


@_command(1)
def mode(client: "Client", words: Words) -> None:
    room = client.server.rooms.get(fold(words[0]))
    if room is None:
        if fold(words[0]) == fold(client.nick):
            client.reply("221", "+")
        else:
            client.reply("403", words[0], "No such channel")
    elif len(words) == 1:
        client.reply("324", room.name, "+nt")
        client.reply("329", room.name, str(int(room.since)))
    elif words[1].lstrip("+") == "b":
        client.reply("368", room.name, "End of channel ban list")
    else:
        client.reply("482", room.name, "The demo has no modes to change")


@_command()
def who(client: "Client", words: Words) -> None:
    mask = words[0] if words else "*"
    room, one = client.server.rooms.get(fold(mask)), client.server.clients.get(fold(mask))
    found = room.members if room else {one: False} if one else {}
    for someone, op in found.items():
        words = [mask, someone.user, someone.host, client.server.name, someone.nick]
        client.reply("352", *words, "H@" if op else "H", f"0 {someone.realname}")
    client.reply("315", mask, "End of WHO list")


# -- talk ----------------------------------------------------------------------------------


@_command()
def privmsg(client: "Client", words: Words) -> None:
    _talk(client, "PRIVMSG", words)


@_command()
def notice(client: "Client", words: Words) -> None:
    _talk(client, "NOTICE", words)


def _talk(client: "Client", verb: str, words: Words) -> None:
    if len(words) < 2 or not words[1]:
        client.reply("412", "No text to send")
        return
    for target in filter(None, words[0].split(",")[:4]):
        room, one = (
            client.server.rooms.get(fold(target)),
            client.server.clients.get(fold(target)),
        )
        line = f":{client.mask} {verb} {target} :{words[1]}"
        if room is not None and client in room.members:
            client.server.tell([who for who in room.members if who is not client], line)
        elif room is not None or target.startswith("#"):
            client.reply("404", target, "Cannot send to channel")
        elif one is not None:
            one.send(line)
        else:
            client.reply("401", target, "No such nick")


# -- about others --------------------------------------------------------------------------


@_command(1)
def whois(client: "Client", words: Words) -> None:
    someone = client.server.clients.get(fold(words[-1]))
    if someone is None:
        client.reply("401", words[-1], "No such nick")
    else:
        client.reply("311", someone.nick, someone.user, someone.host, "*", someone.realname)
        rooms = " ".join(room.name for room in client.server.rooms_of(someone))
        client.reply("319", someone.nick, rooms)
        client.reply("312", someone.nick, client.server.name, "Instabot demo")
    client.reply("318", words[-1], "End of WHOIS list")


@_command()
def ison(client: "Client", words: Words) -> None:
    nicks = [
        word for given in words for word in given.split() if fold(word) in client.server.clients
    ]
    client.reply("303", " ".join(nicks))


@_command()
def userhost(client: "Client", words: Words) -> None:
    known = [client.server.clients.get(fold(word)) for word in words[:5]]
    client.reply("302", " ".join(f"{one.nick}=+{one.user}@{one.host}" for one in known if one))


@_command()
def list_(client: "Client", words: Words) -> None:
    client.reply("321", "Channel", "Users  Name")
    for room in client.server.rooms.values():
        client.reply("322", room.name, str(len(room.members)), room.topic)
    client.reply("323", "End of LIST")


@_command()
def motd(client: "Client", words: Words) -> None:
    client.reply("422", "There is no message of the day")


@_command()
def away(client: "Client", words: Words) -> None:
    client.away = words[0] if words else ""
    client.reply(
        "306" if client.away else "305", "You are away" if client.away else "You are back"
    )
