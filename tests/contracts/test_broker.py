"""The scripts' rules, over fakeredis and over real servers: the same tests on each."""

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import pytest_asyncio

from instabot.broker import scripts
from instabot.broker.keys import ANSWERS, key
from instabot.broker.scripts import Caps, Dead, Done, Item, Said
from instabot.broker.trim import trim
from instabot.errors import Fenced
from tests.contracts.queues import KINDS, NOW, Queues, queues


@pytest_asyncio.fixture(params=KINDS)
async def q(request: pytest.FixtureRequest) -> AsyncIterator[Queues]:
    async with queues(request.param) as made:
        yield made


# -- 1 lease ---------------------------------------------------------------------------------


async def lease(q: Queues, name: str, incarnation: int) -> scripts.Lease:
    return (await scripts.lease_all(q.client, [3], "backend", name, incarnation, 60_000))[0]


async def test_a_free_lease_is_taken_and_then_renewed(q: Queues) -> None:
    assert (await lease(q, "one", 1)).state == 2
    again = await lease(q, "one", 1)
    assert (again.state, again.before) == (1, "one:1")
    assert again.beat > 1_600_000_000


async def test_a_lower_incarnation_of_the_same_id_is_replaced_at_once(q: Queues) -> None:
    await lease(q, "one", 1)
    new = await lease(q, "one", 2)
    assert (new.state, new.before) == (2, "one:1")


async def test_the_one_that_was_replaced_is_told_so(q: Queues) -> None:
    await lease(q, "one", 2)
    old = await lease(q, "one", 1)
    assert (old.state, old.before) == (-1, "one:2")


async def test_another_id_waits_until_the_lease_has_run_out(q: Queues) -> None:
    await lease(q, "one", 9)
    assert (await lease(q, "two", 10)).state == 0
    await q.raw("PEXPIRE", key(3, "lease:backend"), 0)  # its time has come
    taken = await lease(q, "two", 10)
    assert (taken.state, taken.before) == (2, "one:9")


async def test_an_id_with_a_colon_is_told_from_one_that_is_its_beginning(q: Queues) -> None:
    await lease(q, "one:2", 1)
    assert (await lease(q, "one", 5)).state == 0


async def test_release_gives_up_ones_own_lease_only(q: Queues) -> None:
    await lease(q, "one", 1)
    await scripts.release(q.client, 3, "backend", "two:1")
    assert await q.raw("GET", key(3, "lease:backend")) == b"one:1"
    await scripts.release(q.client, 3, "backend", "one:1")
    assert await q.raw("GET", key(3, "lease:backend")) is None


@pytest.mark.parametrize(
    "script",
    ["ingest", "fetch", "commit", "ack", "confirm", "dead", "dead control", "put", "groups"],
)
async def test_every_script_is_void_without_the_lease(q: Queues, script: str) -> None:
    await q.hear("hello")
    await q.ingest([Item("0.a", "t", b"say", ref="1")], stream="control")
    (entry,), (say,) = await q.fetch(), await q.fetch("runtime")
    before = await everything(q)
    thief = "thief:9"
    calls: dict[str, Callable[[], Awaitable[object]]] = {
        "ingest": lambda: scripts.ingest(
            q.client, 0, [Item("0.a", "t", b"x", ref="2")], NOW, token=thief
        ),
        "fetch": lambda: scripts.fetch(
            q.client, 0, "messages", "log", "backend", thief, 10, ">"
        ),
        "commit": lambda: scripts.commit(
            q.client, 0, thief, [Done(entry, [("0.a", "t", b"reply")])], 9
        ),
        "ack": lambda: scripts.ack(
            q.client, 0, "messages", "backend", "backend", thief, [entry]
        ),
        "confirm": lambda: scripts.confirm(q.client, 0, thief, [Said(say, b"own")]),
        "dead": lambda: scripts.dead(
            q.client, 0, "messages", "backend", "backend", thief, [Dead(entry, "why")]
        ),
        "dead control": lambda: scripts.dead(
            q.client, 0, "control", "runtime", "runtime", thief, [Dead(say, "why")]
        ),
        "put": lambda: scripts.put(q.client, 0, thief, [("r", "0.a", b"{}")]),
        "groups": lambda: scripts.groups(
            q.client, 0, "messages", "backend", thief, [("backend", b"")], exactly=True
        ),
    }
    with pytest.raises(Fenced):
        await calls[script]()
    assert await everything(q) == before


