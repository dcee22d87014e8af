import pytest

from instabot.errors import BadInput
from instabot.store import Store


async def test_what_is_put_is_there_until_it_is_deleted(store: Store) -> None:
    memory = store.memory.of("notes", "local", "7.k3f9qd")
    assert await memory.get("todo") is None
    await memory.put("todo", b"milk\x00\xff")
    await memory.put("todo", b"bread\x00\xff")
    assert await memory.get("todo") == b"bread\x00\xff"
    await memory.delete("todo")
    await memory.delete("todo")
    assert await memory.get("todo") is None


async def test_plugins_tenants_and_rooms_do_not_see_each_other(store: Store) -> None:
    names = [("a", "t", "r"), ("b", "t", "r"), ("a", "u", "r"), ("a", "t", "s")]
    for name in names:
        await store.memory.of(*name).put("key", "/".join(name).encode())
    for name in names:
        assert await store.memory.of(*name).get("key") == "/".join(name).encode()
    await store.memory.of("a", "t", "r").delete("key")
    assert await store.memory.of("b", "t", "r").get("key") == b"b/t/r"


async def test_a_value_may_have_64_kib_and_no_more(store: Store) -> None:
    memory = store.memory.of("notes", "local", "7.k3f9qd")
    await memory.put("big", b"x" * 65536)
    with pytest.raises(BadInput, match="65537 bytes"):
        await memory.put("big", b"x" * 65537)
    assert await memory.get("big") == b"x" * 65536


async def test_a_long_key_is_refused_where_the_longest_is_taken(store: Store) -> None:
    memory = store.memory.of("p" * 64, "t" * 64, "r" * 64)
    await memory.put("\U0001f600" * 200, b"taken")
    assert await memory.get("\U0001f600" * 200) == b"taken"
    with pytest.raises(BadInput, match="201 characters"):
        await memory.put("k" * 201, b"refused")


async def test_hostile_keys_are_only_keys(store: Store) -> None:
    memory = store.memory.of("notes", "local", "'; DROP TABLE memory; --")
    for key in ("'; DROP TABLE memory; --", "%", "_", "a\x00b", "\ud800", ""):
        await memory.put(key, key.encode("utf-8", "replace"))
        assert await memory.get(key) == key.encode("utf-8", "replace")
    assert await memory.get("x") is None
