"""`network`: where a journey takes place. Parametrise it with `everywhere` for all of them."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
import pytest_asyncio

from tests.journey.home import Home, home
from tests.journey.networks import NETWORKS, Network
from tests.servers import Missing

FIRST = next(iter(NETWORKS))


@pytest_asyncio.fixture
async def network(request: pytest.FixtureRequest) -> AsyncIterator[Network]:
    """A real chat service; the first of `NETWORKS` where a test does not say which."""
    name = getattr(request, "param", FIRST)
    async with AsyncExitStack() as stack:
        try:
            one = await stack.enter_async_context(NETWORKS[name]())
        except Missing as error:
            pytest.skip(str(error))
        yield one


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Home]:
    """One Instabot for all tests of a file, each in rooms of its own; the bot is nowhere yet.

    Such a file is marked `asyncio(loop_scope="module")`.
    """
    async with AsyncExitStack() as stack:
        try:
            one = await stack.enter_async_context(NETWORKS[FIRST]())
        except Missing as error:
            pytest.skip(str(error))
        data = tmp_path_factory.mktemp("shared") / "d"
        yield await stack.enter_async_context(home(one, data))
