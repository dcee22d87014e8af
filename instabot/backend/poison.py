"""What a dead backend left: perhaps one of these messages killed it.

A message that the watchdog blamed twice is a dead letter. A message that was delivered
suspiciously often is tried alone, and counted first: if it kills again, the count is there.
"""

import time
from collections.abc import Sequence

from instabot.backend.ends import Ends
from instabot.backend.evaluate import Evaluator
from instabot.broker import blame
from instabot.broker.redis import Caller
from instabot.broker.scripts import Dead, Entry


class Poison:
    """Stands before `Evaluator.deliver` for a shard's history."""

    def __init__(
        self, client: Caller, evaluator: Evaluator, ends: Ends, culprit: str = ""
    ) -> None:
        """`culprit` is the plugin that held up our last run, where only that is known."""
        self._culprit = culprit
        self._accused: set[tuple[int, bytes]] = set()
        self._born = time.time()
        self._client = client
        self._evaluator = evaluator
        self._ends = ends

    async def inspect(self, shard: int, entries: Sequence[Entry]) -> list[Entry]:
        """Deal with culprits and suspects → the entries to deliver as usual."""
        ids = [entry.id for entry in entries]
        await self._accuse(entries)
        charged = await blame.charged(self._client, shard, ids)
        often = await blame.suspects(self._client, shard, "messages", "backend", ids)
        usual: list[Entry] = []
        for entry in entries:
            count, why = charged.get(entry.id, (0, ""))
            if count >= blame.TWICE:
                self._ends.commit(Dead(entry, f"{why or self._guess(entry)}, {count} times"))
            elif entry.id in often and entry.data is not None:
                await self._try(entry)
            else:
                usual.append(entry)
        return usual

    async def _try(self, entry: Entry) -> None:
        """Evaluate a suspect alone, to its very end in Redis: should the next one kill us, this
        one must not be tried, and charged, again."""
        await blame.charge(self._client, entry.shard, entry.id)
        await self._evaluator.one(entry, alone=True)
        await self._ends.idle()
        await blame.acquit(self._client, entry.shard, [entry.id])

    async def _accuse(self, entries: Sequence[Entry]) -> None:
        """Charge those that call the culprit; once, for the one end that we know of."""
        for entry in entries if self._culprit else ():
            known = (entry.shard, entry.id)
            if known in self._accused or int(entry.id.partition(b"-")[0]) > self._born * 1000:
                continue
            if self._evaluator.calls_plugin(entry, self._culprit):
                await blame.charge(self._client, entry.shard, entry.id)
                self._accused.add(known)

    def _guess(self, entry: Entry) -> str:
        """Who did it, where nobody saw it: it died without a word."""
        plugins = "+".join(sorted(self._evaluator.plugins_of(entry)))
        return f"plugin {plugins} ended the backend" if plugins else "the backend died of it"
