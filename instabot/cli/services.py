"""`up`, `runtime`, `backend`, `restart`: the processes themselves."""

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable

from instabot import config
from instabot.cli.asking import Args, redis_url, settings_of
from instabot.cli.output import say
from instabot.cli.parsing import Adder, command, group, seconds

Serve = Callable[[config.Settings, asyncio.Event], Awaitable[None]]


def add(commands: Adder) -> None:
    """Add this file's commands."""
    _up(commands)
    runtime = command(
        commands,
        "runtime",
        "Run the process that sits in the rooms.",
        "instabot runtime --redis redis://queue.example.org --id runtime-1",
        run_runtime,
    )
    _process(runtime)
    backend = command(
        commands,
        "backend",
        "Run the process that answers.",
        "instabot backend --plugins ./plugins --reload",
        run_backend,
        store=True,
    )
    _process(backend)
    backend.add_argument("--plugins", metavar="DIR", help="a folder of your own plugins")
    backend.add_argument(
        "--reload", action="store_const", const="true", help="reload plugins when they change"
    )
    restart = command(
        group(commands, "restart", "Restart a part of what runs.", "instabot restart backend"),
        "backend",
        "Restart the backend of `instabot up`; the bot stays in its rooms.",
        "instabot restart backend",
        run_restart,
        redis=False,
    )
    restart.add_argument(
        "--timeout", type=seconds, default=60.0, metavar="S", help="default 60"
    )


def _up(commands: Adder) -> None:
    up = command(
        commands,
        "up",
        "Run everything here: Redis, runtime and backend.",
        "instabot up --demo",
        run_up,
        store=True,
    )
    up.add_argument("--demo", action="store_true", help="also run a local IRC server to try it")
    up.add_argument("--plugins", metavar="DIR", help="a folder of your own plugins")
    up.add_argument("--web", metavar="HOST:PORT", help="where to serve the web pages")
    up.add_argument("--no-web", action="store_true", help="serve no web pages")


def _process(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--id", metavar="NAME", help="a name that stays the same over restarts")
    # Set by `up`: end when the pipe on stdin closes, so that nothing outlives a killed `up`.
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)


def run_up(args: Args) -> int:
    """Run all services until Ctrl-C or SIGTERM."""
    from instabot import up

    if args.web:
        say(f"note: this version has no web pages, so nothing listens on {args.web}")
    return asyncio.run(up.up(settings_of(args), demo=args.demo))


def run_runtime(args: Args) -> int:
    """Run the runtime until SIGTERM or Ctrl-C."""
    from instabot.runtime.service import serve

    return run_service(args, "runtime", serve)


def run_backend(args: Args) -> int:
    """Run the backend until SIGTERM or Ctrl-C."""
    from instabot.backend.service import serve

    return run_service(args, "backend", serve)


def run_service(args: Args, role: str, serve: Serve) -> int:
    """Run one service under uvloop → its exit code."""
    import uvloop

    from instabot import logs

    os.umask(0o077)
    settings = settings_of(args)
    settings = config.for_service(settings, role, redis_url(settings))
    config.make_data(settings.data)
    logs.set_up(settings)
    return uvloop.run(_until_stopped(settings, serve, args.child))


async def _until_stopped(settings: config.Settings, serve: Serve, child: bool) -> int:
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    code = 0

    def interrupt() -> None:
        nonlocal code
        code = 130
        stop.set()

    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_signal_handler(signal.SIGINT, interrupt)
    if child:
        await _watch_stdin(stop)
    await serve(settings, stop)
    return code


async def _watch_stdin(stop: asyncio.Event) -> None:
    """Set `stop` when whoever started us is gone: its end of the pipe closes."""

    class Watch(asyncio.Protocol):
        def connection_lost(self, exc: Exception | None) -> None:
            stop.set()

    await asyncio.get_running_loop().connect_read_pipe(Watch, sys.stdin.buffer)


def run_restart(args: Args) -> int:
    """Have `instabot up` restart its backend, and wait for the new one."""
    from instabot import upstate

    settings = settings_of(args)
    pid = asyncio.run(upstate.restart_backend(settings.data, args.timeout))
    say(f"backend restarted, process {pid}")
    return 0