async def everything(q: Queues) -> list[object]:
    streams = [await q.rows(name) for name in ("messages", "control", "dead")]
    waiting = [await q.waiting("messages", name) for name in ("backend", "log")]
    hashes = [await q.raw("HGETALL", key(0, name)) for name in ("depth", "rooms", "seen")]
    return [*streams, *waiting, await q.waiting("control", "runtime"), *hashes]


# -- 2 fetch ---------------------------------------------------------------------------------


async def test_a_new_holder_pages_what_the_dead_one_left_by_its_last_id(q: Queues) -> None:
    await q.hear("1", "2", "3")
    await q.fetch(count=2)  # and died
    first = await q.fetch(count=1, start="0")
    second = await q.fetch(count=1, start=first[0].id.decode())
    assert [e.data for e in first + second] == [b"1", b"2"]
    nothing, last = await scripts.fetch(
        q.client, 0, "messages", "backend", "backend", q.backend, 9, second[0].id.decode()
    )
    assert (nothing, last) == ([], second[0].id)
    assert [e.data for e in await q.fetch()] == [b"3"]


async def test_entries_are_read_again_by_id_whole(q: Queues) -> None:
    await q.hear("1", "2")
    entries = await q.fetch()
    ids = [entries[1].id, b"1-1", entries[0].id]
    second, gone, first = await scripts.reread(q.client, 0, "messages", ids)
    assert [first, second] == entries
    assert gone.data is None


@pytest.mark.parametrize("fields", [["d", "x"], ["r", b"\xff", "t", "t", "d", "x"], ["a", "b"]])
async def test_what_somebody_wrote_by_hand_comes_out_as_nothing_of_ours(
    q: Queues, fields: list[str | bytes]
) -> None:
    await q.groups("backend", "log")
    number = await q.raw("XADD", key(0, "messages"), "*", *fields)
    for (entry,) in (await q.fetch(), await scripts.reread(q.client, 0, "messages", [number])):
        assert entry.data is not None
        assert entry.data.startswith(b"not an entry of ours: ")


# -- 3 cap -----------------------------------------------------------------------------------


async def test_full_counts_what_is_not_acknowledged(q: Queues) -> None:
    caps = Caps(shard=2)
    assert await q.hear("1", "2", "3", caps=caps) == "AAF"
    await q.ack(await q.fetch())
    assert await q.hear("3", "4", "5", caps=caps) == "AAF"


async def test_one_tenant_is_full_while_another_is_not(q: Queues) -> None:
    caps = Caps(tenant=1)
    items = [
        Item("0.a", "ann", b"1", "ann", 1),
        Item("0.a", "ann", b"2", "ann", 2),
        Item("0.b", "bob", b"1", "bob", 1),
    ]
    assert await q.ingest(items, caps) == "AFA"


async def test_the_log_has_a_cap_of_its_own(q: Queues) -> None:
    caps = Caps(log=2)
    assert await q.hear("1", "2", "3", caps=caps) == "AAF"
    await q.ack(await q.fetch())
    assert await q.hear("3", caps=caps) == "F"  # evaluated, but not logged yet
    await q.ack(await q.fetch("log"), "log")
    assert await q.hear("3", caps=caps) == "A"


