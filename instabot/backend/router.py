"""From a line to the plugin's function it calls, and from what that returns to a reply.

`match` and `listeners` run for every line of every room: they look, and touch nothing.
`answer` is the one place where a plugin's code runs, and the one that keeps its errors in.
"""

import difflib
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from instabot.backend import calling
from instabot.backend.arguments import shorten
from instabot.commands import Command, Context, Handler, Listener, Plugin, Timer
from instabot.errors import BadInput
from instabot.model import Heard, Hook

PREFIX: Final = "!"
"""What commands begin with in a room that set nothing else."""


class Call(msgspec.Struct, frozen=True):
    """A function to be called: whose, on what terms, with which text or arguments.

    A call with a `hint` calls nothing: the hint is the answer.
    """

    handler: Handler
    text: str = ""
    args: tuple[Any, ...] = ()
    hint: str = ""

    @property
    def plugin(self) -> str:
        """Whose memory the call works with."""
        return self.handler.plugin

    @property
    def name(self) -> str:
        """The command's name, or the function's."""
        return self.handler.name

    @property
    def role(self) -> str:
        """The role it demands, or ''."""
        return self.handler.role

    @property
    def effect(self) -> bool:
        """Whether it belongs under the journal."""
        return self.handler.effect

    @property
    def background(self) -> bool:
        """Whether the room goes on meanwhile."""
        return self.handler.background


_NOBODY: Final = Handler(plugin="help", name="hint", run=lambda: None)


class Router:
    """All plugins' functions, by what calls them. Immutable: a reload makes a new one.

    Raises BadInput when two plugins claim one name. `raise_errors` is for tests: whatever a
    plugin raises then comes out of `answer` instead of becoming a line in the room.
    """

    def __init__(self, plugins: Iterable[Plugin], *, raise_errors: bool = False) -> None:
        self.plugins: dict[str, Plugin] = {}
        self._commands: dict[str, Command] = {}
        for plugin in plugins:
            self._add(plugin)
        everyone = self.plugins.values()
        self._listeners = tuple(one for plugin in everyone for one in plugin.listeners)
        self._hooks = tuple(one for plugin in everyone for one in plugin.hooks)
        self.timers: tuple[Timer, ...] = tuple(one for p in everyone for one in p.timers)
        self._raise_errors = raise_errors

    def _add(self, plugin: Plugin) -> None:
        if plugin.name in self.plugins:
            raise BadInput(f"two plugins are named “{plugin.name}”: rename or remove one")
        self.plugins[plugin.name] = plugin
        for name, command in plugin.commands.items():
            other = self._commands.setdefault(name, command)
            if other is not command:
                raise BadInput(
                    f"plugins “{other.plugin}” and “{plugin.name}” both have a command "
                    f"“{name}”: rename one, or remove one plugin"
                )

    @property
    def commands(self) -> Sequence[Command]:
        """Every command, sorted by plugin and name: what `!help` lists."""
        return sorted(self._commands.values(), key=lambda one: (one.plugin, one.name))

    def match(self, heard: Heard, prefix: str = PREFIX) -> Call | None:
        """The command that a line calls, or None for chatter.

        Only what others say now can be a command: not the bot's own lines, not late ones, and
        not notices, which a bot must never answer (RFC 1459 §4.4.2). An unknown command is
        silence, or a hint where the bot was addressed by name.
        """
        text = heard.text
        if prefix and text.startswith(prefix):
            start = len(prefix)
            addressed = False
        else:
            start = len(heard.me)
            if not start or text[start : start + 1] not in {":", ","}:
                return None
            if text[:start].casefold() != heard.me.casefold():
                return None
            addressed = True
        if heard.own or heard.late or heard.kind != "say":
            return None
        if not addressed:
            return self._lookup(text[start:])
        body = text[start + 1 :].lstrip()
        if prefix and body.startswith(prefix):
            body = body[len(prefix) :].lstrip()
        return self._lookup(body) or Call(_NOBODY, hint=self._hint(body, prefix))

    def listeners(self, heard: Heard) -> Sequence[Call]:
        """The listeners that want a line. The same lines are left out as in `match`."""
        if not self._listeners or heard.own or heard.late or heard.kind == "notice":
            return ()
        return [call for one in self._listeners if (call := _wants(one, heard))]

    def hooks(self, hook: Hook) -> Sequence[Call]:
        """Who takes a webhook's delivery."""
        return [Call(one, args=(hook,)) for one in self._hooks if one.source == hook.source]

    async def answer(
        self, call: Call, ctx: Context, progress: calling.Progress | None = None
    ) -> str:
        """Run a call to its end and return its last reply, '' for none.

        A function that yields says its lines while it still runs: each is awaited as
        `progress(text)`, in order; without `progress` they are part of the reply. Whatever a
        plugin raises ends here as a line in the room; only the cancelling of this task, and
        what `progress` raises, goes through.
        Not an async iterator, because the caller must know which text is the last: that one
        is committed together with the ack. Nothing here cuts long replies: see replies.fit.
        """
        if call.hint:
            return call.hint
        if call.role and call.role not in ctx.roles:
            return _refusal(call, ctx)
        return await calling.run(call.handler, ctx, call.text, call.args, progress,
                                 self._raise_errors)  # fmt: skip

    def _lookup(self, body: str) -> Call | None:
        """`body` begins with the command's name; one space after it belongs to nobody."""
        name, _, rest = body.partition(" ")
        command = self._commands.get(name)
        if command is not None:
            return Call(command, rest)
        words = body.split(None, 1)
        if not words or not body.startswith(words[0]):
            return None
        command = self._commands.get(words[0].casefold())
        return Call(command, body[len(words[0]) + 1 :]) if command else None

    def _hint(self, body: str, prefix: str) -> str:
        word = (body.split(None, 1) or [""])[0]
        if not word:
            return f"Yes? {prefix}help lists what I can do."
        near = difflib.get_close_matches(word[:32].casefold(), self._commands, 1)
        better = f"did you mean {prefix}{near[0]}? " if near else ""
        return f"I know no command “{shorten(word)}”; {better}{prefix}help lists them."


def _wants(listener: Listener, heard: Heard) -> Call | None:
    if listener.pattern is None:
        return Call(listener)
    match = listener.pattern.search(heard.text)
    if match is None:
        return None
    return Call(listener, args=(match,) if listener.takes_match else ())


def _refusal(call: Call, ctx: Context) -> str:
    what = f"{ctx.prefix}{call.name} needs the role “{call.role}”"
    network = ctx.room.network.partition("/")[2] or ctx.room.network
    if not ctx.account:
        return f"{what}, and I do not know you: log in to your account on {network} first"
    grant = f"instabot role grant {network} {ctx.account} {call.role}"
    return f"{what}; an operator grants it to you with: {grant}"
