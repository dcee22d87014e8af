"""TLS contexts and what goes wrong before a certificate is seen; bad ones: test_real.py."""

import asyncio
from pathlib import Path
from typing import cast

import pytest

from instabot.adapters.base import Account
from instabot.adapters.irc import IRC, settings, tls
from instabot.errors import Refused
from tests.servers.certs import make


def of(**given: str) -> settings.Settings:
    return settings.read(Account("local/net", "ircs://bot@127.0.0.1", given))


def test_links_that_want_the_same_share_one_context(tmp_path: Path) -> None:
    files = make(tmp_path)
    ca = str(files.ca)
    assert tls.context(of(ca_file=ca)) is tls.context(of(ca_file=ca, nick="other"))
    assert tls.context(of(ca_file=ca)) is not tls.context(of(ca_file=ca, tls_verify="no"))
    assert tls.context(settings.read(Account("x", "irc://h"))) is None


def test_a_renewed_certificate_gets_a_context_of_its_own(tmp_path: Path) -> None:
    wanted = of(ca_file=str(make(tmp_path).ca))
    first = tls.context(wanted)
    make(tmp_path)
    assert tls.context(wanted) is not first


def test_files_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    broken = tmp_path / "broken.pem"
    broken.write_text("no certificate")
    for given in ({"ca_file": "/nowhere.pem"}, {"cert_file": str(broken)}):
        with pytest.raises(Refused, match=next(iter(given.values()))) as caught:
            tls.context(of(**given))
        assert caught.value.code == "config"


class Plain(asyncio.Protocol):
    """A server that greets in plaintext."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast(asyncio.Transport, transport).write(b":irc.test NOTICE * :Looking you up\r\n")


async def test_a_port_without_tls_is_told_as_such() -> None:
    loop = asyncio.get_running_loop()
    async with await loop.create_server(Plain, "127.0.0.1", 0) as server:
        url = f"ircs://bot@127.0.0.1:{server.sockets[0].getsockname()[1]}"
        with pytest.raises(Refused, match="does not speak TLS") as caught:
            await IRC(Account("local/net", url), lambda event: None).connect()
    assert (caught.value.code, caught.value.final) == ("tls", False)
