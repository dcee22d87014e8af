"""A network's URL and settings, as typed by a person: checked, and its password taken out.

`irc://host/#room`, `ircs://nick@host:6697/#room?rate=2`: scheme, name and address make the
network, path or fragment the room, the query its settings. What only one protocol can judge
(is this a nick?) its adapter judges when it dials.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from instabot.errors import BadInput

PORTS = {"irc": 6667, "ircs": 6697, "xmpp": 5222, "http": 80, "https": 443}
NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
ROOM_SIGNS = "#&+!"
"""The first letters of an IRC channel's name (RFC 2812 §1.3)."""

_SWITCH = r"(?i:true|false|yes|no|on|off|1|0)"
_ALLOWED = {
    "port": r"0*[1-9]\d{0,4}",
    "rate": r"\d{1,6}(\.\d{1,6})?",
    "burst": r"0*[1-9]\d{0,5}",
    "tls_verify": _SWITCH,
    "allow_plaintext_password": _SWITCH,
    "log": _SWITCH,
    "egress": _SWITCH,
    "sasl": r"plain|external|none",
}
_IRC = {
    "host",
    "nick",
    "realname",
    "user",
    "ca_file",
    "cert_file",
    "key_file",
    "prefix",
    "encoding",
    "log",
    "egress",
    "timers",
}
_KNOWN = {"irc": _IRC | set(_ALLOWED), "ircs": _IRC | set(_ALLOWED)}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What a URL says. `url` is the network's alone: no room, no settings, no secret."""

    url: str
    scheme: str
    user: str
    host: str
    port: int
    rooms: tuple[str, ...] = ()
    secret: str = field(default="", repr=False)
    settings: Mapping[str, str] = field(default_factory=dict)


def parse(text: str) -> Endpoint:
    """Read a URL. Raises BadInput; its text never holds the URL's password."""
    # A channel's `#` begins the fragment; a query behind it was still meant as one.
    text, sign, tail = text.strip().partition("#")
    behind = re.search(r"\?(?=[a-z_]+=)", tail)
    late = tail[behind.end() :] if behind else ""
    fragment = tail[: behind.start()] if behind else tail
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise BadInput(f"this is not a URL: {error}") from None
    if not parts.scheme or not parts.netloc:
        raise BadInput("a network's URL looks like ircs://nick@irc.example.org:6697/#room")
    settings = check_settings(parts.scheme, dict(_pairs(parts.query) + _pairs(late)))
    host = parts.hostname or settings.get("host", "")
    if not host:
        raise BadInput(f"the URL names no host: write {parts.scheme}://HOST/ROOM")
    user, secret = unquote(parts.username or ""), unquote(parts.password or "")
    return Endpoint(
        url=_bare(parts.scheme, user, host, port),
        scheme=parts.scheme,
        user=user,
        host=host,
        port=port or PORTS.get(parts.scheme, 0),
        rooms=_rooms(parts.scheme, unquote(parts.path), unquote(sign + fragment)),
        secret=secret,
        settings=settings,
    )


def _pairs(query: str) -> list[tuple[str, str]]:
    return parse_qsl(query, keep_blank_values=True)


def _bare(scheme: str, user: str, host: str, port: int | None) -> str:
    who = f"{quote(user, safe='')}@" if user else ""
    where = f"[{host}]" if ":" in host else host
    return f"{scheme}://{who}{where}" + (f":{port}" if port else "")


def _rooms(scheme: str, path: str, fragment: str) -> tuple[str, ...]:
    names = [name for name in (path.strip("/") + fragment).split(",") if name]
    return tuple(room_name(scheme, name) for name in names)


def room_name(scheme: str, name: str) -> str:
    """A room's name as the service knows it: `ops` is `#ops` on IRC. Raises BadInput."""
    if not name or not name.isprintable() or (scheme in ("irc", "ircs") and " " in name):
        raise BadInput(f"{name!r} cannot be a room's name")
    if scheme in ("irc", "ircs") and name[0] not in ROOM_SIGNS:
        return f"#{name}"
    return name


def check_settings(scheme: str, settings: Mapping[str, str]) -> dict[str, str]:
    """The settings, if every key and value may be there. Raises BadInput."""
    known = _KNOWN.get(scheme)
    for name, value in settings.items():
        if known is not None and name not in known:
            raise BadInput(
                f"there is no setting {name!r}; known are {', '.join(sorted(known))}"
            )
        if not re.fullmatch(_ALLOWED.get(name, r"[^\x00-\x1f\x7f]*"), value):
            raise BadInput(f"{name}={value!r} is not allowed; {_hint(name)}")
        if name == "port" and int(value) > 65535:
            raise BadInput(f"port={value} is not a port; it is a number from 1 to 65535")
    return dict(settings)


def _hint(name: str) -> str:
    hints = {
        "port": "it is a number from 1 to 65535",
        "rate": "it is lines per second, 0 for no limit",
        "burst": "it is a number of lines, at least 1",
        "sasl": "it is plain, external or none",
        "tls_verify": "it is true or false",
        "log": "it is true or false",
        "egress": "it is true or false",
        "allow_plaintext_password": "it is true or false",
    }
    return hints.get(name, "it may hold no control characters")


def check_name(name: str) -> str:
    """A network's name, if it may be one. Raises BadInput."""
    if not NAME.fullmatch(name):
        raise BadInput(f"{name!r} cannot be a network's name: letters, digits, . _ - only")
    return name


def name_for(host: str) -> str:
    """A short name for a network at this host: `irc.libera.chat` → `libera`."""
    labels = [label for label in host.lower().split(".") if label not in ("irc", "chat", "www")]
    plain = re.fullmatch(r"[\d.]+|.*:.*|[^.]*", host) or not labels
    name = re.sub(r"[^a-z0-9.-]+", "-", host.lower() if plain else labels[0]).strip("-.")
    return name[:60] or "network"
