"""What a command returned, made fit for a room: clean lines, five at most.

Formatting stays neutral: colours and bold are a service's own business, so their control
characters go. Adapters clean again for their wire.
"""

import re

from instabot.commands import Context, Memory, pages

# Controls but tab and newline, and halves of surrogate pairs, which no wire can carry.
_CONTROLS = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x9f]")
_COLOURS = re.compile(r"\x03(?:[0-9]{1,2}(?:,[0-9]{1,2})?)?")
_SURROGATES = re.compile(r"[\ud800-\udfff]")


def clean(text: str) -> str:
    """Drop control characters, blank lines and other line ends than `\\n`."""
    if text.isprintable():
        return "" if text.isspace() else text
    text = _SURROGATES.sub("\N{REPLACEMENT CHARACTER}", text)
    text = _COLOURS.sub("", text)
    lines = (_CONTROLS.sub("", line) for line in text.splitlines())
    return "\n".join(line for line in lines if line and not line.isspace())


async def fit(text: str, ctx: Context, memory: Memory) -> str:
    """Cut a reply at five lines; the rest waits in `memory` for `!more`.

    `memory` is the one of the plugin `pages.OWNER` in this room. May be called again for the
    same message: it then returns and keeps the same.
    """
    return await pages.first(text, ctx.message.id, ctx.prefix, memory)
