"""Making Says, and sending those that cannot wait for their message's end.

Everything that enters a queue has an id: a reply is `MESSAGE:n`, a line of progress `MESSAGE:pn`,
so that a message evaluated again after a crash says nothing twice.
"""

import time
from collections.abc import Awaitable, Callable

from instabot import wire
from instabot.broker import scripts
from instabot.broker.lease import Leases
from instabot.broker.redis import Caller, Full, persist
from instabot.broker.scripts import Caps, Entry, Item
from instabot.model import Heard, Say, room_shard

DEADLINE = 15 * 60.0
"""Seconds after which a reply is not worth saying any more."""


class Speech:
    """Says for rooms of any shard."""

    def __init__(self, client: Caller, leases: Leases, caps: Caps) -> None:
        self._client = client
        self._leases = leases
        self._caps = caps

    def say(self, number: str, room: str, text: str, request: str = "") -> Say:
        """A Say of now."""
        now = time.time()
        return Say(
            id=number, room=room, text=text, at=now, deadline=now + DEADLINE, request=request
        )

    def progress(self, entry: Entry, message: Heard) -> Callable[[str], Awaitable[None]]:
        """A function that says a line in the message's room while its command still runs.

        One for all that a message calls: it numbers the lines. It raises Fenced.
        """
        count = 0

        async def saying(text: str) -> None:
            nonlocal count
            count += 1
            number, token = f"{message.id}:p{count}", self._leases.token
            await self.send(number, entry.room, entry.tenant, text, token=token)

        return saying

    async def send(
        self, number: str, room: str, tenant: str, text: str, *, token: str = ""
    ) -> None:
        """Queue a Say by itself, once, on whatever shard its room lives; waits while it is full.

        Raises Fenced where a token is given and holds that shard no more.
        """
        shard = room_shard(room)
        item = Item(room, tenant, wire.encode(self.say(number, room, text)), ref=number)

        async def put() -> None:
            answer = await scripts.ingest(
                self._client,
                shard,
                [item],
                time.time(),
                token=token,
                role="backend",
                stream="control",
                caps=self._caps,
            )
            if answer == "F":
                raise Full(f"the control queue of shard {shard} is full")

        await persist(put)