async def test_after_a_refusal_of_a_source_its_later_items_are_refused_too(q: Queues) -> None:
    caps = Caps(tenant=1)
    items = [
        Item("0.a", "ann", b"1", "net", 1),
        Item("0.a", "ann", b"2", "net", 2),
        Item("0.b", "bob", b"3", "net", 3),
    ]
    assert await q.ingest(items, caps) == "AFF"
    await q.ack(await q.fetch())
    assert await q.ingest(items, Caps()) == "DAA"  # the retry of 2 is no duplicate
    assert await q.texts("messages") == ["1", "2", "3"]


async def test_a_duplicate_is_told_so_even_when_full(q: Queues) -> None:
    full = Caps(shard=0)
    item = Item("0.a", "t", b"1", "net", 1, "0.a|msgid")
    await q.ingest([item])
    again = Item("0.a", "t", b"1", "other", 1, "0.a|msgid")
    assert await q.ingest([item, again], full) == "DD"


async def test_a_full_room_gets_a_dead_letter_and_the_others_their_replies(q: Queues) -> None:
    await q.hear("1")
    (entry,) = await q.fetch()
    replies = [("0.a", "t", b"a1"), ("0.a", "t", b"a2"), ("0.b", "t", b"b1")]
    assert await scripts.commit(q.client, 0, q.backend, [Done(entry, replies)], 1) == 1
    assert await q.texts("control") == ["a1", "b1"]
    ((_, letter),) = await q.rows("dead")
    assert (letter[b"r"], letter[b"q"], letter[b"d"]) == (b"0.a", b"control", b"a2")
    assert letter[b"w"] == b"the control queue of this room is full"
    assert await q.depth("c") == await q.true_depth("c")


async def old(q: Queues, name: str, count: int) -> None:
    """Entries as of 1970, so that trimming by age concerns them."""
    knows_its_memory(q)
    for n in range(1, count + 1):
        fields = ("r", "0.a", "t", "t", "d", f"{n}")
        await q.raw("XADD", key(0, name), f"{n}-0", *fields)


async def test_trimming_by_age_takes_what_every_group_has_acknowledged(q: Queues) -> None:
    await q.groups("backend", "log")
    await old(q, "messages", 1000)
    entries = await q.fetch()
    logged = await q.fetch("log")
    await q.ack(entries)
    assert await trim(q.client, 0, 3600) == 0  # the log has acknowledged nothing
    await q.ack(logged[:500], "log")
    gone = await trim(q.client, 0, 3600)
    assert 300 <= gone <= 500  # whole nodes of the stream only
    assert [e.data for e in await q.fetch("log", start="0")] == [e.data for e in logged[500:]]


def knows_its_memory(q: Queues) -> None:
    if q.server is None:
        pytest.skip("fakeredis has no INFO")


async def test_trimming_spares_what_is_young(q: Queues) -> None:
    knows_its_memory(q)
    await q.hear(*(f"{n}" for n in range(500)))
    await q.ack(await q.fetch())
    await q.ack(await q.fetch("log"), "log")
    assert await trim(q.client, 0, 3600) == 0


async def test_trimming_never_passes_what_nobody_has_read(q: Queues) -> None:
    await q.groups("backend", "log")
    await old(q, "messages", 500)
    assert await trim(q.client, 0, 3600) == 0


# -- 4 dedup ---------------------------------------------------------------------------------


async def test_a_batch_whose_answer_was_lost_is_all_duplicates(q: Queues) -> None:
    items = [Item("0.a", "t", b"%d" % n, "net", n) for n in (1, 2, 3)]
    assert await q.ingest(items) == "AAA"
    assert await q.ingest(items) == "DDD"
    assert await q.texts("messages") == ["1", "2", "3"]


async def test_sources_have_marks_of_their_own(q: Queues) -> None:
    items = [Item("0.a", "t", b"1", "net", 5), Item("0.a", "t", b"2", "other", 1)]
    assert await q.ingest(items) == "AA"
    assert await q.ingest([items[0]._replace(counter=4)]) == "D"
    assert await q.raw("HGET", key(0, "seen"), "net") == b"5"


