"""`!help`: what there is, from the commands' own signatures and docstrings."""

import difflib
from collections.abc import Iterator, Sequence
from itertools import groupby

from instabot.commands import Command, CommandError, Context, Plugin

plugin = Plugin("help")

_WIDTH = 380
"""Bytes in a line of the list: one line in every chat service."""


@plugin.command("help")
async def help_(ctx: Context, command: str = "") -> str:
    """List the commands, or explain one."""
    commands = ctx.helm.commands()
    if not command:
        return _overview(ctx, [one for one in commands if _may(ctx, one)])
    name = command.removeprefix(ctx.prefix).lower()
    for one in commands:
        if one.name == name:
            return _explain(ctx, one)
    of_plugin = [one for one in commands if one.plugin == name]
    if of_plugin:
        return "\n".join(_headline(ctx, one) for one in of_plugin)
    near = difflib.get_close_matches(name[:32], [one.name for one in commands], 1)
    better = f"did you mean {ctx.prefix}{near[0]}?" if near else f"{ctx.prefix}help lists them"
    raise CommandError(f"there is no command “{command[:40]}”; {better}")


def _overview(ctx: Context, commands: Sequence[Command]) -> str:
    """Names only, by plugin, packed into few lines."""
    lines, line = list[str](), f"{ctx.prefix}help COMMAND explains:"
    for number, (between, name) in enumerate(_names(commands)):
        longer = f"{line}{between if number else ' '}{name}"
        if len(longer.encode()) > _WIDTH:
            lines.append(line)
            longer = name
        line = longer
    return "\n".join([*lines, line])


def _names(commands: Sequence[Command]) -> Iterator[tuple[str, str]]:
    """Each command's name, and what stands before it."""
    for owner, group in groupby(commands, key=lambda one: one.plugin):
        names = [one.name for one in group]
        yield " · ", names[0] if names == [owner] else f"{owner}: {names[0]}"
        yield from ((", ", name) for name in names[1:])


def _explain(ctx: Context, command: Command) -> str:
    lines = [_headline(ctx, command)]
    if command.role:
        lines.append(f"needs the role “{command.role}”")
    return "\n".join([*lines, command.text])


def _headline(ctx: Context, command: Command) -> str:
    usage = command.line(ctx.prefix)
    return f"{usage} — {command.summary}" if command.summary else usage


def _may(ctx: Context, command: Command) -> bool:
    return not command.role or command.role in ctx.roles
