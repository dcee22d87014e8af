"""`!more`: the next page of the last long reply in the room."""

from instabot.commands import Context, Plugin, pages

plugin = Plugin(pages.OWNER)


@plugin.command
async def more(ctx: Context) -> str:
    """Read on where the last long reply was cut."""
    page = await pages.following(ctx.message.id, ctx.prefix, ctx.memory)
    return page or "there is no more"
