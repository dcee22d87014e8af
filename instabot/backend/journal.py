"""Commands with effects run under a journal in the store, so that none silently runs twice.

    get ──▶ finished   the stored reply, again
        ──▶ started    somebody died in between: say so, and ask
        ──▶ asked      the same question, again
        ──▶ nothing ─┬─▶ asked for long ago: ask before it runs
                     └─▶ begin (on disk) ▶ [confirm] ▶ run ▶ finish ▶ reply

A question carries a code; `!again CODE` runs the effect as an effect of that new message, in
the name of who confirms it, whose role is checked anew. A crash at any arrow leads, when the
message is delivered again, to one of the first three lines.
"""

import secrets
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

import structlog

from instabot.backend.arguments import Misused, bind
from instabot.backend.calling import Progress
from instabot.backend.router import Call, Router
from instabot.commands import Command, Context, Duration
from instabot.errors import Unreachable
from instabot.model import Heard
from instabot.store.journal import Entry, Journal

OLD: Final = 120.0
"""Seconds after which an effect is not run for a message without asking."""
EXPIRES: Final = 300.0
"""Seconds that a question stands."""
SHOWN: Final = 80
"""How much of a command a question repeats."""
AGAIN: Final = ("again", "again")
"""The plugin and the command that confirm."""
_ALPHABET: Final = "abcdefghjkmnpqrstuvwxyz23456789"

log = structlog.get_logger(__name__)


class Recalled(Call, frozen=True):
    """An effect called by `!again`. `confirms` is the message whose question it answers; '' once
    this message has an entry of its own."""

    confirms: str = ""


def new_code() -> str:
    """Four characters that are not mistaken for one another."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(4))


class Effects:
    """Stands before the router. `clock` gives Unix seconds.

    Every method raises Unreachable when the store is away before the effect has begun; the
    message may then be evaluated again.
    """

    def __init__(
        self,
        journal: Journal,
        *,
        clock: Callable[[], float] = time.time,
        code: Callable[[], str] = new_code,
    ) -> None:
        self._journal = journal
        self._clock = clock
        self._code = code

    async def recall(self, router: Router, call: Call, heard: Heard) -> Call:
        """For `!again CODE`, the call that it means, or one that only says why there is none.

        To be asked between `match` and the making of the Context: the call's plugin, role and
        background are those of the effect. Any other call comes back as it is.
        """
        code = call.text.strip().lower()
        if (call.plugin, call.name) != AGAIN or not code or " " in code:
            return call
        if own := await self._journal.get(heard.id):
            return _recalled(router, call, own)
        entry = None
        if code.isascii() and len(code) <= 16:
            entry = await self._journal.by_code(heard.tenant, heard.room, code)
        if entry is None:
            return Call(call.handler, hint=f"Nothing here waits for the code {code[:20]}.")
        if entry.state != "asked":
            return Call(call.handler, hint=f"The code {code} has been used already.")
        if self._clock() - entry.asked_at > EXPIRES:
            expired = f"The code {code} has expired; write the command again."
            return Call(call.handler, hint=expired)
        return _recalled(router, call, entry, confirms=entry.message)

    async def answer(
        self,
        router: Router,
        call: Call,
        ctx: Context,
        progress: Progress | None = None,
        *,
        dry: bool = False,
    ) -> str:
        """As `Router.answer`, for any call; those with an effect go by the journal.

        `dry` refuses effects (a replay must not deploy).
        """
        if not call.effect or not _would_run(call, ctx):
            return await router.answer(call, ctx, progress)
        if dry:
            return f"{_what(call.name, call.text, ctx)} has effects; a dry run leaves it out."
        now = self._clock()
        entry = await self._journal.get(ctx.message.id)
        if entry is None and now - ctx.message.at > OLD:
            entry = await self._ask(call.name, call.text, ctx, now)
        if entry is None:
            entry = await self._begin(call, ctx, now)
        if not entry.fresh:
            return await self._known(entry, ctx, now)
        if isinstance(call, Recalled) and not await self._confirmed(call, now):
            reply = "That code has been used already."
        else:
            reply = await router.answer(call, ctx, progress)
        await self._finish(call, ctx, reply)
        return reply

    async def _known(self, entry: Entry, ctx: Context, now: float) -> str:
        if entry.state == "asked" and now - entry.asked_at > EXPIRES:
            # Asked, but perhaps never said. Starting it ends the old code; nothing runs.
            await self._journal.confirm(entry.message, at=entry.started)
            entry = await self._ask(entry.command, entry.text, ctx, now)
        elif entry.state == "started":
            entry = await self._ask(entry.command, entry.text, ctx, now)
        return entry.reply if entry.state == "finished" else _question(entry, ctx, now)

    async def _begin(self, call: Call, ctx: Context, now: float) -> Entry:
        heard = ctx.message
        return await self._journal.begin(
            heard.id, room=heard.room, command=call.name, text=call.text, at=now,
            sender=heard.sender, account=heard.account, tenant=heard.tenant,
        )  # fmt: skip

    async def _ask(self, command: str, text: str, ctx: Context, now: float) -> Entry:
        heard = ctx.message
        return await self._journal.ask(
            heard.id, self._code(), room=heard.room, command=command, text=text, at=now,
            sender=heard.sender, account=heard.account, tenant=heard.tenant,
        )  # fmt: skip

    async def _confirmed(self, call: Recalled, now: float) -> bool:
        """Use up the code. False where another message was quicker."""
        return not call.confirms or await self._journal.confirm(call.confirms, at=now)

    async def _finish(self, call: Call, ctx: Context, reply: str) -> None:
        """Keep the reply. Where that fails it is still said: should the message come again, the
        entry says `started`, and nothing runs unasked."""
        try:
            await self._journal.finish(ctx.message.id, reply, at=self._clock())
            if isinstance(call, Recalled) and call.confirms:
                await self._journal.finish(call.confirms, reply, at=self._clock())
        except Unreachable as error:
            log.warning(
                "an effect's reply was not kept", message=ctx.message.id, why=str(error)
            )


def _would_run(call: Call, ctx: Context) -> bool:
    """Whether the router would get as far as the plugin: nobody is asked for less."""
    if call.hint or (call.role and call.role not in ctx.roles):
        return False
    try:
        if isinstance(call.handler, Command):
            bind(call.handler, call.text)
    except Misused:
        return False
    return True


def _recalled(router: Router, call: Call, entry: Entry, confirms: str = "") -> Call:
    for command in router.commands:
        if command.name == entry.command:
            return Recalled(command, entry.text, confirms=confirms)
    return Call(call.handler, hint=f"There is no command {entry.command} any more.")


def _question(entry: Entry, ctx: Context, now: float) -> str:
    what = _what(entry.command, entry.text, ctx)
    answer = f"{ctx.prefix}again {entry.code}"
    until = f"(within {Duration(EXPIRES)})"
    if not entry.started:
        ago = Duration(max(0.0, now - ctx.message.at))
        return f"{what} was asked by {entry.sender} {ago} ago; run it? {answer} {until}"
    began = datetime.fromtimestamp(entry.started, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    return (
        f"{what}, asked by {entry.sender}, was interrupted; it began at {began}, and whether it "
        f"was done is unknown. {answer} runs it again {until}"
    )


def _what(command: str, text: str, ctx: Context) -> str:
    line = " ".join(f"{ctx.prefix}{command} {text}".split())
    return line if len(line) <= SHOWN else line[: SHOWN - 1] + "…"
