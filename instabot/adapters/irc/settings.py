"""A network's URL and settings, read once and checked before anything is dialled."""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote, urlsplit

from instabot.adapters.base import Account
from instabot.adapters.irc.lines import well_formed
from instabot.errors import Refused

PORTS = {"irc": 6667, "ircs": 6697}
DEFAULT_NICK = "instabot"
_WORDS = {
    "true": True, "yes": True, "on": True, "1": True,
    "false": False, "no": False, "off": False, "0": False,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Settings:
    """All that decides how we log in. `name` is the host that a certificate must prove.

    `user` is the account for SASL. With `sasl` "none" a secret is the server's password (PASS).
    `sasl` defaults to "plain" where `user` is set and to "none" elsewhere.
    """

    name: str
    host: str
    port: int
    tls: bool
    nick: str
    realname: str
    user: str
    sasl: str
    verify: bool
    ca_file: str
    cert_file: str
    key_file: str
    encoding: str
    plaintext_password: bool

    def may_send_secret(self) -> None:
        """Raises Refused("config") where a password would travel readable."""
        if not self.tls and not self.plaintext_password:
            raise _wrong(
                "irc:// would send the password unencrypted; use ircs://,"
                " or set allow_plaintext_password=true"
            )


def read(account: Account) -> Settings:
    """Read an account. Raises Refused("config", …) that says what to write instead."""
    try:
        url = urlsplit(account.url)
        port = url.port
    except ValueError as error:
        raise _wrong(f"the network's URL cannot be read: {error}") from None
    if url.scheme not in PORTS:
        raise _wrong(f"{url.scheme}:// is not IRC; write irc:// or ircs://")
    if url.password is not None:
        raise _wrong("the URL holds a password; give it as the network's secret instead")
    given = {**dict(parse_qsl(url.query)), **account.settings}
    name = url.hostname or given.get("host", "")
    if not name:
        raise _wrong("the network's URL names no host")
    nick = given.get("nick") or unquote(url.username or "") or DEFAULT_NICK
    user = given.get("user", "")
    settings = Settings(
        name=name,
        host=given.get("host") or name,
        port=_port(given, port or PORTS[url.scheme]),
        tls=url.scheme == "ircs",
        nick=_nick(nick, account.spare),
        realname=given.get("realname") or "Instabot",
        user=user or nick,
        sasl=given.get("sasl") or ("plain" if user else "none"),
        verify=_yes(given, "tls_verify", True),
        ca_file=given.get("ca_file", ""),
        cert_file=given.get("cert_file", ""),
        key_file=given.get("key_file", ""),
        encoding=_encoding(given.get("encoding") or "utf-8"),
        plaintext_password=_yes(given, "allow_plaintext_password", False),
    )
    _check_sasl(settings)
    return settings


def _check_sasl(settings: Settings) -> None:
    if settings.sasl not in {"plain", "external", "none"}:
        raise _wrong(f"sasl={settings.sasl} is not one of plain, external, none")
    if settings.sasl == "external" and not (settings.tls and settings.cert_file):
        raise _wrong("sasl=external needs ircs:// and cert_file (with key_file)")


def _nick(nick: str, spare: int) -> str:
    if not well_formed(nick) or nick[0] in "#&+!@:0123456789-" or "!" in nick or "@" in nick:
        raise _wrong(f"{nick!r} cannot be a nick")
    return f"{nick}{spare + 1}" if spare else nick


def _port(given: Mapping[str, str], default: int) -> int:
    text = given.get("port", "")
    if not text:
        return default
    if not text.isascii() or not text.isdigit() or not 0 < int(text[:6]) < 65536:
        raise _wrong(f"port={text} is not a number from 1 to 65535")
    return int(text)


def _yes(given: Mapping[str, str], key: str, default: bool) -> bool:
    text = given.get(key, "").lower()
    if text and text not in _WORDS:
        raise _wrong(f"{key}={text} is neither true nor false")
    return _WORDS.get(text, default)


def _encoding(name: str) -> str:
    # IRC's own words are ASCII, so an encoding in which ASCII looks different cannot work.
    try:
        if "#a :!\r\n".encode(name) == b"#a :!\r\n":
            return name
    except (LookupError, UnicodeError):
        pass
    raise _wrong(f"encoding={name} is not a text encoding that IRC can carry; try utf-8")


def _wrong(text: str) -> Refused:
    return Refused("config", text)
