"""`!convert 10 km to miles`: units of all kinds, without ever evaluating what was typed."""

import asyncio

from instabot.commands import Context, Plugin, Rest
from instabot.plugins.convert import question as asked
from instabot.plugins.convert.answer import answer
from instabot.plugins.convert.units import units, units_if_loaded

plugin = Plugin("convert")


@plugin.command(usage="AMOUNT UNIT to UNIT")
async def convert(ctx: Context, question: Rest) -> str:
    """Convert between units: lengths, weights, temperatures, speeds, data sizes and more.

    10 km to miles · 70 F to C · 5'11" to cm · 180 cm to ft in · 2 lb 3 oz in kg
    60 mph to km/h · 30 mpg to l/100km · 10 GB in GiB · 1h30m to min
    """
    read = asked.parse(question)
    ready = units_if_loaded()
    # Loading takes half a second the first time, so not on the event loop.
    if ready is None:
        ready = await asyncio.to_thread(units)
    return answer(read, ready)
