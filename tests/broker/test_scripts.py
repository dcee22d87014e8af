"""A property of all scripts together: the counters of `depth` are what Redis' own books say."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from instabot.broker import scripts
from instabot.broker.keys import key
from instabot.broker.redis import pairs
from instabot.broker.scripts import Caps, Dead, Done, Entry, Item, Said
from tests.contracts.queues import Queues, queues

ROOMS = (("0.a", "ann"), ("0.b", "ann"), ("0.c", "bob"))
CAPS = Caps(shard=12, tenant=8, log=14, room=3)

Step = tuple[str, int, int]
Repeatable = Callable[[], Awaitable[object]]


class Story:
    """Runs steps, and knows what was fetched and not finished; `a` and `b` choose among it."""

    def __init__(self, q: Queues) -> None:
        self.q = q
        self.flying: dict[str, list[Entry]] = {"backend": [], "log": [], "runtime": []}
        self.last: Repeatable | None = None
        self.counter = 0
        self.finished = Counter[str]()

    async def step(self, name: str, a: int, b: int) -> None:
        """One step. What may be repeated after a lost answer is kept for `retry`."""
        if name == "retry":
            if self.last:
                await self.last()
            return
        if name in FINISHING:
            # So that there is something to finish.
            for group in range(3):
                await self._fetch(group, 4)()
        call = getattr(self, f"_{name}")(a, b)
        if call:
            self.last = call
            await call()

    def _take(self, group: str, a: int) -> list[Entry]:
        mine = self.flying[group]
        taken = mine[a % max(1, len(mine)) :][:3]
        self.finished[group] += len(taken)
        self.flying[group] = [entry for entry in mine if entry not in taken]
        return taken

    def _ingest(self, a: int, b: int) -> Repeatable:
        items = []
        for n in range(1 + a % 4):
            room, tenant = ROOMS[(a + b + n) % 3]
            # Numbers now and then go back: those are duplicates.
            self.counter += 1 if b % 5 else -1
            ref = f"ref{b % 7}" if b % 3 == 0 else ""
            items.append(Item(room, tenant, b"x", f"net{a % 2}", self.counter, ref))
        return lambda: self.q.ingest(items, CAPS)

    def _say(self, a: int, b: int) -> Repeatable:
        room, tenant = ROOMS[a % 3]
        item = Item(room, tenant, b"say", ref=f"say{b % 20}")
        return lambda: self.q.ingest([item], CAPS, "control")

    def _fetch(self, a: int, b: int) -> Repeatable:
        group = ("backend", "log", "runtime")[a % 3]

        async def fetch() -> None:
            stream = "control" if group == "runtime" else "messages"
            if await self.q.raw("EXISTS", key(0, stream)) and await self._has(stream, group):
                self.flying[group] += await self.q.fetch(group, 1 + b % 5)

        return fetch

    async def _has(self, stream: str, group: str) -> bool:
        rows = await self.q.raw("XINFO", "GROUPS", key(0, stream))
        return any((b"name", group.encode()) in pairs(row) for row in rows)

    def _ack(self, a: int, b: int) -> Repeatable:
        group = ("backend", "log", "runtime")[b % 3]
        entries = self._take(group, a)
        return lambda: self.q.ack(entries, group)

    def _commit(self, a: int, b: int) -> Repeatable:
        batch = []
        for n, entry in enumerate(self._take("backend", a)):
            replies = [(*ROOMS[(b + i) % 3], b"reply") for i in range((b + n) % 4)]
            batch.append(Done(entry, replies, [b"answer"] * (b % 2)))
        return lambda: scripts.commit(self.q.client, 0, self.q.backend, batch, CAPS.room)

    def _confirm(self, a: int, b: int) -> Repeatable:
        batch = [Said(entry, b"own" * (b % 2)) for entry in self._take("runtime", a)]
        return lambda: scripts.confirm(self.q.client, 0, self.q.runtime, batch)

    def _dead(self, a: int, b: int) -> Repeatable:
        group = ("backend", "runtime")[b % 2]
        role = group
        where = ("control" if b % 2 else "messages", group, role, getattr(self.q, role))
        batch = [Dead(entry, "why") for entry in self._take(group, a)]
        return lambda: scripts.dead(self.q.client, 0, *where, batch)

    def _switch(self, a: int, _: int) -> Repeatable:
        wanted = ("backend", "log") if a % 2 else ("backend",)
        return lambda: self.q.groups(*wanted)

    def _lose(self, a: int, b: int) -> Repeatable:
        """A group vanishes, and whoever notices mends it."""
        stream, group = (("messages", "backend"), ("control", "runtime"))[a % 2]
        known = self.flying[group][:1]
        last = known[0].id if known and b % 2 else b""

        async def lose() -> None:
            if await self.q.raw("EXISTS", key(0, stream)):
                await self.q.raw("XGROUP", "DESTROY", key(0, stream), group)
                token = getattr(self.q, group)
                await scripts.groups(self.q.client, 0, stream, group, token, [(group, last)])

        return lose


FINISHING = ("ack", "commit", "confirm", "dead")
STEPS = ["ingest", "ingest", "say", "fetch", "fetch", "ack", "commit", "confirm", "dead"]
STEPS += ["retry", "switch", "lose"]
steps = st.tuples(st.sampled_from(STEPS), st.integers(0, 60), st.integers(0, 60))


@settings(max_examples=150, deadline=None)
@given(st.lists(steps, min_size=25, max_size=50))
def test_depth_is_exact_after_every_step_of_any_story(story: list[Step]) -> None:
    asyncio.run(tell(story))


async def tell(story: list[Step]) -> Counter[str]:
    async with queues("fakeredis") as q:
        await q.groups("backend", "log")
        teller = Story(q)
        for step in story:
            await teller.step(*step)
            for letter in "mlc":
                assert await q.depth(letter) == await q.true_depth(letter), (step, letter)
        return teller.finished


def test_a_story_of_every_step_finishes_entries_of_every_group() -> None:
    """The property above says nothing about entries that no story gets to."""
    finished = asyncio.run(
        tell([(name, n, n + i) for n in range(4) for i, name in enumerate(STEPS)])
    )
    assert min(finished[group] for group in ("backend", "log", "runtime")) >= 1
