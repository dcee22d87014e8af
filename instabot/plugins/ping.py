"""`!ping`: is it there, and does it hear what I say?"""

from instabot.commands import Context, Plugin, Rest

plugin = Plugin("ping")


@plugin.command
async def ping(ctx: Context, text: Rest = "") -> str:
    """Answer pong, and repeat what follows."""
    return f"pong {text}" if text else "pong"
