"""The listening socket, and what all clients of the demo server share."""

import asyncio
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from instabot.adapters.demo.client import Client
from instabot.adapters.demo.names import fold

NAME = "demo.instabot"
MAX_CLIENTS = 500
MAX_ROOMS = 1000


@dataclass
class Room:
    """A channel: its first member is its operator. Gone when the last one leaves.

    `since` is when it was made, in Unix seconds.
    """

    name: str
    topic: str = ""
    members: dict[Client, bool] = field(default_factory=dict)
    since: float = field(default_factory=time.time)


class Server:
    """All state: clients by folded nick, rooms by folded name. One event loop owns it."""

    name = NAME

    def __init__(self) -> None:
        self.clients: dict[str, Client] = {}
        self.rooms: dict[str, Room] = {}
        self.connections: set[Client] = set()
        self._listener: asyncio.Server | None = None

    @property
    def port(self) -> int:
        """The TCP port it listens on. Raises RuntimeError when it does not."""
        if self._listener is None or not self._listener.sockets:
            raise RuntimeError("the demo server does not listen")
        port: int = self._listener.sockets[0].getsockname()[1]
        return port

    async def start(self, host: str, port: int) -> None:
        """Listen. Raises OSError where the port is taken."""
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(lambda: Client(self), host, port)

    async def forever(self) -> None:
        """Serve until cancelled."""
        if self._listener is not None:
            await self._listener.serve_forever()

    async def close(self) -> None:
        """Stop listening and hang up on everybody."""
        if self._listener is None:
            return
        self._listener.close()
        for client in list(self.connections):
            client.hang_up("the server stops")
        await self._listener.wait_closed()

    # -- what clients do -----------------------------------------------------------------

    def admit(self, client: Client) -> bool:
        """Count a new connection; False where there are too many."""
        self.connections.add(client)
        return len(self.connections) <= MAX_CLIENTS

    def forget(self, client: Client, reason: str) -> None:
        """A client is gone: those who shared a room with it see its QUIT."""
        self.connections.discard(client)
        if self.clients.get(fold(client.nick)) is client:
            del self.clients[fold(client.nick)]
        self.tell(self.neighbours(client), f":{client.mask} QUIT :{reason}")
        for room in self.rooms_of(client):
            self.leave(client, room)

    def enter(self, client: Client, name: str) -> Room | None:
        """Put a client into a room, made when it is new; None where there are too many."""
        room = self.rooms.get(fold(name))
        if room is None:
            if len(self.rooms) >= MAX_ROOMS:
                return None
            room = self.rooms[fold(name)] = Room(name)
        room.members.setdefault(client, not room.members)
        return room

    def leave(self, client: Client, room: Room) -> None:
        """Take a client out of a room."""
        room.members.pop(client, None)
        if not room.members:
            self.rooms.pop(fold(room.name), None)

    def rename(self, client: Client, nick: str) -> None:
        """Give a client another nick, which must be free."""
        if self.clients.get(fold(client.nick)) is client:
            del self.clients[fold(client.nick)]
        client.nick = nick
        self.clients[fold(nick)] = client

    def rooms_of(self, client: Client) -> list[Room]:
        """The rooms that a client is in."""
        return [room for room in self.rooms.values() if client in room.members]

    def neighbours(self, client: Client) -> set[Client]:
        """Everybody who shares a room with a client."""
        return {member for room in self.rooms_of(client) for member in room.members} - {client}

    def tell(self, clients: Iterable[Client], line: str) -> None:
        """Send one line to several clients."""
        for client in clients:
            client.send(line)


async def serve(host: str = "127.0.0.1", port: int = 0) -> Server:
    """Start a demo server; port 0 takes a free one. Raises OSError."""
    server = Server()
    await server.start(host, port)
    return server
