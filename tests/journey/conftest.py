"""`network`: where a journey takes place. Parametrise it with `everywhere` for all of them."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
import pytest_asyncio

from tests.journey.networks import NETWORKS, Network
from tests.servers import Missing


@pytest_asyncio.fixture
async def network(request: pytest.FixtureRequest) -> AsyncIterator[Network]:
    """A real chat service; the first of `NETWORKS` where a test does not say which."""
    name = getattr(request, "param", next(iter(NETWORKS)))
    async with AsyncExitStack() as stack:
        try:
            one = await stack.enter_async_context(NETWORKS[name]())
        except Missing as error:
            pytest.skip(str(error))
        yield one
