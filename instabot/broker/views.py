"""Rooms as an operator sees and names them."""

from collections.abc import Mapping, Sequence

import msgspec

from instabot.errors import BadInput
from instabot.model import DEFAULT_TENANT, Live, Room, network_id


class RoomView(msgspec.Struct, frozen=True, kw_only=True):
    """A room as `instabot rooms --json` shows it; `text` is the service's own sentence.

    `gap_since` and `gap_until` bound the latest time in which lines may have been missed, in Unix
    seconds: both 0 where there was none, `gap_until` 0 while it lasts.
    """

    id: str
    tenant: str
    network: str
    name: str
    state: str
    reason: str
    since: float
    runtime: str
    depth: int
    heard: int
    said: int
    last_heard: float
    text: str
    me: str
    gap_since: float = 0.0
    gap_until: float = 0.0


def pick(rooms: Sequence[Room], text: str, tenant: str = DEFAULT_TENANT) -> Room:
    """The room meant by an id, `NETWORK/NAME`, or a NAME that is unique. Raises BadInput."""
    found = [room for room in rooms if room.id == text]
    if not found and "/" in text:
        network, _, name = text.partition("/")
        found = _named([r for r in rooms if r.network == network_id(tenant, network)], name)
    found = found or _named(rooms, text)
    if len(found) == 1:
        return found[0]
    if found:
        ways = ", ".join(f"{room.network.partition('/')[2]}/{room.name}" for room in found)
        raise BadInput(f"{text!r} is more than one room; say which: {ways}")
    raise BadInput(f"there is no room {text!r}; `instabot rooms` lists them")


def _named(rooms: Sequence[Room], name: str) -> list[Room]:
    """Rooms of that name, with or without the `#`; an exact name wins."""
    for wanted in ({name}, {f"#{name}"}):
        if exact := [room for room in rooms if room.name in wanted]:
            return exact
    folded = {name.casefold(), f"#{name}".casefold()}
    return [room for room in rooms if room.name.casefold() in folded]


def view(room: Room, live: Live | None, alive: set[str], waits: Mapping[str, int]) -> RoomView:
    """A room's row. `alive` are the runtimes that live, `waits` the fields of `depth`."""
    live = live or Live(state="wanted")
    state, reason, text = live.state, live.reason, live.text
    if live.runtime and live.runtime not in alive and state not in ("refused", "parted"):
        # Nobody vouches for what a vanished runtime wrote last.
        state, reason, text = "lost", "other", f"runtime {live.runtime} does not answer"
    return RoomView(
        id=room.id,
        tenant=room.tenant,
        network=room.network.partition("/")[2],
        name=room.name,
        state=state,
        reason=reason,
        since=live.since,
        runtime=live.runtime,
        depth=waits.get(f"m:{room.id}", 0) + waits.get(f"c:{room.id}", 0),
        heard=live.heard,
        said=live.said,
        last_heard=live.last_heard,
        text=text,
        me=live.me,
        gap_since=live.gap_since,
        gap_until=live.gap_until,
    )
