"""What the two queues carry, and what a tenant owns.

`Message` goes from a room to the backend (stream `messages`), `Control` from the backend to a
room (stream `control`). All are frozen and tagged by `type`; `wire.py` alone knows their bytes.
Times are Unix seconds, as floats.
"""

import zlib
from collections.abc import Mapping
from typing import Any, Literal
from urllib.parse import urlsplit

import msgspec

WIRE_VERSION = 1
DEFAULT_TENANT = "local"

State = Literal["wanted", "connecting", "joining", "joined", "refused", "lost", "parted"]
"""A room's state as its link sees it."""

Reason = Literal[
    "", "unreachable", "tls", "password", "banned", "invite-only", "key", "full", "nick",
    "throttled", "no-such-room", "register-first", "too-many", "kicked", "cut", "config", "other",
]  # fmt: skip
"""Why a room is not joined, in one word; the sentence beside it is the service's own."""


def _this_version() -> int:
    # A factory, so that `v` is written although every other default is left out.
    return WIRE_VERSION


class _Wire(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", omit_defaults=True):
    v: int = msgspec.field(default_factory=_this_version)


# -- messages: room → backend --------------------------------------------------------------


class Heard(_Wire, frozen=True, kw_only=True, tag="heard"):
    """A line said in a room, by anybody, the bot itself included (`own`).

    `id` is `NETWORK/…|ROOM|EPOCH:COUNTER`; `ref` is the service's own id (IRCv3 msgid) where it
    has one. `me` is the bot's name in the room when the line was said. `late` marks lines that
    arrived long after they were said and are logged only, never evaluated.
    """

    id: str
    room: str
    tenant: str = DEFAULT_TENANT
    sender: str
    text: str
    at: float
    kind: Literal["say", "action", "notice"] = "say"
    account: str = ""
    me: str = ""
    ref: str = ""
    own: bool = False
    late: bool = False


class Notice(_Wire, frozen=True, kw_only=True, tag="notice"):
    """Something that happened in a room other than a line: who came, who left, what was missed.

    For `gap`, `since` and `at` bound the hole and `count` is how many lines are known to be
    missing (0 = unknown).
    """

    id: str
    room: str
    tenant: str = DEFAULT_TENANT
    kind: Literal[
        "joined", "left", "kicked", "nick", "topic", "mode", "lost", "back", "gap", "dataloss"
    ]
    at: float
    who: str = ""
    text: str = ""
    since: float = 0.0
    count: int = 0


class Hook(_Wire, frozen=True, kw_only=True, tag="hook"):
    """A webhook's delivery, checked at the door: `source` names the plugin's hook."""

    id: str
    room: str
    tenant: str = DEFAULT_TENANT
    source: str
    headers: dict[str, str] = {}
    body: str = ""
    at: float


class Request(_Wire, frozen=True, kw_only=True, tag="request"):
    """An operator's or a page's wish; the backend carries it out and answers over the feed.

    `id` doubles as the idempotency key. `verb` picks the handler in `backend/requests.py`,
    `args` are its arguments. After `deadline` it is refused instead of carried out.
    """

    id: str
    verb: str
    tenant: str = DEFAULT_TENANT
    args: dict[str, Any] = {}
    by: str = ""
    at: float
    deadline: float = 0.0


Message = Heard | Notice | Hook | Request

# -- control: backend → room ---------------------------------------------------------------


class Join(_Wire, frozen=True, kw_only=True, tag="join"):
    """A nudge: the room's desired state changed, read it again. Carries no state of its own."""

    room: str


class Part(_Wire, frozen=True, kw_only=True, tag="part"):
    """A nudge as `Join`: the room is no longer wanted, or wanted no more in this form."""

    room: str


class Sync(_Wire, frozen=True, kw_only=True, tag="sync"):
    """A nudge: the network's settings or secret changed, read them again."""

    network: str


class Say(_Wire, frozen=True, kw_only=True, tag="say"):
    """A line to be said in a room. `text` may hold several lines; the adapter splits.

    After `deadline` an unsaid line becomes a dead letter. `request`, where set, is the id of the
    Request that wants to hear how it went.
    """

    id: str
    room: str
    text: str
    at: float
    deadline: float = 0.0
    kind: Literal["say", "action", "notice"] = "say"
    request: str = ""


Control = Join | Part | Sync | Say

# -- over the feed -------------------------------------------------------------------------


class Answer(_Wire, frozen=True, kw_only=True, tag="answer"):
    """How a Request went. `done` and `failed` are final; `data` is the verb's own result."""

    request: str
    outcome: Literal["accepted", "refused", "done", "failed"]
    text: str = ""
    data: dict[str, Any] = {}


# -- what a tenant owns: desired state ------------------------------------------------------


class Network(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One account on one chat service. `url` holds no secret; `secret` is sealed."""

    id: str
    tenant: str
    name: str
    url: str
    secret: str = ""
    settings: dict[str, str] = {}


class Room(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One channel of one network. `key` is sealed. Its `id` never changes."""

    id: str
    network: str
    tenant: str
    name: str
    key: str = ""
    settings: dict[str, str] = {}


class Live(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the runtime knows of a room right now; written by its link alone.

    `gap_since` and `gap_until` bound the latest hole in what was heard, 0 where there was none.
    """

    state: State
    reason: str = ""
    text: str = ""
    since: float = 0.0
    runtime: str = ""
    me: str = ""
    heard: int = 0
    said: int = 0
    last_heard: float = 0.0
    last_ref: str = ""
    gap_since: float = 0.0
    gap_until: float = 0.0


def address(url: str, settings: Mapping[str, str]) -> tuple[str, int]:
    """Where a network is dialled: the settings `host` and `port`, else the URL's; port 0 = default.

    Secrets are sealed to this address. Raises ValueError for a port that is no number.
    """
    parts = urlsplit(url)
    host = settings.get("host") or parts.hostname or ""
    return host.lower(), int(settings.get("port") or parts.port or 0)


def network_id(tenant: str, name: str) -> str:
    """The id of a tenant's network: `tenant/name`."""
    return f"{tenant}/{name}"


def shard_of(network: str, shards: int) -> int:
    """The shard that owns a network and all its rooms."""
    return zlib.crc32(network.encode()) % shards


def room_shard(room: str) -> int:
    """The shard written in a room's id, `7.k3f9qd` → 7. Raises ValueError for anything else."""
    head, dot, tail = room.partition(".")
    if not dot or not tail or not head.isascii() or not head.isdigit():
        raise ValueError(f"{room!r} is not a room's id")
    return int(head)
