"""What an adapter is: five verbs and one callback. Everything else it may do is an ability.

The link (`runtime/link.py`) dials, backs off, keeps the flood budget and the rooms' states for
every protocol alike; an adapter never retries and never sleeps. It is used by one task at a
time, except that `report` may be called whenever its event loop hears something.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable

Kind = Literal["say", "action", "notice"]


@dataclass(frozen=True, slots=True)
class Account:
    """All that an adapter needs to dial.

    `secret` opens the sealed secret; only the adapter calls it, at the moment of login.
    `spare` is 0 for a network's first link; a further link of the same network, opened because
    the service limits rooms per connection, gets 1, 2, … and wants another nick.
    """

    network: str
    url: str
    settings: Mapping[str, str] = field(default_factory=dict)
    secret: Callable[[], str] = lambda: ""
    spare: int = 0


@dataclass(frozen=True, slots=True)
class Identity:
    """Who we are once logged in, and how many rooms one connection may hold (None = any)."""

    me: str
    room_limit: int | None = None


@dataclass(frozen=True, slots=True)
class Said:
    """A line was said in a room. `room` is the service's name; `at` in Unix seconds."""

    room: str
    sender: str
    text: str
    at: float
    kind: Kind = "say"
    account: str = ""
    ref: str = ""


@dataclass(frozen=True, slots=True)
class Happened:
    """Something other than a line. `who` is whom it happened to; `me` says that it is the bot.

    For `nick`, `text` is the new name and `room` is empty (it holds for the whole link).
    `kicked` with `me` means that the bot is out of the room; `left` with `me` likewise.
    """

    room: str
    kind: Literal["joined", "left", "kicked", "nick", "topic", "mode"]
    who: str
    text: str = ""
    at: float = 0.0
    me: bool = False


@dataclass(frozen=True, slots=True)
class Lost:
    """The connection is gone; nothing more will be reported. `delay` as in LinkError."""

    reason: str
    delay: float = 0.0


Event = Said | Happened | Lost
Report = Callable[[Event], None]


@dataclass(frozen=True, slots=True)
class Rejection:
    """A piece that the service did not take. `text` is the piece where it is known, else ''."""

    room: str
    reason: str
    text: str = ""


class Adapter(Protocol):
    """The five verbs. Constructed as `Adapter(account, report)`, once for each dial."""

    def __init__(self, account: Account, report: Report) -> None: ...

    async def connect(self) -> Identity:
        """Dial and log in. Raises LinkError (dial again) or Refused (stop, or as it says)."""
        ...

    async def join(self, room: str, key: str = "") -> None:
        """Enter a room; returns when inside. Raises Refused with a code of `model.Reason`."""
        ...

    async def say(self, room: str, text: str, kind: Kind = "say") -> None:
        """Hand one piece over. Without the ability `Confirms`, returning means: it is said.

        Raises Refused when the service did not take it, LinkError when the link is gone.
        """
        ...

    async def part(self, room: str, reason: str = "") -> None:
        """Leave a room. Not being inside is no error."""
        ...

    async def close(self, reason: str = "") -> None:
        """Say good-bye and free everything. Never raises, may be called twice."""
        ...


@runtime_checkable
class Splits(Protocol):
    """A service that takes only so much text at once."""

    def split(self, room: str, text: str, kind: Kind = "say") -> Sequence[str]:
        """Cut `text` into clean pieces that `say` can take whole; [] where nothing is left."""
        ...


@runtime_checkable
class Confirms(Protocol):
    """A service that can tell when it has dealt with all that was said."""

    async def confirm(self) -> Sequence[Rejection]:
        """Return when every piece said before this call was dealt with; list those refused.

        Raises LinkError when the link dies first.
        """
        ...


@runtime_checkable
class JoinsMany(Protocol):
    """A service where one line enters many rooms."""

    join_batch: int

    async def join_many(
        self, rooms: Sequence[tuple[str, str]]
    ) -> Mapping[str, Exception | None]:
        """Enter up to `join_batch` rooms (name, key); for each name None, or why not."""
        ...


@runtime_checkable
class Folds(Protocol):
    """A service whose room names have more than one spelling."""

    def fold(self, name: str) -> str:
        """The one spelling under which equal names compare equal (RFC 1459 casemapping)."""
        ...


@runtime_checkable
class History(Protocol):
    """A service that remembers what was said while we were away.

    `remembers` is known once connected: does this very server keep a history?
    """

    remembers: bool

    async def history(self, room: str, since: float, ref: str = "") -> Sequence[Said] | None:
        """Lines said after `since` (and after message `ref`), oldest first.

        None where this server has no history after all; then there is a gap.
        """
        ...


@runtime_checkable
class Alive(Protocol):
    """A service that must be asked whether it is still there."""

    async def ping(self) -> None:
        """Return when the service answered. Raises LinkError when the link is gone."""
        ...
