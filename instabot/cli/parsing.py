"""Making parsers: every command has help with an example, and the same common flags."""

import argparse
from collections.abc import Callable
from typing import Any, Protocol

Run = Callable[[argparse.Namespace], int]


class Adder(Protocol):
    """What `add_subparsers` returns."""

    def add_parser(self, name: str, **kwargs: Any) -> argparse.ArgumentParser: ...


def command(
    commands: Adder,
    name: str,
    text: str,
    example: str,
    run: Run | None,
    *,
    redis: bool = True,
    as_json: bool = False,
    store: bool = False,
) -> argparse.ArgumentParser:
    """Add a command. `text` is one sentence, `example` one or more lines to copy."""
    parser = commands.add_parser(
        name,
        help=text[0].lower() + text[1:].rstrip("."),
        description=text,
        epilog="example:\n" + "\n".join(f"  {line}" for line in example.splitlines()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--data", metavar="DIR", help="the data folder")
    if redis:
        parser.add_argument("--redis", metavar="URL", help="the Redis to use")
    if store:
        parser.add_argument("--store", metavar="URL", help="the database to use")
    if as_json:
        parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--debug", action="store_true", help="show a traceback on errors")
    if run is not None:
        parser.set_defaults(run=run)
    return parser


def group(commands: Adder, name: str, text: str, example: str) -> Adder:
    """Add a command that has commands of its own, like `network add`."""
    parser = commands.add_parser(
        name,
        help=text[0].lower() + text[1:].rstrip("."),
        description=text,
        epilog="example:\n" + "\n".join(f"  {line}" for line in example.splitlines()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    return parser.add_subparsers(dest="subcommand", metavar="COMMAND", required=True)


def seconds(text: str) -> float:
    """A time-out in seconds, for argparse."""
    value = float(text)
    if not 0 < value <= 86400:
        raise argparse.ArgumentTypeError(f"{text} is not a number of seconds from 0 to 86400")
    return value
