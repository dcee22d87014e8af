"""For plugin authors: a room in memory, and a bot in it that answers at once.

    from dice import plugin

    async def test_a_die_has_six_sides(bot):
        await bot.hears("!roll")
        assert bot.said[0].startswith("alice rolls ")

The fixture `bot` comes with Instabot (pytest's plugin `instabot`): it holds the plugins that
the test's module names, beside our own. Without pytest: `bot = Bot(plugin)`.
Lines go through the real wire, router and page cutter; what a plugin raises, other than
CommandError, comes out of `hears`, so the test shows the plugin's own traceback.
"""

# Imports at the top are few: pytest loads this file in every run on the machine.
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal

import pytest

if TYPE_CHECKING:
    from instabot.backend.router import Call
    from instabot.commands import Command, Context, Memory, Plugin, Status

TENANT = "local"
NETWORK = "local/test"


class InMemory:
    """A plugin's memory of one room, in a dict: `commands.Memory` without a store."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}

    async def get(self, key: str) -> bytes | None:
        """What was put under `key` last, or None."""
        return self.kept.get(key)

    async def put(self, key: str, value: bytes) -> None:
        """Keep `value` under `key`."""
        self.kept[key] = bytes(value)

    async def delete(self, key: str) -> None:
        """Forget `key`."""
        self.kept.pop(key, None)


class Bot:
    """A bot with some plugins, and rooms that come into being when something is said there.

    `said` is every line said so far, in all rooms. `prefix` and `me` are as in a real room.
    Raises BadInput for plugins that clash.
    """

    def __init__(self, *plugins: "Plugin", prefix: str = "!", me: str = "instabot") -> None:
        from instabot.backend.router import Router

        self.router = Router(_with_ours(plugins), raise_errors=True)
        self.prefix = prefix
        self.me = me
        self.said: list[str] = []
        self._memories: dict[tuple[str, str], InMemory] = {}
        self._count = 0

    async def hears(
        self, text: str, *, sender: str = "alice", account: str = "",
        roles: Iterable[str] = (), room: str = "#test",
        kind: Literal["say", "action", "notice"] = "say", id: str = "",
    ) -> list[str]:  # fmt: skip
        """Someone says a line; returns what is said because of it, progress included.

        An `id` said before is the same message again, as after a crash of the backend.
        """
        from instabot.model import Heard

        heard = Heard(
            id=id or self._next_id(room), room=room, tenant=TENANT, sender=sender, text=text,
            at=0.0, kind=kind, account=account, me=self.me,
        )  # fmt: skip
        heard = _through_the_wire(heard)
        call = self.router.match(heard, self.prefix)
        calls = [*([call] if call else ()), *self.router.listeners(heard)]
        return await self._run(calls, heard, roles)

    async def receives(
        self, source: str, body: str = "", *, headers: dict[str, str] | None = None,
        room: str = "#test",
    ) -> list[str]:  # fmt: skip
        """A webhook `source` delivers `body`; returns what is said because of it."""
        from instabot.model import Hook

        hook = Hook(id=self._next_id(room), room=room, tenant=TENANT, source=source,
                    headers=headers or {}, body=body, at=0.0)  # fmt: skip
        hook = _through_the_wire(hook)
        return await self._run(self.router.hooks(hook), self._stand_in(source, room))

    async def passes(self, seconds: float, *, room: str = "#test") -> list[str]:
        """Time goes by: each timer runs as often as its period fits into `seconds`."""
        from instabot.backend.router import Call

        said: list[str] = []
        for timer in self.router.timers:
            for _ in range(int(seconds // timer.seconds)):
                said += await self._run([Call(timer)], self._stand_in(timer.plugin, room))
        return said

    def memory(self, plugin: str, room: str = "#test") -> InMemory:
        """What a plugin keeps of a room."""
        return self._memories.setdefault((plugin, room), InMemory())

    def commands(self) -> "Sequence[Command]":
        """Every command there is; part of the helm."""
        return self.router.commands

    async def status(self, tenant: str) -> "Status":
        """One room, all is well; part of the helm."""
        from instabot.commands import Status
        from instabot.version import __version__

        return Status(version=__version__, up=60.0, joined=1)

    async def _run(
        self, calls: "Sequence[Call]", heard: Any, roles: Iterable[str] = ()
    ) -> list[str]:
        from instabot.backend.replies import fit
        from instabot.commands import pages

        before = len(self.said)
        for call in calls:
            ctx = self._context(heard, self.memory(call.plugin, heard.room), roles)

            async def progress(text: str, ctx: "Context" = ctx) -> None:
                self._say(await fit(text, ctx, InMemory()), ctx)

            text = await self.router.answer(call, ctx, progress)
            self._say(await fit(text, ctx, self.memory(pages.OWNER, heard.room)), ctx)
        return self.said[before:]

    def _context(self, heard: Any, memory: "Memory", roles: Iterable[str]) -> "Context":
        import structlog

        from instabot.commands import Context
        from instabot.model import Room

        room = Room(id=heard.room, network=NETWORK, tenant=TENANT, name=heard.room)
        return Context(
            message=heard, room=room, memory=memory, helm=self, roles=frozenset(roles),
            log=structlog.get_logger("instabot.testing"), prefix=self.prefix,
        )  # fmt: skip

    def _say(self, text: str, ctx: "Context") -> None:
        from instabot import wire
        from instabot.model import Say

        if not text:
            return
        say = Say(id=ctx.message.id, room=ctx.room.id, text=text, at=0.0)
        read = wire.decode_control(wire.encode(say))
        assert isinstance(read, Say)  # noqa: S101 (a test helper)
        self.said.extend(read.text.split("\n"))

    def _stand_in(self, sender: str, room: str) -> Any:
        from instabot.model import Heard

        return Heard(id=self._next_id(room), room=room, tenant=TENANT, sender=sender, text="",
                     at=0.0, me=self.me)  # fmt: skip

    def _next_id(self, room: str) -> str:
        self._count += 1
        return f"{NETWORK}|{room}|0:{self._count}"


def _through_the_wire(message: Any) -> Any:
    from instabot import wire

    return wire.decode_message(wire.encode(message))


def _with_ours(plugins: "Iterable[Plugin]") -> "list[Plugin]":
    """The given plugins, and of our own those that they do not replace."""
    from instabot.plugins import help as help_
    from instabot.plugins import more, ping, status

    given = list(plugins)
    taken = {name for plugin in given for name in (plugin.name, *plugin.commands)}
    ours = [module.plugin for module in (help_, more, ping, status)]
    return given + [plugin for plugin in ours if plugin.name not in taken]


@pytest.fixture
def bot(request: pytest.FixtureRequest) -> Bot:
    """A bot with every Plugin that the test's module has a name for."""
    from instabot.commands import Plugin

    found: list[Plugin] = []
    for value in vars(request.module).values():
        if isinstance(value, Plugin) and value not in found:
            found.append(value)
    return Bot(*found)
