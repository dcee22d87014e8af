"""InspIRCd: message tags, labels, echo-message, CASEMAPPING=rfc1459."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.servers.certs import Certificate, Tls
from tests.servers.irc import IrcServer, Options, serve
from tests.servers.ports import HOST
from tests.servers.process import program

MODULES = [
    "cap",
    "ircv3",
    "ircv3_accounttag",
    "ircv3_batch",
    "ircv3_echomessage",
    "ircv3_labeledresponse",
    "ircv3_msgid",
    "ircv3_servertime",
    "botmode",
    "services_account",
    "ssl_gnutls",
]
FREE = (
    'hardsendq="1G" softsendq="512M" recvq="64M" fakelag="no" '
    'threshold="1000000" commandrate="1000000000"'
)
FLOOD = 'hardsendq="1M" softsendq="10240" recvq="10K" fakelag="yes" threshold="10" commandrate="1000"'


@asynccontextmanager
async def inspircd(
    *,
    flood: bool = False,
    certificate: Certificate = "good",
    password: str = "",
    max_joins: int = 0,
    nick_length: int = 30,
    ping: int = 120,
) -> AsyncIterator[IrcServer]:
    """Run InspIRCd; see `Options` for the arguments. Raises Missing where it is not installed.

    Without `flood` it takes lines as fast as they come and keeps a gigabyte for each client.
    """
    options = Options(flood, certificate, password, max_joins, nick_length, ping)
    async with serve("inspircd", _recipe, options) as server:
        yield server


def _recipe(home: Path, ports: tuple[int, int], tls: Tls, options: Options) -> list[str]:
    binary = program("inspircd", "inspircd")
    config = home / "inspircd.conf"
    config.write_text(_config(home, ports, tls, options))
    (home / "motd").write_text("Hello\n")
    return [binary, f"--config={config}", "--nofork", "--nopid"]


def _config(home: Path, ports: tuple[int, int], tls: Tls, options: Options) -> str:
    modules = "\n".join(f'<module name="{name}">' for name in MODULES)
    rooms = options.max_joins or 40000
    limits = FLOOD if options.flood else FREE
    password = f'password="{options.password}"' if options.password else ""
    return f"""<config format="xml">
<server name="irc.example.test" description="test" network="testnet">
<admin name="admin" nick="admin" email="admin@example.test">
<path configdir="{home}" datadir="{home}" logdir="{home}" runtimedir="{home}">
<files motd="{home}/motd">
<bind address="{HOST}" port="{ports[0]}" type="clients">
<bind address="{HOST}" port="{ports[1]}" type="clients" sslprofile="tests">
<sslprofile name="tests" provider="gnutls" certfile="{tls.certificate}" keyfile="{tls.key}">
{modules}
<connect name="all" allow="*" timeout="20" pingfreq="{options.ping}" localmax="100000"
 globalmax="100000" limit="100000" maxconnwarn="no" resolvehostnames="no" useident="no"
 maxchans="{rooms}" {limits} {password}>
<channels users="{rooms}" opers="{rooms}">
<limits maxnick="{options.nick_length}" maxchan="64" maxquit="255" maxtopic="307" maxkick="255"
 maxgecos="128" maxaway="200">
<performance netbuffersize="65534" somaxconn="4096" softlimit="100000" clonesonconnect="no">
<dns timeout="1">
<log method="file" type="* -USERINPUT -USEROUTPUT" level="default" target="inspircd-own.log">
<class name="all" commands="*" usermodes="*" chanmodes="*" privs="*">
<type name="root" classes="all">
<oper name="root" password="root" host="*@*" type="root">
"""
