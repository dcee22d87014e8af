import asyncio
import re
from collections.abc import Callable

import pytest

from instabot.errors import BadInput
from instabot.model import Network, Room
from instabot.store import LogRow, Store

Make = Callable[..., Network]


def wish(name: str, key: str = "", **settings: str) -> tuple[str, str, str, dict[str, str]]:
    return name, name.lower(), key, settings


async def test_new_rooms_get_ids_that_carry_their_shard(store: Store, network: Make) -> None:
    rooms = await store.rooms.add_rooms(
        network(), 7, [wish("#Ops", "k", prefix="?"), wish("#b")]
    )
    assert list(rooms) == ["#Ops", "#b"]
    ops = rooms["#Ops"]
    assert re.fullmatch(r"7\.[0-9a-hj-km-np-tv-z]{6}", ops.id)
    assert ops == Room(
        id=ops.id,
        network="local/libera",
        tenant="local",
        name="#Ops",
        key="k",
        settings={"prefix": "?"},
    )
    assert await store.rooms.room(ops.id) == ops
    assert await store.rooms.network("local/libera") == network()


async def test_adding_a_room_again_keeps_its_id(store: Store, network: Make) -> None:
    first = await store.rooms.add_rooms(network(), 7, [wish("#Ops", "old", prefix="?")])
    id_ = first["#Ops"].id
    assert await store.rooms.unwant([id_]) == [id_]
    assert await store.rooms.rooms(7) == []
    again = await store.rooms.add_rooms(network(), 7, [wish("#OPS")])
    assert again == {"#OPS": first["#Ops"]}
    assert await store.rooms.rooms(7) == [first["#Ops"]]
    changed = await store.rooms.add_rooms(network(), 7, [wish("#ops", "new", prefix=".")])
    assert (changed["#ops"].id, changed["#ops"].key) == (id_, "new")
    assert changed["#ops"].settings == {"prefix": "."}


async def test_two_spellings_at_once_are_one_room(store: Store, network: Make) -> None:
    rooms = await store.rooms.add_rooms(network(), 7, [wish("#ops"), wish("#OPS")])
    assert rooms["#ops"] == rooms["#OPS"]
    assert len(await store.rooms.rooms()) == 1


async def test_adding_rooms_leaves_the_networks_settings_alone(
    store: Store, network: Make
) -> None:
    await store.rooms.put_network(network(url="irc://kept"), 7)
    await store.rooms.add_rooms(network(url="irc://other"), 7, [wish("#ops")])
    found = await store.rooms.network("local/libera")
    assert found
    assert found.url == "irc://kept"


async def test_ten_thousand_rooms_are_added_at_once(store: Store, network: Make) -> None:
    wishes = [wish(f"#room{number}") for number in range(10_000)]
    rooms = await store.rooms.add_rooms(network(), 7, wishes)
    assert len({room.id for room in rooms.values()}) == 10_000
    assert await store.rooms.add_rooms(network(), 7, wishes) == rooms
    assert len(await store.rooms.unwant([room.id for room in rooms.values()])) == 10_000
    with pytest.raises(BadInput, match="10001 rooms are too many"):
        await store.rooms.add_rooms(network(), 7, [*wishes, wish("#one-more")])


async def test_one_bad_name_adds_nothing(store: Store, network: Make) -> None:
    for bad in (wish(""), wish("#" + "x" * 300)):
        with pytest.raises(BadInput):
            await store.rooms.add_rooms(network(), 7, [wish("#ops"), bad])
    assert await store.rooms.rooms(wanted=None) == []
    assert await store.rooms.networks() == []


async def test_backends_that_add_the_same_rooms_agree(url: str, network: Make) -> None:
    wishes = [wish(f"#room{number}") for number in range(50)]
    async with await Store.open(url) as one, await Store.open(url) as two:
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(store.rooms.add_rooms(network(), 7, wishes))
                for store in (one, two, one, two)
            ]
        first, *others = [task.result() for task in tasks]
        assert all(other == first for other in others)
        assert len(await one.rooms.rooms()) == 50


