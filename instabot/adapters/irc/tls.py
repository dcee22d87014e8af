"""TLS contexts, shared by all links that want the same, and what their failures mean."""

import os
import ssl
from functools import lru_cache

from instabot.adapters.irc.settings import Settings
from instabot.errors import Refused

# X509_V_ERR_… of OpenSSL, in words for somebody who must do something about it.
_WHY = {
    9: "its certificate is not valid yet",
    10: "its certificate has expired",
    18: "its certificate is self-signed",
    19: "its certificate is signed by an unknown authority",
    20: "its certificate is signed by an unknown authority",
    23: "its certificate was revoked",
    62: "its certificate is for another name",
    64: "its certificate is for another address",
}


def context(settings: Settings) -> ssl.SSLContext | None:
    """The context of a network, None for plaintext. Raises Refused("config").

    Thousands of links share one: a context with the system's authorities costs half a megabyte.
    """
    if not settings.tls:
        return None
    files = (settings.ca_file, settings.cert_file, settings.key_file)
    try:
        # A renewed certificate has another time, and so gets a context of its own.
        changed = tuple(os.stat(path).st_mtime_ns if path else 0 for path in files)
        return _context(*files, settings.verify, changed)
    except (OSError, ssl.SSLError) as error:
        names = ", ".join(path for path in files if path)
        raise Refused("config", f"cannot use the certificates {names}: {error}") from None


@lru_cache(maxsize=256)
def _context(
    ca_file: str, cert_file: str, key_file: str, verify: bool, changed: tuple[int, ...]
) -> ssl.SSLContext:
    made = ssl.create_default_context(cafile=ca_file or None)
    if not verify:
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
    if cert_file:
        # An empty password: a key that needs one must fail here, not ask on a terminal.
        made.load_cert_chain(cert_file, key_file or None, password="")
    return made


def refused(error: ssl.SSLError, settings: Settings) -> Refused:
    """What a failed handshake means. Not final: certificates are renewed without us."""
    where = f"{settings.name}:{settings.port}"
    if isinstance(error, ssl.SSLCertVerificationError):
        why = _WHY.get(error.verify_code, f"its certificate is refused: {error.verify_message}")
        if error.verify_code in {62, 64}:
            why += f" than {settings.name}"
    elif error.reason in {"WRONG_VERSION_NUMBER", "UNKNOWN_PROTOCOL", "HTTP_REQUEST"}:
        why = "it does not speak TLS there; try irc://, or another port"
    else:
        why = f"the TLS handshake failed: {error.reason or error}"
    return Refused("tls", f"{where}: {why}", final=False)
