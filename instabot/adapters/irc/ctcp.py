"""Answers to CTCP queries: https://modern.ircdocs.horse/ctcp."""

import asyncio
import time
from datetime import UTC, datetime

from instabot.adapters.irc.lines import one_line, well_formed
from instabot.adapters.irc.session import Session
from instabot.version import __version__

EVERY = 3.0
"""Seconds between two answers, whoever asks: a flood of queries must not make us flood."""

SOURCE = "Instabot is free software (MIT); ask whoever runs this bot for its source"


class Ctcp:
    """Answers VERSION, PING, TIME, CLIENTINFO and SOURCE, by NOTICE; all else is silence."""

    __slots__ = ("_next", "_session")

    def __init__(self, session: Session) -> None:
        self._session = session
        self._next = 0.0

    def asked(self, nick: str, text: str) -> None:
        """A query came in a PRIVMSG: `text` begins with 0x01."""
        verb, _, rest = text.strip("\x01").partition(" ")
        answer = _answer(verb.upper(), one_line(rest))
        now = asyncio.get_running_loop().time()
        if answer is None or now < self._next or not well_formed(nick):
            return
        self._next = now + EVERY
        text = f"{verb.upper()} {answer}".encode()[:300].decode(errors="ignore")
        self._session.connection.send_raw(f"NOTICE {nick} :\x01{text}\x01")


def _answer(verb: str, rest: str) -> str | None:
    if verb == "VERSION":
        return f"Instabot {__version__}"
    if verb == "PING":
        return rest
    if verb == "TIME":
        return datetime.fromtimestamp(time.time(), UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    if verb == "CLIENTINFO":
        return "ACTION CLIENTINFO PING SOURCE TIME VERSION"
    return SOURCE if verb == "SOURCE" else None
