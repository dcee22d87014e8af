"""`up --demo`: a local IRC server with a room `#demo`, and the bot in it."""

import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

from instabot.broker.desk import Desk
from instabot.broker.joining import wait_joined
from instabot.errors import InstabotError
from instabot.model import network_id, shard_of

HOST = "127.0.0.1"
ROOM = "#demo"
NETWORK = "demo"
USUAL_PORT = 6667


class Demo:
    """The demo's port and the bot's way into its room."""

    def __init__(self, data: Path, say: Callable[[str], None]) -> None:
        self.port = choose_port(data / "demo-port")
        self._say = say

    @property
    def url(self) -> str:
        return f"irc://{HOST}:{self.port}"

    def arguments(self) -> list[str]:
        """The command line of the IRC server."""
        return [sys.executable, "-P", "-m", "instabot.demo_server", str(self.port)]

    async def join(self, redis: str, shards: int) -> None:
        """Have the bot join, and say how to talk to it. Raises InstabotError."""
        async with Desk.open(redis, shards) as desk:
            shard = shard_of(network_id(desk.tenant, NETWORK), desk.shards)
            asked = time.time()
            settings = {"rate": "0"}
            network = {"name": NETWORK, "url": self.url, "secret": "", "settings": settings}
            await desk.ask(shard, "network.put", network, timeout=30)
            join = {
                "network": NETWORK,
                "url": "",
                "secret": "",
                "settings": {},
                "rooms": [{"name": ROOM, "key": ""}],
            }
            answer = await desk.ask(shard, "join", join, timeout=30)
            rooms = list(answer.data["rooms"].values())
            views = await wait_joined(desk, rooms, asked, 60)
        if not views or views[0].state != "joined":
            why = f"{views[0].reason}: {views[0].text}" if views else "its room is unknown"
            raise InstabotError(f"the bot is not in {ROOM} ({why})")
        self._explain(views[0].me)

    def _explain(self, me: str) -> None:
        self._say(f"{me or 'The bot'} sits in {ROOM}. Talk to it with an IRC client:")
        self._say(f"    irssi -c {HOST} -p {self.port} -n you    and there: /join {ROOM}")
        self._say(f"    weechat irc://you@{HOST}:{self.port}/{ROOM}")
        self._say("and say: !help")
        self._say(f"{self.url}/{ROOM}")


def choose_port(note: Path) -> int:
    """The port of the last time if it is free, else 6667, else a free one; written down."""
    try:
        last = int(note.read_text())
    except (OSError, ValueError):
        last = 0
    for wanted in [port for port in (last, USUAL_PORT) if 0 < port < 65536] + [0]:
        if port := _free(wanted):
            note.write_text(f"{port}\n")
            return port
    raise InstabotError("no port is free on the loopback interface")


def _free(port: int) -> int:
    """The port itself, or any for 0, if it can be bound now; else 0."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return 0
        return int(probe.getsockname()[1])
