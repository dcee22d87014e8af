"""Dead letters: sent again after whatever killed them was mended, or dropped."""

import time
from collections.abc import Sequence

import msgspec

from instabot import wire
from instabot.backend.speech import DEADLINE
from instabot.broker import scripts
from instabot.broker.lease import Leases
from instabot.broker.redis import Caller
from instabot.broker.scripts import Item
from instabot.errors import Malformed
from instabot.model import Say


class Graveyard:
    """The stream `dead` of a shard we own."""

    def __init__(self, client: Caller, leases: Leases) -> None:
        self._client = client
        self._leases = leases

    async def redrive(self, shard: int, ids: Sequence[str]) -> int:
        """Queue letters again where they came from, each once → how many.

        A Say gets a new deadline. What the wire cannot read stays where it is.
        """
        count = 0
        for number, letter in (await scripts.letters(self._client, shard, ids)).items():
            stream = letter.get(b"q", b"").decode(errors="replace")
            data = _fresh(stream, letter.get(b"d", b""))
            if data is None:
                continue
            room, tenant = (
                letter.get(name, b"").decode(errors="replace") for name in (b"r", b"t")
            )
            item = Item(room, tenant, data, ref=f"redrive:{shard}:{number}")
            answer = await scripts.ingest(
                self._client,
                shard,
                [item],
                time.time(),
                token=self._leases.token,
                role="backend",
                stream=stream,
            )
            if answer != "F":
                count += await scripts.bury(self._client, shard, [number])
        return count

    async def drop(self, shard: int, ids: Sequence[str]) -> int:
        """Forget letters → how many there were."""
        return await scripts.bury(self._client, shard, ids)


def _fresh(stream: str, data: bytes) -> bytes | None:
    try:
        if stream == "messages":
            wire.decode_message(data)
            return data
        if stream != "control":  # somebody else's bytes
            return None
        control = wire.decode_control(data)
    except Malformed:
        return None
    if not isinstance(control, Say):
        return data
    now = time.time()
    return wire.encode(msgspec.structs.replace(control, at=now, deadline=now + DEADLINE))
