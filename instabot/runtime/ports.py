"""What a link needs of the rest of the runtime; gathered once, passed down."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from instabot.adapters.base import Account, Adapter, Report
from instabot.runtime.board import Board
from instabot.runtime.outgoing import Outgoing
from instabot.secrets import Keyring


@dataclass(frozen=True, slots=True)
class Pace:
    """How patient links are, in seconds. Tests shorten them; users never need to."""

    dial_timeout: float = 80.0
    join_timeout: float = 20.0
    first_delay: float = 1.0
    most_delay: float = 300.0
    stable_after: float = 600.0
    rejoin_first: float = 30.0
    rejoin_most: float = 600.0
    most_kicks: int = 3
    keepalive: float = 60.0
    ping_timeout: float = 60.0
    history_timeout: float = 60.0
    goodbye: float = 5.0


@dataclass(frozen=True, slots=True)
class Ports:
    """`make` finds the adapter of a URL's scheme; `may_speak` asks the lease of a shard."""

    tasks: asyncio.TaskGroup
    outgoing: Outgoing
    board: Board
    keyring: Keyring
    may_speak: Callable[[int], bool]
    make: Callable[[Account, Report], Adapter]
    pace: Pace = field(default_factory=Pace)
