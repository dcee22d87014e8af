"""The incoming dispatcher: looks each control entry's room up by id and puts it in its queue."""

from collections.abc import Callable, Sequence

from instabot import wire
from instabot.broker.consumer import Consumer
from instabot.broker.lanes import Lanes
from instabot.broker.scripts import Dead, Entry
from instabot.errors import Malformed
from instabot.model import Say
from instabot.runtime.acks import Acks
from instabot.runtime.desired import Nudged

_SAY = b'{"type":"say"'
"""How our own encoder begins a Say; whatever else begins so is checked by the room's task."""


class Incoming:
    """`nudge` gets what is no Say: the desired state changed, read it again."""

    def __init__(self, acks: Acks, nudge: Callable[[Nudged], None]) -> None:
        self._acks = acks
        self._nudge = nudge

    def attach(self, lanes: Lanes, consumer: Consumer) -> None:
        """Where entries go, and whose window they leave."""
        self._lanes = lanes
        self._window = consumer.window

    def deliver(self, entries: Sequence[Entry]) -> None:
        """Distribute what was fetched; never blocks, so no room delays another."""
        for entry in entries:
            if entry.data and entry.data.startswith(_SAY):
                self._lanes.put(entry.room, entry)
            else:
                self._special(entry)

    def _special(self, entry: Entry) -> None:
        """Nudges, Says in another's spelling, and what is neither."""
        try:
            control = wire.decode_control(entry.data or b"")
        except Malformed as error:
            trimmed = entry.data is None
            self._acks.put(entry if trimmed else Dead(entry, str(error)))
        else:
            if isinstance(control, Say):
                self._lanes.put(entry.room, entry)
                return
            self._nudge(Nudged(entry.shard, control))
            self._acks.put(entry)
        self._window.give(1)
