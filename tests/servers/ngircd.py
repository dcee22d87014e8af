"""ngIRCd: a small server without IRCv3 tags, CASEMAPPING=ascii."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.servers.certs import DH_PARAMETERS, Certificate, Tls
from tests.servers.irc import IrcServer, Options, serve
from tests.servers.ports import HOST
from tests.servers.process import program


@asynccontextmanager
async def ngircd(
    *,
    flood: bool = False,
    certificate: Certificate = "good",
    password: str = "",
    max_joins: int = 0,
    nick_length: int = 30,
    ping: int = 120,
) -> AsyncIterator[IrcServer]:
    """Run ngIRCd; see `Options` for the arguments. Raises Missing where it is not installed.

    Its buffer for a client that does not read is fixed at 32 KB; beyond that it disconnects.
    """
    options = Options(flood, certificate, password, max_joins, nick_length, ping)
    async with serve("ngircd", _recipe, options) as server:
        yield server


def _recipe(home: Path, ports: tuple[int, int], tls: Tls, options: Options) -> list[str]:
    binary = program("ngircd", "ngircd")
    config = home / "ngircd.conf"
    config.write_text(_config(ports, tls, options))
    (home / "dh.pem").write_text(DH_PARAMETERS)
    return [binary, "--nodaemon", "--config", str(config)]


def _config(ports: tuple[int, int], tls: Tls, options: Options) -> str:
    # Without DNS, Ident and PAM off every login waits for them.
    return f"""[Global]
Name = irc.example.test
Info = test
Network = testnet
AdminEMail = admin@example.test
Listen = {HOST}
Ports = {ports[0]}
MotdPhrase = "Hello"
{f"Password = {options.password}" if options.password else ""}
[Limits]
MaxConnections = 0
MaxConnectionsIP = 0
MaxJoins = {options.max_joins}
MaxNickLength = {options.nick_length}
MaxPenaltyTime = {-1 if options.flood else 0}
MaxListSize = 0
PingTimeout = {options.ping}
PongTimeout = 20
[Options]
DNS = no
Ident = no
PAM = no
OperCanUseMode = yes
[Operator]
Name = root
Password = root
[SSL]
CertFile = {tls.certificate}
KeyFile = {tls.key}
DHFile = {tls.key.with_name("dh.pem")}
Ports = {ports[1]}
"""
