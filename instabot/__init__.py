"""Instabot: a bot for companies' chat rooms that never leaves the room and loses nothing."""

from typing import TYPE_CHECKING, Any

from instabot.version import __version__

if TYPE_CHECKING:
    from instabot.commands import CommandError, Context, Plugin

__all__ = ["CommandError", "Context", "Plugin", "__version__"]


def __getattr__(name: str) -> Any:
    """Load what a plugin author sees on first use, so that `import instabot` stays cheap."""
    if name in {"CommandError", "Context", "Plugin"}:
        from instabot import commands

        return getattr(commands, name)
    raise AttributeError(f"module 'instabot' has no attribute {name!r}")
