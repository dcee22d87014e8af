"""Answers `!ping N` as cheaply as Python can: the ceiling of the bench's own side.

`bot PORT ROOM…` sits in the rooms of an IRC server and answers from one regular expression;
`server PORT` poses as the server and answers itself, so that only the load's cost is left.
"""

import asyncio
import re
import sys
from typing import cast

import uvloop

from tests.chat import HOST, RawChat

ASKED = re.compile(rb" PRIVMSG (#\S+) :!ping (\d+)\r?\n")
ASKED_US = re.compile(rb"PRIVMSG (#\S+) :!ping (\d+)\r?\n")


async def bot(port: int, rooms: list[str]) -> None:
    """Sit in the rooms until the connection ends."""
    chat = await RawChat.connect(port, "echo")
    await chat.enter(rooms)

    def heard(chunk: bytes) -> None:
        asked = ASKED.findall(chunk)
        if asked:
            chat.send(b"".join([b"PRIVMSG %b :pong %b\r\n" % pair for pair in asked]))

    chat.heard = heard
    print("joined all", flush=True)
    await chat.gone.wait()


class Posing(asyncio.Protocol):
    """As much of an IRC server as a talker of `load.py` needs."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.tail = b""

    def data_received(self, data: bytes) -> None:
        end = data.rfind(b"\n") + 1
        chunk, self.tail = self.tail + data[:end], data[end:] if end else self.tail + data
        out = [b":bot PRIVMSG %b :pong %b\r\n" % pair for pair in ASKED_US.findall(chunk)]
        if not out:
            for line in chunk.split(b"\n"):
                if line.startswith(b"USER "):
                    out.append(b":posing 001 you :welcome\r\n")
                elif line.startswith(b"PING "):
                    out.append(b":posing PONG posing " + line[5:] + b"\n")
        self.transport.write(b"".join(out))


async def server(port: int) -> None:
    """Pose as an IRC server until killed."""
    loop = asyncio.get_running_loop()
    listening = await loop.create_server(Posing, HOST, port)
    await listening.serve_forever()


if __name__ == "__main__":
    if sys.argv[1] == "bot":
        uvloop.run(bot(int(sys.argv[2]), sys.argv[3:]))
    else:
        uvloop.run(server(int(sys.argv[2])))
