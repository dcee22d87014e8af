"""The `instabot` command.

Nothing heavy is imported before a command is chosen: help must be there in an instant.
"""

import argparse
import sys
from collections.abc import Sequence

from instabot.cli import letters, networks, overview, roles, rooms, services, talk
from instabot.cli.output import complain
from instabot.errors import BadInput, InstabotError, NotAllowed, Unreachable
from instabot.version import __version__

_EXAMPLE = """\
examples:
  instabot up --demo                            everything here, with a room to try it
  instabot join ircs://irc.libera.chat/#ops     sit in a room
  instabot say ops "back in five"               speak in it
  instabot COMMAND --help                       more about one command
"""


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    root = argparse.ArgumentParser(
        prog="instabot",
        description="A bot for companies' chat rooms that never leaves and loses nothing.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    root.add_argument("--version", action="version", version=f"instabot {__version__}")
    commands = root.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for group in (services, networks, rooms, talk, overview, letters, roles):
        group.add(commands)
    return root


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command → its exit code, as listed in the README."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # whatever the locale, no text may end a command
            stream.reconfigure(errors="backslashreplace")
    args = parser().parse_args(argv)
    try:
        return int(args.run(args))
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # `instabot rooms | head`: nobody reads on
        sys.stderr.close()
        return 1
    except Exception as error:  # the one boundary to the user: a clear line, never a traceback
        if args.debug:
            raise
        return _explain(_root(error))


def _root(error: Exception) -> Exception:
    """What a TaskGroup wrapped, when it is one thing."""
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def _explain(error: Exception) -> int:
    """Say what was wrong → the exit code."""
    if not isinstance(error, InstabotError):
        complain(f"{type(error).__name__}: {error} (this is a bug; --debug shows where)")
        return 1
    complain(str(error))
    if isinstance(error, Unreachable):
        return 3
    if isinstance(error, NotAllowed):
        return 4
    return 2 if isinstance(error, BadInput) else getattr(error, "exit_code", 1)


def runtime_main() -> int:
    """The `instabot-runtime` command: `instabot runtime` under a name of its own."""
    return main(["runtime", *sys.argv[1:]])
