"""What a plugin's function is given: the line, the room, a memory, and the helm."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from random import Random
from typing import TYPE_CHECKING, Protocol

import msgspec

from instabot.model import Heard, Room

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

    from instabot.commands.plugin import Command


class Memory(Protocol):
    """A plugin's own notes about one room: bytes under a key, kept across restarts.

    Each plugin, tenant and room has its own; nobody reads another's.
    """

    async def get(self, key: str) -> bytes | None:
        """What was put under `key` last, or None."""
        ...

    async def put(self, key: str, value: bytes) -> None:
        """Keep `value` under `key`, in place of what was there."""
        ...

    async def delete(self, key: str) -> None:
        """Forget `key`. Not knowing it is no error."""
        ...


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """How the bot is doing: up time in seconds, rooms counted by state, queue depths."""

    version: str
    up: float
    joined: int = 0
    joining: int = 0
    lost: int = 0
    refused: int = 0
    waiting: int = 0
    unsaid: int = 0
    dead: int = 0


class Helm(Protocol):
    """What a plugin may ask of the backend it runs in."""

    def commands(self) -> Sequence["Command"]:
        """Every command there is, sorted by plugin and name."""
        ...

    async def status(self, tenant: str) -> Status:
        """How the bot is doing, as far as it is this tenant's business."""
        ...


@dataclass(frozen=True)
class Context:
    """Where and by whom a plugin's function was called. Frozen: make a new one to differ.

    In a hook and in a timer `message` is a stand-in: its sender is the hook's source or the
    plugin's name, its text is empty. `memory` is the called plugin's own. `roles` are those
    of the sender's account on this network; `prefix` is the room's ("!").
    """

    message: Heard
    room: Room
    memory: Memory
    helm: Helm
    log: "FilteringBoundLogger"
    roles: frozenset[str] = frozenset()
    prefix: str = "!"

    @property
    def tenant(self) -> str:
        """The tenant that owns the room."""
        return self.message.tenant

    @property
    def sender(self) -> str:
        """The name under which the line was said; not proof of who it was."""
        return self.message.sender

    @property
    def account(self) -> str:
        """The account the sender is logged in to, as the service vouches for it, or ''."""
        return self.message.account

    @property
    def text(self) -> str:
        """The line as it was said, prefix and command included."""
        return self.message.text

    @property
    def me(self) -> str:
        """The bot's own name in the room."""
        return self.message.me

    @cached_property
    def random(self) -> Random:
        """Chance, seeded by the message: a re-run after a crash gives the same answer."""
        # Not for secrets. cached_property writes to __dict__, past the frozen __setattr__.
        return Random(self.message.id)  # noqa: S311
