"""`!status`: how the bot is doing, in one line."""

from instabot.commands import Context, Duration, Plugin, Status

plugin = Plugin("status")


@plugin.command
async def status(ctx: Context) -> str:
    """Say the version, the up time, the rooms and what waits in the queues."""
    now = await ctx.helm.status(ctx.tenant)
    return " · ".join(
        [f"instabot {now.version}", f"up {Duration(now.up)}", _rooms(now), _queues(now)]
    )


def _rooms(now: Status) -> str:
    counts = {"joining": now.joining, "lost": now.lost, "refused": now.refused}
    other = [f"{count} {word}" for word, count in counts.items() if count]
    return ", ".join([f"{_count(now.joined, 'room')} joined", *other])


def _queues(now: Status) -> str:
    parts = [f"{_count(now.waiting, 'message')} waiting"]
    if now.unsaid:
        parts.append(f"{_count(now.unsaid, 'reply')} unsaid")
    if now.dead:
        parts.append(f"{_count(now.dead, 'dead letter')}")
    return ", ".join(parts)


def _count(number: int, word: str) -> str:
    if number != 1:
        word = f"{word[:-1]}ies" if word.endswith("ly") else f"{word}s"
    return f"{number} {word}"
