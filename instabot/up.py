"""`instabot up`: the embedded server and every service as child processes, supervised.

`Up.run` is one loop over one queue: children that changed, SIGHUP, and the wish to stop all come
in there, so nothing here is done by two tasks at once.
"""

import asyncio
import os
import re
import secrets
import signal
import socket
import sys
from pathlib import Path

from instabot import config, upstate
from instabot.broker.binary import choose
from instabot.broker.server import Server
from instabot.config import Settings
from instabot.demo import Demo
from instabot.errors import InstabotError
from instabot.secrets import Keyring
from instabot.supervise import Child, Hopeless

SERVICES = ("runtime", "backend")


async def up(settings: Settings, *, demo: bool = False) -> int:
    """Run everything until Ctrl-C (→ 130) or SIGTERM (→ 0). Raises BadInput, Unreachable."""
    os.umask(0o077)
    config.make_data(settings.data)
    with upstate.lock(settings.data):
        Keyring.load(settings.key_file, create=True)
        return await Up(settings, demo).run()


def say(line: str) -> None:
    """One line on stdout; a terminal that is gone stops nothing."""
    try:
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()
    except (OSError, ValueError):
        sys.stdout = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")


class Up:
    """One run. `code` is the exit code so far."""

    def __init__(self, settings: Settings, demo: bool) -> None:
        self.settings = settings
        self.code = 0
        self.failure: Hopeless | None = None
        self.server: Server | None = None
        self.children: dict[str, Child] = {}
        self._demo = demo
        self._events: asyncio.Queue[str] = asyncio.Queue()
        self._stopping = False

    async def run(self) -> int:
        """Start all, keep all alive, stop all in order."""
        self._catch_signals()
        url = await self._redis()
        try:
            await self._services(url)
        finally:
            if self.server is not None:
                await self.server.stop()
        if self.failure is not None:
            raise self.failure
        return self.code

    async def _redis(self) -> str:
        """Connect or start Redis → its URL."""
        if self.settings.redis:
            from instabot.broker.desk import Desk
            from instabot.broker.overview import server

            async with Desk.open(self.settings.redis, self.settings.shards) as desk:
                facts = await server(desk)
            say(f"ready: redis {facts['url']} ({facts['server']} {facts['version']})")
            return self.settings.redis
        wanted = self.settings.redis_server
        self.server = Server(
            self.settings.socket_folder, lambda: choose(wanted), self.settings.redis_memory
        )
        how = await self.server.start()
        say(f"ready: redis {self.server.url} ({self.server.version}, {how})")
        return self.server.url

    async def _services(self, url: str) -> None:
        node = node_name(self.settings.data)
        env = child_environment(self.settings, url)
        for role in SERVICES:
            self._add(role, child_arguments(self.settings, role, node), env)
        demo = Demo(self.settings.data, say) if self._demo else None
        if demo is not None:
            self._add("demo", demo.arguments(), env)
        async with asyncio.TaskGroup() as tasks:
            keeping = self.server and tasks.create_task(self.server.keep(say), name="redis")
            for child in self.children.values():
                tasks.create_task(self._keep(child), name=child.name)
            await self._loop(tasks, url, demo)
            self._stopping = True
            for name in ("backend", "runtime", "demo"):
                if name in self.children:
                    await self.children[name].stop()
            if keeping:
                keeping.cancel()

    def _add(self, name: str, argv: list[str], env: dict[str, str]) -> None:
        self.children[name] = Child(name, argv, say, env=env, changed=self._changed)

    async def _keep(self, child: Child) -> None:
        try:
            await child.run()
        except Hopeless as error:
            self.failure = self.failure or error
            self._events.put_nowait("stop")

    async def _loop(self, tasks: asyncio.TaskGroup, url: str, demo: Demo | None) -> None:
        announced = False
        while True:
            match await self._events.get():
                case "stop":
                    return
                case "restart":
                    tasks.create_task(self.children["backend"].restart())
                case "joined":
                    say("ready")
                case _ if not announced and self._all_ready():
                    announced = True
                    if demo is None:
                        say("ready")
                    else:
                        tasks.create_task(self._join(demo, url))

    async def _join(self, demo: Demo, url: str) -> None:
        try:
            await demo.join(url, self.settings.shards)
        except InstabotError as error:
            say(f"demo: {error}")
            self.failure = self.failure or Hopeless("the bot did not join the demo room", 1)
            self._events.put_nowait("stop")
        else:
            self._events.put_nowait("joined")

    def _all_ready(self) -> bool:
        return all(child.ready.is_set() for child in self.children.values())

    def _changed(self) -> None:
        children = {
            name: upstate.Child(pid=child.pid, starts=child.starts, ready=child.is_ready)
            for name, child in self.children.items()
        }
        upstate.write(self.settings.data, upstate.Note(pid=os.getpid(), children=children))
        self._events.put_nowait("changed")

    def _catch_signals(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._stop, 0)
        loop.add_signal_handler(signal.SIGINT, self._stop, 130)
        loop.add_signal_handler(signal.SIGHUP, self._events.put_nowait, "restart")

    def _stop(self, code: int) -> None:
        if self._stopping:  # a second Ctrl-C: whoever is left goes at once
            for child in self.children.values():
                child.kill()
            return
        self.code = code
        self._events.put_nowait("stop")


def child_arguments(settings: Settings, role: str, node: str) -> list[str]:
    """The command line of a service. Its id stays, so it takes its own shards back at once."""
    # -P: a folder `instabot` where we happen to be started must not be imported.
    argv = [sys.executable, "-P", "-m", "instabot", role, "--id", f"{role}-{node}", "--child"]
    if role == "backend" and settings.plugins is not None:
        argv += ["--plugins", str(settings.plugins)]
    return argv


def child_environment(settings: Settings, redis: str) -> dict[str, str]:
    """What a service needs to know; by environment, since URLs may hold passwords."""
    return {
        **os.environ,
        "INSTABOT_DATA": str(settings.data),
        "INSTABOT_REDIS_URL": redis,
        "INSTABOT_STORE_URL": settings.store,
        "PYTHONUNBUFFERED": "1",
    }


def node_name(data: Path) -> str:
    """A name for this data folder on this machine, the same at every start.

    A copied folder gets another one: two processes of one id would take turns in throwing each
    other out.
    """
    machine = re.sub(r"[^A-Za-z0-9-]", "-", socket.gethostname())[:30]
    file = data / "node"
    try:
        home, where, name = file.read_text().splitlines()
    except (OSError, ValueError):
        home = where = name = ""
    if (home, where) != (machine, str(data)) or not re.fullmatch(r"[0-9a-f]{6}", name):
        name = secrets.token_hex(3)
        file.write_text(f"{machine}\n{data}\n{name}\n")
    return f"{machine}-{name}"
