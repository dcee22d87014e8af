"""`role grant | revoke | list`: who may run commands with effects."""

from typing import TYPE_CHECKING

from instabot import config
from instabot.cli.asking import Args, asks
from instabot.cli.output import document, say, table
from instabot.cli.parsing import Adder, command, group, seconds
from instabot.model import shard_of

if TYPE_CHECKING:
    from instabot.broker.desk import Desk

Settings = config.Settings


def add(commands: Adder) -> None:
    """Add this file's commands."""
    example = "instabot role grant libera alice deployer"
    roles = group(commands, "role", "Say who may do what.", example)
    for verb, text in (("grant", "Give a role."), ("revoke", "Take a role away.")):
        parser = command(
            roles, verb, text, f"instabot role {verb} libera alice deployer", asks(_change)
        )
        parser.set_defaults(verb=verb)
        parser.add_argument("network", metavar="NETWORK")
        parser.add_argument("account", metavar="ACCOUNT", help="the services account, no nick")
        parser.add_argument("role", metavar="ROLE")
        parser.add_argument("--timeout", type=seconds, default=15.0, metavar="S")
    listed = command(
        roles, "list", "List the roles.", "instabot role list libera", asks(_list), as_json=True
    )
    listed.add_argument("network", metavar="NETWORK")
    listed.add_argument("--timeout", type=seconds, default=15.0, metavar="S")


async def _change(desk: "Desk", settings: Settings, args: Args) -> int:
    network = await desk.network(args.network)
    wish = {"network": network.name, "account": args.account, "role": args.role}
    shard = shard_of(network.id, desk.shards)
    await desk.ask(shard, f"role.{args.verb}", wish, timeout=args.timeout)
    has = "has" if args.verb == "grant" else "no longer has"
    say(f"{args.account} {has} the role {args.role} on {network.name}")
    return 0


async def _list(desk: "Desk", settings: Settings, args: Args) -> int:
    network = await desk.network(args.network)
    shard = shard_of(network.id, desk.shards)
    answer = await desk.ask(shard, "role.list", {"network": network.name}, timeout=args.timeout)
    rows = [(str(row["account"]), str(row["role"])) for row in answer.data["roles"]]
    if args.json:
        document([{"account": account, "role": role} for account, role in rows])
    elif rows:
        table(("ACCOUNT", "ROLE"), rows)
    else:
        say(f"nobody has a role on {network.name}")
    return 0
