"""What a dead backend left: perhaps one of these messages killed it.

A message that the watchdog blamed twice is a dead letter. A message that was delivered
suspiciously often is tried alone, and counted first: if it kills again, the count is there.
"""

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
        self._client = client
        self._evaluator = evaluator
        self._ends = ends

    async def inspect(self, shard: int, entries: Sequence[Entry]) -> list[Entry]:
        """Deal with culprits and suspects → the entries to deliver as usual."""
        ids = [entry.id for entry in entries]
        for entry in entries if self._culprit else ():
            if self._evaluator.calls_plugin(entry, self._culprit):
                await blame.charge(self._client, shard, entry.id)
        charged = await blame.charged(self._client, shard, ids)
        often = await blame.suspects(self._client, shard, "messages", "backend", ids)
        usual: list[Entry] = []
        survived: list[bytes] = []
        for entry in entries:
            count, why = charged.get(entry.id, (0, ""))
            if count >= blame.TWICE:
                reason = why or "the backend died of it"
                self._ends.commit(Dead(entry, f"{reason}, {count} times"))
            elif entry.id in often and entry.data is not None:
                await blame.charge(self._client, shard, entry.id)
                await self._evaluator.one(entry)
                survived.append(entry.id)
            else:
                usual.append(entry)
        await blame.acquit(self._client, shard, survived)
        return usual
