"""The first Instabot, transliterated: a connection per room, BLPOP and RPUSH one by one."""

import asyncio
import json
import sys
from typing import Any

import uvloop
from redis.asyncio import Redis


async def sit(
    room: str, reader: Any, writer: Any, rooms: dict[str, Any], outgoing: Any
) -> None:
    while line := await reader.readline():
        if line.startswith(b"PING"):
            writer.write(line.replace(b"PING", b"PONG", 1))
        elif b" PRIVMSG #" in line:
            text = line.decode(errors="replace").partition(" :")[2].rstrip("\r\n")
            outgoing.put_nowait(json.dumps({"id": room, "text": text}))
        elif b" 001 " in line:
            writer.write(f"JOIN {room}\r\n".encode())
        elif b" 366 " in line:
            rooms[room] = writer
            print("joined", len(rooms), flush=True)


async def push(redis: Any, outgoing: Any) -> None:
    while True:
        await redis.rpush("messages", await outgoing.get())


async def pop(redis: Any, rooms: dict[str, Any]) -> None:
    while True:
        control = json.loads((await redis.blpop("control"))[1])
        rooms[control["id"]].write(f"PRIVMSG {control['id']} :{control['text']}\r\n".encode())


async def runtime(redis: Any, port: str, *names: str) -> None:
    rooms, outgoing = dict[str, Any](), asyncio.Queue[str]()
    async with asyncio.TaskGroup() as group:
        group.create_task(push(redis, outgoing))
        group.create_task(pop(redis, rooms))
        for number, room in enumerate(names):
            reader, writer = await asyncio.open_connection("127.0.0.1", int(port))
            writer.write(f"NICK seed{number}\r\nUSER seed 0 * :seed\r\n".encode())
            group.create_task(sit(room, reader, writer, rooms, outgoing))


async def backend(redis: Any) -> None:
    while True:
        message = json.loads((await redis.blpop("messages"))[1])
        if message["text"].startswith("!ping"):
            reply = {"id": message["id"], "text": "pong" + message["text"][5:]}
            await redis.rpush("control", json.dumps(reply))


if __name__ == "__main__":
    client = Redis.from_url(sys.argv[2], socket_timeout=None)
    part = runtime(client, *sys.argv[3:]) if sys.argv[1] == "runtime" else backend(client)
    uvloop.run(part)