async def test_a_mark_is_exact_for_numbers_as_large_as_clocks_give(q: Queues) -> None:
    large = 1_763_971_200_123_456
    assert await q.ingest([Item("0.a", "t", b"1", "net", large)]) == "A"
    assert await q.ingest([Item("0.a", "t", b"1", "net", large)]) == "D"
    assert await q.ingest([Item("0.a", "t", b"1", "net", large + 1)]) == "A"


async def test_a_services_own_id_is_known_from_whichever_source_it_comes(q: Queues) -> None:
    live = Item("0.a", "t", b"hi", "net|1", 7, "0.a|msgid")
    caught_up = Item("0.a", "t", b"hi", "net|2", 1, "0.a|msgid")
    assert await q.ingest([live]) == "A"
    assert await q.ingest([caught_up]) == "D"
    assert await q.ingest([caught_up._replace(counter=2, ref="0.b|msgid")]) == "A"


async def test_a_services_own_ids_are_kept_three_days(q: Queues) -> None:
    async def at(now: float, ref: str) -> str:
        item = Item("0.a", "t", b"x", ref=ref)
        return await scripts.ingest(q.client, 0, [item], now)

    assert await at(NOW, "one") == "A"
    assert await at(NOW + 3 * 86400 - 1, "two") == "A"
    assert await at(NOW + 3 * 86400 - 1, "one") == "D"
    assert await at(NOW + 3 * 86400 + 1, "three") == "A"
    assert await at(NOW + 3 * 86400 + 1, "one") == "A"


# -- 5 data loss, 6 log, 9 groups ------------------------------------------------------------


async def test_a_stream_is_born_with_its_groups_and_loses_nothing(q: Queues) -> None:
    await q.hear("1")
    assert [e.data for e in await q.fetch("log")] == [b"1"]
    assert await q.groups("backend", "log") == []
    assert [e.data for e in await q.fetch()] == [b"1"]


async def test_a_group_that_vanished_never_starts_again_at_the_beginning(q: Queues) -> None:
    await q.hear("1", "2")
    await q.groups("backend", "log")
    await q.ack(await q.fetch())
    await q.raw("XGROUP", "DESTROY", key(0, "messages"), "backend")
    assert await q.groups("backend", "log") == ["backend"]  # reported
    await q.hear("3")
    assert [e.data for e in await q.fetch()] == [b"3"]


async def test_a_group_that_vanished_goes_on_behind_the_last_entry_we_know(q: Queues) -> None:
    await q.hear("1", "2", "3")
    first = (await q.fetch(count=1))[0]
    await q.raw("XGROUP", "DESTROY", key(0, "messages"), "backend")
    lost = await scripts.groups(
        q.client, 0, "messages", "backend", q.backend, [("backend", first.id)]
    )
    assert lost == ["backend"]
    assert [e.data for e in await q.fetch()] == [b"2", b"3"]
    assert await q.depth("m") == await q.true_depth("m") == {"m": 2, "m:0.a": 2, "m@t": 2}


async def test_the_runtimes_group_is_missed_too(q: Queues) -> None:
    await q.ingest([Item("0.a", "t", b"1", ref="1")], stream="control")
    await q.raw("XGROUP", "DESTROY", key(0, "control"), "runtime")
    lost = await scripts.groups(
        q.client, 0, "control", "runtime", q.runtime, [("runtime", b"")]
    )
    assert lost == ["runtime"]
    assert await q.depth("c") == {}  # what is skipped does not wait any more


async def test_a_stream_that_is_not_there_yet_has_lost_nothing(q: Queues) -> None:
    assert await q.groups("backend", "log") == []
    assert await q.groups("backend", "log") == []


async def test_the_log_falls_behind_without_holding_up_the_backend(q: Queues) -> None:
    await q.groups("backend", "log")
    await q.hear("1", "2")
    await q.ack(await q.fetch())
    assert (await q.depth("m"), await q.depth("l")) == ({}, {"l": 2})
    await q.ack(await q.fetch("log"), "log")
    assert await q.depth("l") == {}


