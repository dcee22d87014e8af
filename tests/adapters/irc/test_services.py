"""SASL against real services: InspIRCd with Atheme behind it."""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from instabot.adapters.base import Account, Event, Happened
from instabot.adapters.irc import IRC
from instabot.errors import Refused
from tests.chat import Chat
from tests.servers import IrcServer, Missing
from tests.servers.certs import Tls
from tests.servers.inspircd import _recipe as plain_recipe
from tests.servers.irc import Options, serve
from tests.servers.ports import HOST, free_port
from tests.servers.process import Process, program, running, unprivileged, until, used

pytestmark = pytest.mark.real
SECRET = "correct-horse"

SERVICES = """
loadmodule "modules/protocol/inspircd";
loadmodule "modules/backend/opensex";
loadmodule "modules/crypto/pbkdf2v2";
loadmodule "modules/nickserv/main";
loadmodule "modules/nickserv/identify";
loadmodule "modules/nickserv/register";
loadmodule "modules/nickserv/enforce";
loadmodule "modules/saslserv/main";
loadmodule "modules/saslserv/plain";
serverinfo {{ name = "services.example.test"; desc = "services"; numeric = "00A";
  recontime = 1; netname = "testnet"; adminname = "admin"; adminemail = "admin@example.test";
  registeremail = "noreply@example.test"; auth = none; casemapping = rfc1459;
  maxlogins = 10; maxusers = 10; maxnicks = 5; maxchans = 5; mta = "/bin/true"; }};
uplink "irc.example.test" {{ host = "{host}"; port = {port};
  send_password = "link"; receive_password = "link"; }};
nickserv {{ nick = "NickServ"; user = "NickServ"; host = "services."; real = "Nicks"; }};
saslserv {{ nick = "SaslServ"; user = "SaslServ"; host = "services."; real = "SASL"; }};
database {{ commit_interval = 5; }};
general {{ commit_interval = 5; silent; }};
"""
LINK = """
<module name="spanningtree"><module name="sasl"><sasl target="services.example.test">
<module name="svshold"><module name="services_account"><uline server="services.example.test" silent="yes">
<bind address="{host}" port="{port}" type="servers">
<link name="services.example.test" ipaddr="{host}" port="{port}" allowmask="127.0.0.0/8"
 sendpass="link" recvpass="link">
"""


@asynccontextmanager
async def network() -> AsyncIterator[IrcServer]:
    """InspIRCd with services linked; the account `acme` is registered."""
    port = free_port()

    def recipe(home: Path, ports: tuple[int, int], tls: Tls, options: Options) -> list[str]:
        argv = plain_recipe(home, ports, tls, options)
        with (home / "inspircd.conf").open("a") as config:
            config.write(LINK.format(host=HOST, port=port))
        return argv

    try:
        binary = program("atheme-services", "atheme-services")
        async with serve("inspircd", recipe, Options()) as server:
            folder, user = server.folder / "atheme", unprivileged()
            folder.mkdir()
            config = folder / "atheme.conf"
            config.write_text(SERVICES.format(host=HOST, port=port))
            if user is not None:
                shutil.chown(folder, user, user)
            argv = [binary, "-n", "-c", str(config), "-D", str(folder)]
            argv += ["-l", str(folder / "log"), "-p", str(folder / "pid")]

            async def linked() -> bool:
                asker = await Chat.connect(server.port, "asker")
                asker.write("ISON NickServ SaslServ")
                line = await asker.expect(" 303 ")
                await asker.quit()
                return "NickServ" in line.text

            async with running(Process("atheme", argv, folder, ready=linked, user=user)):
                used["atheme-services"] = None
                await register(server)
                yield server
    except Missing as error:
        pytest.skip(str(error))


async def register(server: IrcServer) -> None:
    """Somebody registers the account."""
    owner = await Chat.connect(server.port, "acme")
    owner.write(f"PRIVMSG NickServ :REGISTER {SECRET} acme@example.test")
    await owner.expect("is now registered", within="acme -NickServ-")
    await owner.quit()


def bot(server: IrcServer, secret: str, nick: str = "acme") -> tuple[IRC, list[Event]]:
    """A bot with an account, over TLS."""
    events: list[Event] = []
    url = f"ircs://{nick}@{HOST}:{server.tls_port}"
    given = {"ca_file": str(server.ca_file), "sasl": "plain", "user": "acme"}
    return IRC(Account("local/net", url, given, lambda: secret), events.append), events


async def test_the_account_logs_in_and_a_wrong_password_does_not() -> None:
    async with network() as server:
        wrong, _ = bot(server, "wrong")
        with pytest.raises(Refused, match="account login failed") as caught:
            await wrong.connect()
        assert (caught.value.code, caught.value.final) == ("password", True)
        member, _ = bot(server, SECRET)
        assert (await member.connect()).me == "acme"
        assert member._session.account == "acme"
        await member.close()


async def test_services_give_the_nick_back() -> None:
    async with network() as server:
        ghost = await Chat.connect(server.port, "acme")
        member, events = bot(server, SECRET)
        assert (await member.connect()).me == "acme_"

        async def regained() -> bool:
            await member.ping()
            mine = [event for event in events if isinstance(event, Happened) and event.me]
            return [event.text for event in mine if event.kind == "nick"] == ["acme"]

        await until(regained, "the nick back from services")
        assert member._session.me == "acme"
        ghost.close()
        await member.close()
