"""A stand-in for a backend: takes Requests off `messages` and answers as a test says."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from instabot import wire
from instabot.broker import keys
from instabot.broker.desk import Desk
from instabot.broker.redis import Client, connect
from instabot.model import Answer, Request

Reply = Callable[[Request], Sequence[Answer]]


def done(request: Request, **data: Any) -> Answer:
    return Answer(request=request.id, outcome="done", data=data)


class Clerk:
    """`heard` are the Requests so far, oldest first."""

    def __init__(
        self, client: Client, shards: int, reply: Reply, before: Sequence[bytes]
    ) -> None:
        self.heard: list[Request] = []
        self._client = client
        self._last: dict[Any, Any] = {keys.key(s, "messages"): "0-0" for s in range(shards)}
        self._reply = reply
        self._before = before

    async def work(self) -> None:
        task = asyncio.current_task()
        # Before Python 3.12 `asyncio.wait_for`, through which redis-py sends, may swallow a
        # cancellation; the count of them stays.
        while task is not None and not task.cancelling():
            answer: Any = await self._client.xread(self._last, block=500)
            for stream, rows in answer:
                for number, fields in rows:
                    self._last[stream.decode()] = number
                    message = wire.decode_message(fields[b"d"])
                    if isinstance(message, Request):
                        self.heard.append(message)
                        said = [*self._before, *map(wire.encode, self._reply(message))]
                        for line in said:
                            await self._client.publish(keys.ANSWERS, line)


@asynccontextmanager
async def clerk(desk: Desk, reply: Reply, before: Sequence[bytes] = ()) -> AsyncIterator[Clerk]:
    """Answers Requests for as long as the context lasts; `before` goes ahead of each answer."""
    client = connect(desk.url, blocking=True)
    try:
        async with asyncio.TaskGroup() as tasks:
            one = Clerk(client, desk.shards, reply, before)
            working = tasks.create_task(one.work())
            yield one
            working.cancel()
    finally:
        await client.aclose()