async def test_lines_heard_before_any_backend_ran_count_for_the_log_too(q: Queues) -> None:
    await q.hear("1", "2")
    assert await q.depth("l") == {"l": 2}
    await q.groups("backend", "log")
    await q.hear("3")
    await q.ack((await q.fetch("log"))[:2], "log")
    assert await q.depth("l") == await q.true_depth("l") == {"l": 1}


async def test_switching_a_group_off_destroys_it(q: Queues) -> None:
    await q.groups("backend", "log", "compat")
    await q.hear("1")
    await q.groups("backend")
    rows = await q.raw("XINFO", "GROUPS", key(0, "messages"))
    assert len(rows) == 1
    assert await q.raw("SMEMBERS", key(0, "groups")) in ({b"backend"}, [b"backend"])
    assert await q.depth("l") == {}


async def test_a_log_switched_on_again_starts_with_now(q: Queues) -> None:
    await q.groups("backend", "log")
    await q.hear("1")
    await q.groups("backend")
    await q.hear("2")
    assert await q.groups("backend", "log") == []
    await q.hear("3")
    assert [e.data for e in await q.fetch("log")] == [b"3"]
    assert await q.depth("l") == {"l": 1}


# -- exactly once ----------------------------------------------------------------------------


async def test_a_commit_whose_answer_was_lost_changes_nothing_when_repeated(q: Queues) -> None:
    await q.hear("1", "2")
    entries = await q.fetch()
    batch = [Done(entry, [("0.a", "t", entry.data or b"")], [b"answer"]) for entry in entries]
    assert await scripts.commit(q.client, 0, q.backend, batch[:1], 9) == 1
    assert await scripts.commit(q.client, 0, q.backend, batch, 9) == 1
    assert await scripts.commit(q.client, 0, q.backend, batch, 9) == 0
    assert await q.texts("control") == ["1", "2"]
    assert await q.depth("c") == {"c": 2, "c:0.a": 2, "c@t": 2}
    assert await q.depth("m") == {}


async def test_a_confirmed_line_is_logged_once(q: Queues) -> None:
    await q.groups("backend", "log")
    await q.ingest([Item("0.a", "t", b"say", ref="1")], stream="control")
    (say,) = await q.fetch("runtime")
    for done in (1, 0):
        assert await scripts.confirm(q.client, 0, q.runtime, [Said(say, b"own")]) == done
    assert await q.texts("messages") == ["own"]
    assert [e.data for e in await q.fetch("log")] == [b"own"]
    assert await q.depth("c") == {}


async def test_without_a_log_the_bots_own_lines_are_not_kept(q: Queues) -> None:
    await q.groups("backend")
    await q.hear("1")
    await q.ingest([Item("0.a", "t", b"say", ref="1")], stream="control")
    (say,) = await q.fetch("runtime")
    await scripts.confirm(q.client, 0, q.runtime, [Said(say, b"own")])
    assert await q.texts("messages") == ["1"]


async def test_a_dead_letter_is_written_once_with_all_that_is_known(q: Queues) -> None:
    await q.hear("bad")
    (entry,) = await q.fetch()
    for done in (1, 0):
        batch = [Dead(entry, "because " * 100)]
        where = ("messages", "backend", "backend", q.backend)
        assert await scripts.dead(q.client, 0, *where, batch) == done
    ((_, letter),) = await q.rows("dead")
    assert letter[b"i"] == entry.id
    assert (letter[b"q"], letter[b"r"], letter[b"t"]) == (b"messages", b"0.a", b"t")
    assert letter[b"d"] == b"bad"
    assert len(letter[b"w"]) == 500
    assert await q.depth("m") == {}


