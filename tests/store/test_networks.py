from collections.abc import Callable

import msgspec
import pytest

from instabot.errors import BadInput
from instabot.model import Network
from instabot.store import Store

Make = Callable[..., Network]


async def test_a_network_is_kept_and_replaced(store: Store, network: Make) -> None:
    first = network()
    await store.rooms.put_network(first, 3)
    assert await store.rooms.network("local/libera") == first
    second = msgspec.structs.replace(first, secret="sealed", settings={"nick": "bot", "é": "'"})
    await store.rooms.put_network(second, 3)
    assert await store.rooms.network("local/libera") == second
    assert await store.rooms.network("local/other") is None


async def test_networks_are_listed_by_shard_and_tenant(store: Store, network: Make) -> None:
    for name, shard in (("b", 1), ("a", 1), ("c", 2)):
        await store.rooms.put_network(network(name), shard)
    assert [found.name for found in await store.rooms.networks()] == ["a", "b", "c"]
    assert [found.name for found in await store.rooms.networks(1)] == ["a", "b"]
    assert [found.name for found in await store.rooms.networks(9)] == []
    assert len(await store.rooms.networks(tenant="local")) == 3
    assert await store.rooms.networks(tenant="acme") == []


async def test_replacing_a_network_keeps_its_rooms(store: Store, network: Make) -> None:
    rooms = await store.rooms.add_rooms(network(), 3, [("#ops", "#ops", "", {})])
    await store.rooms.put_network(network(url="ircs://bot@irc.example"), 3)
    assert await store.rooms.rooms(network="local/libera") == list(rooms.values())


async def test_removing_a_network_removes_its_rooms_alone(store: Store, network: Make) -> None:
    await store.rooms.add_rooms(network("one"), 1, [("#ops", "#ops", "", {})])
    await store.rooms.add_rooms(network("two"), 2, [("#ops", "#ops", "", {})])
    assert await store.rooms.remove_network("local/one")
    assert not await store.rooms.remove_network("local/one")
    assert [room.network for room in await store.rooms.rooms()] == ["local/two"]


async def test_an_unknown_tenant_is_refused(store: Store) -> None:
    foreign = Network(id="acme/libera", tenant="acme", name="libera", url="irc://x")
    with pytest.raises(BadInput, match="no tenant 'acme'"):
        await store.rooms.put_network(foreign, 3)


async def test_hostile_text_is_cleaned_and_kept(store: Store, network: Make) -> None:
    hostile = network("x'); DROP TABLE rooms; --", url="irc://a\x00b")
    hostile = msgspec.structs.replace(hostile, settings={"nick\x00": "\ud800\x00 \\u0000 %s"})
    await store.rooms.put_network(hostile, 3)
    [found] = await store.rooms.networks()
    assert found.name == "x'); DROP TABLE rooms; --"
    assert found.url == "irc://a\ufffdb"
    assert found.settings == {"nick\ufffd": "\ufffd\ufffd \\u0000 %s"}


async def test_a_name_too_long_for_an_index_is_refused(store: Store, network: Make) -> None:
    with pytest.raises(BadInput, match="at most 200"):
        await store.rooms.put_network(network("x" * 10_000), 3)
