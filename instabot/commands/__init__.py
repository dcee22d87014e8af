"""What a plugin author sees: `Plugin`, `Context`, `CommandError`, and a few types of argument.

Imports nothing of Instabot but the model and the errors, so a plugin depends on little.
"""

from instabot.commands.context import Context, Helm, Memory, Status
from instabot.commands.plugin import Command, Handler, HookHandler, Listener, Plugin, Timer
from instabot.commands.values import Duration, Rest
from instabot.errors import CommandError

__all__ = [
    "Command",
    "CommandError",
    "Context",
    "Duration",
    "Handler",
    "Helm",
    "HookHandler",
    "Listener",
    "Memory",
    "Plugin",
    "Rest",
    "Status",
    "Timer",
]
