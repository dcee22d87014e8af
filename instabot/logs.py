"""structlog to stderr, as text or JSON, with secrets struck out on the way."""

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any, TextIO

import structlog

from instabot.clean import clean
from instabot.config import Settings

STRUCK = "…"

_PATTERNS = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        # RFC 1459 PASS and OPER, IRCv3 AUTHENTICATE: whatever follows the verb.
        r"(?P<keep>\b(?:PASS|AUTHENTICATE)\s+:?)(?!(?:PLAIN|EXTERNAL|SCRAM-\S+|\*)(?:\s|$))\S.*",
        # Services: NickServ IDENTIFY, REGISTER, GHOST, REGAIN, SET PASSWORD.
        r"(?P<keep>\b(?:IDENTIFY|REGISTER|GHOST|REGAIN|RECOVER|SET\s+PASSWORD)\s+)\S.*",
        # scheme://user:password@host
        r"(?P<keep>\w://[^\s:/@]*:)[^\s/@]+(?=@)",
        # password=…, "token": "…", Authorization: Bearer …
        r"(?P<keep>\b(?:pass(?:word|wd)?|secret|token|api[_-]?key|authorization)"
        r"[\"']?\s*[=:]\s*[\"']?(?:(?:bearer|basic)\s+)?)[^\s\"',;&]+",
        # A Fernet token: version byte 0x80, then the time (https://github.com/fernet/spec).
        r"(?P<keep>)\bgAAAA[\w-]{50,}={0,2}",
    )
)
_SECRET_KEYS = re.compile(
    r"pass(word|wd|phrase)?$|secret|token|api_?key|authori[sz]ation|fernet", re.I
)


def strike(text: str) -> str:
    """The text without anything that looks like a secret."""
    for pattern in _PATTERNS:
        text = pattern.sub(rf"\g<keep>{STRUCK}", text)
    return text


def redact(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A structlog processor: strikes secrets out of every field, the traceback included."""
    for key, value in event.items():
        if _SECRET_KEYS.search(key):
            event[key] = STRUCK
        elif isinstance(value, str):
            event[key] = strike(value)
        elif isinstance(value, bytes | Exception | dict | list | tuple | set):
            event[key] = strike(
                value.decode(errors="replace") if isinstance(value, bytes) else str(value)
            )
    return event


def tidy(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A structlog processor for terminals: no text from chat may command them."""
    for key, value in event.items():
        if isinstance(value, str):
            # A traceback has lines of its own; all other text is one line.
            lines = value.split("\n") if key in ("exception", "stack") else [value]
            event[key] = "\n".join(map(clean, lines))
    return event


def set_up(settings: Settings, stream: TextIO | None = None, level: str = "info") -> None:
    """Configure structlog and the standard library's logging; to be called once, at the start."""
    stream = sys.stderr if stream is None else stream
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        structlog.processors.UnicodeDecoder(),
        redact,
    ]
    number = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[*shared, *_renderers(settings, stream)],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(stream),
        cache_logger_on_first_use=False,
    )
    _bridge(stream, shared, _renderers(settings, stream))


def _renderers(settings: Settings, stream: TextIO) -> list[Any]:
    if settings.log == "json":
        return [structlog.processors.JSONRenderer()]  # ASCII, so no terminal can misread it
    colors = settings.color and stream.isatty()
    plain = structlog.dev.plain_traceback
    return [tidy, structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=plain)]


def _bridge(stream: TextIO, shared: list[Any], renderers: list[Any]) -> None:
    """Send what libraries log (warnings and worse) the same way."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                # The traceback reaches the event only here, so it is struck a second time.
                structlog.processors.format_exc_info,
                redact,
                *renderers,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
