"""`!again CODE`: confirm a command with effects that was interrupted, or asked for long ago.

The journal (`backend/journal.py`) puts the confirmed command in this one's place before anything
is called. The function below is what `!help again` describes, and what answers where no journal
stands before the router.
"""

from instabot.commands import CommandError, Context, Plugin

plugin = Plugin("again")


@plugin.command
async def again(ctx: Context, code: str) -> str:
    """Run a command that I asked about.

    I ask, with a code, about a command with effects which was interrupted or came late.
    A code works once, for five minutes, and for those who may run that command.
    """
    raise CommandError(f"Nothing here waits for the code {code[:20]}.")
