"""Real servers as fixtures, and the list of those that a run has used."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import TypeVar

import pytest
import pytest_asyncio

from tests import servers

T = TypeVar("T")


@pytest_asyncio.fixture
async def redis_server() -> AsyncIterator[servers.RedisServer]:
    """A fresh redis-server on a unix socket and a TCP port."""
    async with AsyncExitStack() as stack:
        yield await _entered(stack, servers.redis())


@pytest_asyncio.fixture
async def valkey_server() -> AsyncIterator[servers.RedisServer]:
    """A fresh Valkey, from the wheel."""
    async with AsyncExitStack() as stack:
        yield await _entered(stack, servers.valkey())


@pytest_asyncio.fixture
async def ngircd() -> AsyncIterator[servers.IrcServer]:
    """A fresh ngIRCd without flood control; use `servers.ngircd(...)` for other options."""
    async with AsyncExitStack() as stack:
        yield await _entered(stack, servers.ngircd())


@pytest_asyncio.fixture
async def inspircd() -> AsyncIterator[servers.IrcServer]:
    """A fresh InspIRCd without flood control; use `servers.inspircd(...)` for other options."""
    async with AsyncExitStack() as stack:
        yield await _entered(stack, servers.inspircd())


async def _entered(stack: AsyncExitStack, server: AbstractAsyncContextManager[T]) -> T:
    try:
        return await stack.enter_async_context(server)
    except servers.Missing as error:
        pytest.skip(str(error))


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    # A worker of pytest-xdist hands its list to the process that prints the summary.
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["servers"] = list(servers.used)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: object) -> None:
    output: dict[str, list[str]] = getattr(node, "workeroutput", {})
    servers.used.update(dict.fromkeys(output.get("servers", [])))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if servers.used:
        terminalreporter.write_line(f"real servers: {', '.join(sorted(servers.used))}")
