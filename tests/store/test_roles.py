from collections.abc import Callable

import pytest

from instabot.errors import BadInput
from instabot.model import Network
from instabot.store import Store

Make = Callable[..., Network]


async def test_a_role_is_given_seen_and_taken(store: Store, network: Make) -> None:
    await store.rooms.put_network(network(), 3)
    await store.roles.grant("local", "local/libera", "alice", "deployer", by="root")
    await store.roles.grant("local", "local/libera", "alice", "operator", by="root")
    await store.roles.grant("local", "local/libera", "alice", "operator", by="bob")
    assert await store.roles.of("local/libera", "alice") == {"deployer", "operator"}
    assert await store.roles.of("local/libera", "Alice") == set()
    assert await store.roles.revoke("local/libera", "alice", "deployer")
    assert not await store.roles.revoke("local/libera", "alice", "deployer")
    assert await store.roles.of("local/libera", "alice") == {"operator"}
    [grant] = await store.roles.list("local")
    assert (grant.account, grant.role, grant.by) == ("alice", "operator", "root")
    assert grant.at > 0


async def test_the_same_account_elsewhere_is_somebody_else(store: Store, network: Make) -> None:
    await store.rooms.put_network(network("one"), 1)
    await store.rooms.put_network(network("two"), 2)
    await store.roles.grant("local", "local/one", "alice", "deployer", by="root")
    assert await store.roles.of("local/two", "alice") == set()
    assert await store.roles.list("local", "local/two") == []
    assert len(await store.roles.list("local", "local/one")) == 1


async def test_nobody_is_nobody(store: Store, network: Make) -> None:
    await store.rooms.put_network(network(), 3)
    assert await store.roles.of("local/libera", "") == set()
    for account, role in (("", "deployer"), ("alice", "")):
        with pytest.raises(BadInput, match="name both"):
            await store.roles.grant("local", "local/libera", account, role, by="root")


async def test_a_role_needs_a_network_and_goes_with_it(store: Store, network: Make) -> None:
    with pytest.raises(BadInput, match="no network 'local/libera'"):
        await store.roles.grant("local", "local/libera", "alice", "deployer", by="root")
    await store.rooms.put_network(network(), 3)
    await store.roles.grant("local", "local/libera", "alice", "deployer", by="root")
    await store.rooms.put_network(network(url="ircs://elsewhere.example"), 3)
    assert await store.roles.of("local/libera", "alice") == {"deployer"}
    await store.rooms.remove_network("local/libera")
    await store.rooms.put_network(network(), 3)
    assert await store.roles.of("local/libera", "alice") == set()
