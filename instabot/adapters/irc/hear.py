"""What the server tells us, made into events.

`chat` is the busiest code of the whole runtime: nearly every line that a bot hears is a PRIVMSG
to a room, so these are told by four words and a few comparisons; all else is parsed in full.
"""

from collections.abc import Mapping, Sequence
from time import time

from instabot.adapters.base import Happened, Kind, Report, Said
from instabot.adapters.irc.batches import Batches
from instabot.adapters.irc.confirm import Confirmer
from instabot.adapters.irc.ctcp import Ctcp
from instabot.adapters.irc.lines import NO_TAGS, Line, parse_tags, sent_at
from instabot.adapters.irc.session import Session
from instabot.adapters.irc.table import hears
from instabot.errors import LinkError

_KINDS: dict[str, Kind] = {"PRIVMSG": "say", "NOTICE": "notice"}
_ACTION = "\x01ACTION "


class Hearing:
    """Reports what happens in rooms. Our own lines go to the confirmer instead."""

    __slots__ = ("_confirm", "_ctcp", "_session", "_types", "batches", "report")

    def __init__(self, session: Session, confirm: Confirmer, report: Report) -> None:
        self.report = report
        self._session = session
        self._confirm = confirm
        self._ctcp: Ctcp | None = None
        self._types = session.features.channel_types
        self.batches: Batches | None = None

    # -- chat ----------------------------------------------------------------------------

    def chat(self, text: str) -> bool:
        """Deal with a line that is plainly somebody's words; False for all others."""
        tags: Mapping[str, str] = NO_TAGS
        line = text
        if text[:1] == "@":
            head, _, line = text.partition(" ")
        words = line.split(" ", 3)
        if len(words) < 4:
            return False
        source, command, target, said = words
        kind = _KINDS.get(command)
        if kind is None or source[:1] != ":" or said[:1] != ":" or not target:
            return False
        if line is not text:
            tags = parse_tags(head[1:])
        self._said(source[1:], kind, target, said[1:], tags)
        return True

    @hears("privmsg notice")
    def _odd_chat(self, line: Line) -> None:
        # Chat that the quick way left: several spaces, one word without a colon.
        if len(line.params) > 1 and line.params[0]:
            kind = _KINDS[line.command]
            self._said(line.source, kind, line.params[0], line.params[1], line.tags)

    def _said(
        self, source: str, kind: Kind, target: str, text: str, tags: Mapping[str, str]
    ) -> None:
        nick = source.partition("!")[0]
        if "\r" in text or "\0" in text:
            text = text.replace("\r", " ").replace("\0", "")
        if text[:1] == "\x01":
            if kind == "say" and text.startswith(_ACTION):
                kind, text = "action", text[8:].removesuffix("\x01")
            else:
                self._query(nick, kind, text)
                return
        if target[0] not in self._types:
            target = self._room_of(target)
        batch = tags.get("batch") if tags else None
        if nick == self._session.me and not (batch and self._is_history(batch)):
            self._own(source, target, text, kind, tags)
        elif target and text:
            at = sent_at(tags) if tags else time()
            ref, account = tags.get("msgid", ""), tags.get("account", "")
            said = Said(target, nick, text, at, kind, account, ref)
            if not (batch and self.batches and self.batches.take(batch, said)):
                self.report(said)

    def _own(
        self, source: str, target: str, text: str, kind: Kind, tags: Mapping[str, str]
    ) -> None:
        self._session.learn_mask(source)
        if target:
            label = tags.get("label", "")
            if not label and self.batches and "batch" in tags:
                label = self.batches.label(tags["batch"])
            self._confirm.echo(target, text, kind, label)

    def _query(self, nick: str, kind: Kind, text: str) -> None:
        # A NOTICE is never answered (RFC 2812 §3.3.2), so two bots cannot ring each other.
        if kind == "say" and nick != self._session.me:
            if self._ctcp is None:
                self._ctcp = Ctcp(self._session)
            self._ctcp.asked(nick, text)

    def _room_of(self, target: str) -> str:
        # "@#ops" goes to the operators in #ops (STATUSMSG); all else is no room of ours.
        features = self._session.features
        room = target.lstrip(features.status_prefixes)
        return room if features.is_channel(room) else ""

    def _is_history(self, batch: str) -> bool:
        return self.batches is not None and self.batches.is_history(batch)

    # -- batches -------------------------------------------------------------------------

    async def history(self, room: str, since: float, ref: str) -> Sequence[Said] | None:
        """What was said after a moment; see `Batches.history`."""
        batches = self.batches = self.batches or Batches(self._session)
        try:
            return await batches.history(room, since, ref)
        finally:
            self._drop_idle()

    def _drop_idle(self) -> None:
        if self.batches and self.batches.idle:
            self.batches = None

    @hears("batch")
    def _batch(self, line: Line) -> None:
        batches = self.batches = self.batches or Batches(self._session)
        batches.batch(line)
        self._drop_idle()

    @hears("fail")
    def _fail(self, line: Line) -> None:
        if self.batches:
            self.batches.fail(line)

    @hears("unknowncommand")
    def _unknown(self, line: Line) -> None:
        if self.batches:
            self.batches.unknown(line)

    def lost(self, error: LinkError) -> None:
        """The connection is gone: who waits for a history hears so."""
        if self.batches:
            self.batches.lost(error)

    # -- the rest ------------------------------------------------------------------------

    @hears("ping")
    def _ping(self, line: Line) -> None:
        self._session.connection.send_raw(f"PONG :{line.text}")

    @hears("featurelist")
    def _features(self, line: Line) -> None:
        self._types = self._session.features.channel_types

    @hears("nick")
    def _nick(self, line: Line) -> None:
        new = line.param(0)
        me = line.nick == self._session.me
        if not new:
            return
        if me:
            self._session.me = new
        self.report(Happened("", "nick", line.nick, new, line.at, me))

    @hears("quit")
    def _quit(self, line: Line) -> None:
        if line.nick != self._session.me:
            self.report(Happened("", "left", line.nick, line.param(0), line.at))

    @hears("topic")
    def _topic(self, line: Line) -> None:
        if self._session.features.is_channel(line.param(0)):
            self.report(Happened(line.param(0), "topic", line.nick, line.param(1), line.at))

    @hears("mode")
    def _mode(self, line: Line) -> None:
        if self._session.features.is_channel(line.param(0)):
            text = " ".join(line.params[1:])
            self.report(Happened(line.param(0), "mode", line.nick, text, line.at))
