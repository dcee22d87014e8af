"""`network add | list | show | remove`: accounts on chat services."""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from instabot import config, endpoint
from instabot.cli.asking import Args, asks
from instabot.cli.output import document, say, table
from instabot.cli.parsing import Adder, command, group, seconds
from instabot.errors import BadInput
from instabot.model import Network, address, network_id, shard_of

if TYPE_CHECKING:
    from instabot.broker.desk import Desk

Settings = config.Settings
_MOST_SECRET = 4096


def add(commands: Adder) -> None:
    """Add this file's commands."""
    example = "instabot network add libera ircs://acmebot@irc.libera.chat --set rate=1"
    networks = group(commands, "network", "Manage accounts on chat services.", example)
    put = command(networks, "add", "Add a network, or change it.", example, asks(_add))
    put.add_argument("name", metavar="NAME")
    put.add_argument("url", metavar="URL", help="e.g. ircs://nick@irc.example.org:6697")
    secrets_and_settings(put)
    put.add_argument("--timeout", type=seconds, default=15.0, metavar="S", help="default 15")
    command(
        networks,
        "list",
        "List the networks.",
        "instabot network list --json",
        asks(_list),
        as_json=True,
    )
    show = command(
        networks,
        "show",
        "Show one network with its rooms.",
        "instabot network show libera",
        asks(_show),
        as_json=True,
    )
    show.add_argument("name", metavar="NAME")
    remove = command(
        networks,
        "remove",
        "Leave all rooms of a network and forget it.",
        "instabot network remove libera",
        asks(_remove),
    )
    remove.add_argument("name", metavar="NAME")
    remove.add_argument("--timeout", type=seconds, default=15.0, metavar="S", help="default 15")


def secrets_and_settings(parser: argparse.ArgumentParser) -> None:
    """The flags that `network add` and `join` share."""
    secret = parser.add_mutually_exclusive_group()
    secret.add_argument("--secret-file", metavar="F", help="a file with the password")
    secret.add_argument("--secret-stdin", action="store_true", help="read it from stdin")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a setting: host, port, nick, realname, sasl, tls_verify, ca_file, rate, burst, "
        "prefix, encoding, allow_plaintext_password",
    )


def given_settings(args: Args, point: endpoint.Endpoint) -> dict[str, str]:
    """Settings from the URL's query and from `--set`, which wins. Raises BadInput."""
    pairs = {}
    for pair in args.set:
        name, equals, value = pair.partition("=")
        if not equals:
            raise BadInput(f"--set {pair!r}: write KEY=VALUE")
        pairs[name] = value
    return {**point.settings, **endpoint.check_settings(point.scheme, pairs)}


def given_secret(args: Args, point: endpoint.Endpoint) -> str:
    """The secret from a file, stdin or the URL; '' for none. Raises BadInput."""
    if args.secret_file is not None:
        try:
            raw = Path(args.secret_file).read_bytes()[: _MOST_SECRET + 1]
        except OSError as error:
            raise BadInput(f"--secret-file {args.secret_file}: {error.strerror}") from None
    elif args.secret_stdin:
        raw = sys.stdin.buffer.read(_MOST_SECRET + 1)
    else:
        return point.secret
    try:
        secret = raw.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise BadInput("the secret is not UTF-8 text") from None
    if not secret or len(raw) > _MOST_SECRET or "\n" in secret or "\0" in secret:
        raise BadInput(f"the secret must be one line of 1 to {_MOST_SECRET} bytes")
    return secret


def seal(
    settings: Settings, secret: str, network: str, url: str, options: Mapping[str, str]
) -> str:
    """Seal a secret for a network (by id) at its address. Raises BadInput."""
    if not secret:
        return ""
    from instabot.secrets import Keyring

    if urlsplit(url).scheme == "irc" and not _plaintext_allowed(options):
        raise BadInput(
            "irc:// would send the password unencrypted: use ircs://, "
            "or add --set allow_plaintext_password=true"
        )
    host, port = address(url, options)
    config.make_data(settings.data)
    ring = Keyring.load(settings.key_file, create=not settings.redis)
    return ring.seal(secret, network=network, host=host, port=port)


def _plaintext_allowed(options: Mapping[str, str]) -> bool:
    return options.get("allow_plaintext_password", "").lower() in ("true", "yes", "on", "1")


async def _add(desk: "Desk", settings: Settings, args: Args) -> int:
    name = endpoint.check_name(args.name)
    point = endpoint.parse(args.url)
    if point.rooms:
        raise BadInput(f"a network's URL names no room; add it, then: instabot join {args.url}")
    options = given_settings(args, point)
    where = network_id(desk.tenant, name)
    secret = seal(settings, given_secret(args, point), where, point.url, options)
    wish = {"name": name, "url": point.url, "secret": secret, "settings": options}
    await desk.ask(shard_of(where, desk.shards), "network.put", wish, timeout=args.timeout)
    say(f"network {name} is {point.url}; join its rooms: instabot join {name} ROOM")
    return 0


async def _list(desk: "Desk", settings: Settings, args: Args) -> int:
    networks = await desk.networks()
    rooms = await desk.wanted_rooms()
    counts = {n.id: sum(room.network == n.id for room in rooms) for n in networks}
    if args.json:
        document([{**facts(network), "rooms": counts[network.id]} for network in networks])
    elif networks:
        rows = [(n.name, n.url, str(counts[n.id]), _listed(n.settings)) for n in networks]
        table(("NETWORK", "URL", "ROOMS", "SETTINGS"), rows)
    else:
        say("no networks yet: instabot join ircs://irc.example.org/#room")
    return 0


def facts(network: Network) -> dict[str, Any]:
    """A network for `--json`: that it has a secret, never the secret."""
    return {
        "id": network.id,
        "tenant": network.tenant,
        "name": network.name,
        "url": network.url,
        "secret": bool(network.secret),
        "settings": network.settings,
    }


def _listed(settings: Mapping[str, str]) -> str:
    return " ".join(f"{name}={value}" for name, value in sorted(settings.items()))


async def _show(desk: "Desk", settings: Settings, args: Args) -> int:
    network = await desk.network(args.name)
    rooms = [room for room in await desk.rooms() if room.network == network.name]
    if args.json:
        document({**facts(network), "rooms": rooms})
        return 0
    say(f"{network.name}  {network.url}")
    say(f"secret: {'sealed' if network.secret else 'none'}")
    say(f"settings: {_listed(network.settings) or 'none'}")
    for room in rooms:
        say(f"  {room.id}  {room.name}  {room.state} {room.reason}")
    return 0


async def _remove(desk: "Desk", settings: Settings, args: Args) -> int:
    network = await desk.network(args.name)
    shard = shard_of(network.id, desk.shards)
    await desk.ask(shard, "network.remove", {"name": network.name}, timeout=args.timeout)
    say(f"network {network.name} is gone")
    return 0