async def test_whoever_asked_hears_the_answer_from_the_commit_itself(q: Queues) -> None:
    if q.server is None:
        pytest.skip("a subscriber needs a connection of its own")
    async with q.server.client() as client, client.pubsub() as feed:
        await feed.subscribe(ANSWERS)
        assert (await feed.get_message(timeout=5) or {})["type"] == "subscribe"
        await q.hear("1")
        (entry,) = await q.fetch()
        await scripts.commit(q.client, 0, q.backend, [Done(entry, (), [b"done"])], 9)
        assert (await feed.get_message(timeout=5) or {})["data"] == b"done"


async def test_desired_state_is_written_under_a_rising_generation(q: Queues) -> None:
    first = await scripts.put(q.client, 0, q.backend, [("r", "0.a", b"A"), ("n", "t/x", b"X")])
    second = await scripts.put(q.client, 0, q.backend, [("r", "0.a", b""), ("r", "0.b", b"B")])
    assert second == first + 1
    assert await scripts.read_hash(q.client, key(0, "rooms")) == {
        "0.b": b"B",
        "generation": b"%d" % second,
    }
    whole = await scripts.put(q.client, 0, q.backend, [("r", "0.c", b"C")], whole=True)
    assert set(await scripts.read_hash(q.client, key(0, "rooms"))) == {"0.c", "generation"}
    assert set(await scripts.read_hash(q.client, key(0, "networks"))) == {"generation"}
    after_loss = await scripts.put(q.client, 0, q.backend, [], generation=whole + 100)
    assert after_loss == whole + 100


# -- out of memory ---------------------------------------------------------------------------


@pytest_asyncio.fixture(params=["redis", "valkey"])
async def cramped(request: pytest.FixtureRequest) -> AsyncIterator[Queues]:
    """Queues with a message and a Say in work, on a server whose memory then ran out."""
    async with queues(request.param) as made:
        await made.groups("backend", "log")
        await made.hear("1", "2")
        await made.ingest([Item("0.a", "t", b"say", ref="1")], stream="control")
        await made.raw("CONFIG", "SET", "maxmemory", "1")
        yield made


async def test_without_memory_nothing_more_is_taken_in(cramped: Queues) -> None:
    assert await cramped.hear("3", "4") == "FF"
    await cramped.raw("CONFIG", "SET", "maxmemory", "0")
    assert await cramped.hear("3", "4") == "AA"


async def test_without_memory_the_backlog_still_drains(cramped: Queues) -> None:
    q = cramped
    one, two = await q.fetch()
    await scripts.commit(q.client, 0, q.backend, [Done(one, [("0.a", "t", b"reply")])], 9)
    where = ("messages", "backend", "backend", q.backend)
    await scripts.dead(q.client, 0, *where, [Dead(two, "why")])
    say, reply = await q.fetch("runtime")
    await scripts.confirm(q.client, 0, q.runtime, [Said(say, b"own")])
    await q.ack([reply], "runtime")
    await q.ack(await q.fetch("log"), "log")
    assert await q.texts("messages") == ["1", "2", "own"]
    assert await q.depth("c") == {}
    assert await q.depth("m") == await q.true_depth("m")


async def test_without_memory_a_restarted_backend_takes_its_leases(cramped: Queues) -> None:
    q = cramped
    (again,) = await scripts.lease_all(q.client, [0], "backend", "b", 2, 60_000)
    assert (again.state, again.before) == (2, "b:1")
    (fresh,) = await scripts.lease_all(q.client, [5], "backend", "b", 2, 60_000)
    assert fresh.state == 2


async def test_above_the_memory_mark_the_acknowledged_goes_whatever_its_age(
    cramped: Queues,
) -> None:
    q = cramped
    await q.raw("CONFIG", "SET", "maxmemory", "0")
    await q.hear(*(f"{n}" for n in range(1000)))
    await q.ack(await q.fetch(count=2000))
    await q.ack(await q.fetch("log", count=2000), "log")
    assert await trim(q.client, 0, 3600) == 0
    await q.raw("CONFIG", "SET", "maxmemory", "1")
    assert await trim(q.client, 0, 3600) >= 900