async def test_a_taken_id_is_drawn_again(
    store: Store, network: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = iter("aaaaaa" + "aaaaaa" + "cccccc" + "bbbbbb")
    monkeypatch.setattr("secrets.choice", lambda _letters: next(drawn))
    old = LogRow(shard=7, stream_id="1-0", room="7.cccccc", kind="say", at=1.0)
    await store.log.write([old])
    one = await store.rooms.add_rooms(network(), 7, [wish("#one")])
    two = await store.rooms.add_rooms(network(), 7, [wish("#two")])
    assert one["#one"].id == "7.aaaaaa"  # 7.cccccc has lines of a room that is gone
    assert two["#two"].id == "7.bbbbbb"


async def test_a_room_is_put_as_it_is_given(store: Store, network: Make) -> None:
    await store.rooms.put_network(network(), 7)
    room = Room(id="7.k3f9qd", network="local/libera", tenant="local", name="#Ops")
    await store.rooms.put_room(room, 7, "#ops")
    changed = Room(
        id="7.k3f9qd", network="local/libera", tenant="local", name="#OPS", key="sealed"
    )
    await store.rooms.put_room(changed, 7)
    assert await store.rooms.rooms() == [changed]
    same = await store.rooms.add_rooms(network(), 7, [wish("#ops")])
    assert same["#ops"] == changed


async def test_a_room_of_an_unknown_network_or_a_taken_name_is_refused(
    store: Store, network: Make
) -> None:
    room = Room(id="7.k3f9qd", network="local/libera", tenant="local", name="#ops")
    with pytest.raises(BadInput, match="cannot be kept"):
        await store.rooms.put_room(room, 7)
    await store.rooms.add_rooms(network(), 7, [wish("#ops")])
    with pytest.raises(BadInput, match="cannot be kept"):
        await store.rooms.put_room(room, 7)


async def test_rooms_are_listed_by_shard_network_and_wish(store: Store, network: Make) -> None:
    one = await store.rooms.add_rooms(network("one"), 1, [wish("#a"), wish("#b")])
    two = await store.rooms.add_rooms(network("two"), 2, [wish("#a")])
    await store.rooms.unwant([one["#b"].id])
    assert await store.rooms.rooms(1) == [one["#a"]]
    assert await store.rooms.rooms(1, wanted=False) == [one["#b"]]
    assert len(await store.rooms.rooms(wanted=None)) == 3
    assert await store.rooms.rooms(network="local/two") == [two["#a"]]
    assert await store.rooms.rooms(1, network="local/two") == []


async def test_unwanting_tells_which_rooms_were_wanted(store: Store, network: Make) -> None:
    rooms = await store.rooms.add_rooms(network(), 7, [wish("#a")])
    ids = [rooms["#a"].id, "7.nobody", "'; --"]
    assert await store.rooms.unwant(ids) == [rooms["#a"].id]
    assert await store.rooms.unwant(ids) == []
    assert await store.rooms.unwant([]) == []
    assert await store.rooms.room(rooms["#a"].id) == rooms["#a"]


async def test_a_room_is_found_as_a_user_names_it(store: Store, network: Make) -> None:
    one = await store.rooms.add_rooms(network("one"), 1, [("#Ops[1]", "#ops{1}", "", {})])
    two = await store.rooms.add_rooms(network("two"), 2, [wish("#ops"), wish("#a/b")])
    three = await store.rooms.add_rooms(network("three"), 3, [wish("#ops")])
    for text, found in (
        (one["#Ops[1]"].id, [one["#Ops[1]"]]),
        ("#OPS[1]", [one["#Ops[1]"]]),
        ("one/#ops[1]", [one["#Ops[1]"]]),
        ("two/#Ops", [two["#ops"]]),
        ("local/two/#ops", [two["#ops"]]),
        ("#a/b", [two["#a/b"]]),
        ("two/#a/b", [two["#a/b"]]),
        ("#ops", [two["#ops"], three["#ops"]]),
        ("one/#ops", []),
        ("%", []),
        ("", []),
        ("\x00\ud800", []),
    ):
        assert await store.rooms.find(text) == found, text
    assert await store.rooms.find("#ops", tenant="acme") == []


async def test_a_parted_room_is_found_only_where_no_wanted_one_fits(
    store: Store, network: Make
) -> None:
    one = await store.rooms.add_rooms(network("one"), 1, [wish("#ops")])
    two = await store.rooms.add_rooms(network("two"), 2, [wish("#ops")])
    await store.rooms.unwant([one["#ops"].id])
    assert await store.rooms.find("#ops") == [two["#ops"]]
    assert await store.rooms.find("one/#ops") == [one["#ops"]]
