"""The load counts right answers, and only those."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio

from scripts.harness.echo import Posing
from scripts.harness.load import Load
from tests.servers.ports import HOST

Spoil = Callable[[bytes], bytes]
ROOMS = [f"#room{number}" for number in range(10)]


class Spoiled(Posing):
    """A server whose answers a test changes on their way."""

    spoil: Spoil = staticmethod(lambda data: data)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        write = self.transport.write
        spoil = self.spoil

        class Writer:
            def write(self, data: bytes) -> None:
                write(spoil(data))

        self.transport = Writer()  # type: ignore[assignment]


@pytest_asyncio.fixture
async def port() -> AsyncIterator[int]:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Spoiled, HOST, 0)
    yield server.sockets[0].getsockname()[1]
    server.close()


@pytest.fixture(autouse=True)
def _honest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Spoiled, "spoil", staticmethod(lambda data: data))


async def test_a_closed_loop_counts_answers_and_drains(port: int) -> None:
    load = Load(port, ROOMS)
    await load.connect()
    tally = await load.closed_loop(20, 0.2, warm_up=0.05)
    assert tally.wrong == 0
    assert tally.answered > 20
    assert tally.rate == pytest.approx(tally.answered / tally.seconds)
    chatter = await load.closed_loop(10, 0.1, warm_up=0.05, chatter=9)
    assert chatter.wrong == 0
    assert chatter.answered > 0
    load.close()


async def test_a_steady_rate_measures_every_answer(port: int) -> None:
    load = Load(port, ROOMS)
    await load.connect()
    tally = await load.steady(100, 0.5)
    assert len(tally.latencies) == 50
    assert tally.wrong == 0
    assert max(tally.latencies) < 1
    load.close()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: data.replace(
            b":pong 7\r\n", b":pong 7\r\n:bot PRIVMSG #room1 :pong 7\r\n"
        ),
        lambda data: re.sub(rb":pong 7\r\n", b":pong 6\r\n", data),
        lambda data: re.sub(rb":pong 7\r\n", b":pong 8\r\n", data),
    ],
    ids=["twice", "again", "ahead"],
)
async def test_wrong_answers_are_counted(
    port: int, spoil: Spoil, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Spoiled, "spoil", staticmethod(spoil))
    load = Load(port, ROOMS[1:2], connections=1)
    await load.connect()
    tally = await load.closed_loop(1, 0.1, warm_up=0.0)
    assert tally.wrong > 0
    load.close()
