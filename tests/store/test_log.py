import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from instabot.errors import BadInput
from instabot.model import Heard, Notice
from instabot.store import LogRow, Store, row_of
from instabot.store.log import _parse

ROOM = "7.k3f9qd"


def line(stream_id: str, text: str = "", **more: Any) -> LogRow:
    row: dict[str, Any] = {"shard": 7, "room": ROOM, "kind": "say"}
    if "at" not in more:
        row["at"] = int(stream_id.partition("-")[0]) / 1000
    return LogRow(stream_id=stream_id, text=text, **(row | more))


def ids(rows: list[LogRow]) -> list[str]:
    return [row.stream_id for row in rows]


@pytest.fixture
async def told(store: Store) -> Store:
    """A store in which ten lines were said, at 1,000.0 to 1,009.0 seconds."""
    await store.log.write([line(f"{ms}-0") for ms in range(1_000_000, 1_010_000, 1_000)])
    return store


async def test_a_row_comes_back_as_it_was_written(store: Store) -> None:
    row = LogRow(
        shard=7,
        stream_id="1700000000000-3",
        room=ROOM,
        tenant="local",
        network="local/libera",
        kind="gap",
        sender="alice",
        account="alice@services",
        text="Grüße 😀",
        at=1700000000.123456,
        since=1699999999.5,
        count=12,
        own=True,
        late=True,
        ref="msgid",
    )
    assert row.key == "7:1700000000000-3"
    assert await store.log.write([row]) == 1
    assert await store.log.read(ROOM) == [row]


async def test_a_row_written_twice_is_there_once(store: Store) -> None:
    assert await store.log.write([]) == 0
    assert await store.log.write([line("1-0", "first"), line("1-1")]) == 2
    assert await store.log.write([line("1-0", "again"), line("1-2"), line("1-2")]) == 1
    assert [row.text for row in await store.log.read(ROOM)] == ["first", "", ""]
    assert await store.log.write([line("1-0", "another shard", shard=8)]) == 1


async def test_rows_come_in_the_order_of_their_stream(store: Store) -> None:
    expected = [f"{ms}-{seq}" for ms in (9, 10, 100) for seq in (0, 9, 10)]
    shuffled = [line(id_) for id_ in expected]
    random.Random(1).shuffle(shuffled)
    await store.log.write(shuffled)
    assert ids(await store.log.read(ROOM)) == expected


async def test_a_room_sees_its_own_lines_alone(store: Store) -> None:
    await store.log.write([line("1-0"), line("2-0", room="7.other0")])
    assert ids(await store.log.read(ROOM)) == ["1-0"]
    assert await store.log.read("7.nobody") == []


async def test_a_log_is_read_page_by_page(told: Store) -> None:
    seen: list[str] = []
    after = None
    while page := await told.log.read(ROOM, limit=3, after_key=after):
        seen += ids(page)
        after = page[-1].key
    assert seen == [f"{ms}-0" for ms in range(1_000_000, 1_010_000, 1_000)]


async def test_the_last_lines_are_read_backwards(told: Store) -> None:
    last = await told.log.last(ROOM, 3)
    assert ids(last) == ["1007000-0", "1008000-0", "1009000-0"]
    before = await told.log.last(ROOM, 3, before_key=last[0].key)
    assert ids(before) == ["1004000-0", "1005000-0", "1006000-0"]


async def test_times_bound_what_is_read(told: Store) -> None:
    assert ids(await told.log.read(ROOM, since=1008.0)) == ["1008000-0", "1009000-0"]
    assert ids(await told.log.read(ROOM, until=1001.0)) == ["1000000-0", "1001000-0"]
    assert ids(await told.log.read(ROOM, since=1002.5, until=1003.5)) == ["1003000-0"]
    assert ids(await told.log.read(ROOM, since=1002.5, after_key="7:1003000-0", limit=1)) == [
        "1004000-0"
    ]


async def test_a_late_line_is_found_by_when_it_was_said(told: Store) -> None:
    await told.log.write([line("9999999-0", "late", at=1003.25, late=True)])
    found = await told.log.read(ROOM, since=1003.0, until=1004.0)
    assert ids(found) == ["1003000-0", "1004000-0", "9999999-0"]
    assert [row.late for row in found] == [False, False, True]


async def test_a_clock_that_runs_ahead_hides_no_line(store: Store) -> None:
    await store.log.write([line("1000000000-0", at=1_003_600.0)])
    assert len(await store.log.read(ROOM, since=1_003_000.0)) == 1


async def test_gaps_are_read_apart(told: Store) -> None:
    await told.log.write(
        [
            line("1002500-0", kind="gap", since=1001.0, count=4),
            line("1005500-0", kind="dataloss"),
            line("1006500-0", kind="lost"),
        ]
    )
    assert ids(await told.log.gaps(ROOM)) == ["1002500-0", "1005500-0"]
    [gap] = await told.log.gaps(ROOM, until=1003.0)
    assert (gap.kind, gap.since, gap.at, gap.count) == ("gap", 1001.0, 1002.5, 4)
    assert await told.log.gaps(ROOM, since=1006.0) == []


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("'); DROP TABLE log; --", None),
        ("%s %(x)s :name ? $1 {} \\", None),
        ("\x01ACTION\x02 bold\r\n", None),
        ("x" * 1_000_000, None),
        ("a\x00b", "a\ufffdb"),
        ("a\ud83db\udc00", "a\ufffdb\ufffd"),
    ],
    ids=["sql", "placeholders", "controls", "megabyte", "nul", "surrogates"],
)
async def test_hostile_text_is_kept_or_cleaned(
    store: Store, text: str, kept: str | None
) -> None:
    await store.log.write([line("1-0", text, sender=text, ref=text)])
    [row] = await store.log.read(ROOM)
    assert row.text == row.sender == row.ref == (text if kept is None else kept)


async def test_one_bad_row_keeps_the_batch_out(store: Store) -> None:
    for bad in ("", "1", "1-", "-1-0", "1--1", "1-0-0", "x-y", "٣-٣", "1-0\n", " 1-0", "1_0-0"):
        with pytest.raises(BadInput, match="not the id of a stream entry"):
            await store.log.write([line("1-0"), line(bad, at=1.0)])
    with pytest.raises(BadInput):
        await store.log.write([line("1-0"), line(f"{1 << 63}-0")])
    assert await store.log.read(ROOM) == []


async def test_a_bad_key_is_refused(store: Store) -> None:
    for key in ("", "7", "7:", "7:1", "7:x-y"):
        with pytest.raises(BadInput):
            await store.log.read(ROOM, after_key=key)
        with pytest.raises(BadInput):
            await store.log.last(ROOM, before_key=key)


@pytest.mark.parametrize("limit", [0, -1, 100_001, 1 << 70])
async def test_a_page_has_a_sane_size(store: Store, limit: int) -> None:
    for read in (store.log.read, store.log.gaps):
        with pytest.raises(BadInput, match="1 to 100000 can"):
            await read(ROOM, limit=limit)
    with pytest.raises(BadInput):
        await store.log.last(ROOM, limit)


async def test_times_beyond_time_are_no_error(told: Store) -> None:
    far = float("inf")
    assert len(await told.log.read(ROOM, since=-far, until=far)) == 10
    assert len(await told.log.read(ROOM, since=-1e300, until=1e300)) == 10
    assert await told.log.read(ROOM, since=far) == []
    assert await told.log.read(ROOM, since=1e300) == []
    with pytest.raises(BadInput, match="Unix seconds"):
        await told.log.read(ROOM, since=float("nan"))


async def test_a_count_beyond_counting_is_capped(store: Store) -> None:
    await store.log.write([line("1-0", count=1 << 80), line("1-1", count=-5)])
    assert [row.count for row in await store.log.read(ROOM)] == [(1 << 31) - 1, 0]


async def test_a_room_id_that_is_none_keeps_the_batch_out(store: Store) -> None:
    with pytest.raises(BadInput, match="at most 64"):
        await store.log.write([line("1-0"), line("1-1", room="x" * 5_000)])
    assert await store.log.read(ROOM) == []


@given(st.integers(0, (1 << 63) - 1), st.integers(0, (1 << 63) - 1))
def test_every_stream_id_is_read(ms: int, seq: int) -> None:
    assert _parse(f"{ms}-{seq}") == (ms, seq)


@given(st.text() | st.text("0123456789-+_ \n", max_size=8))
def test_anything_else_is_refused_or_means_itself(text: str) -> None:
    try:
        ms, seq = _parse(text)
    except BadInput:
        return
    assert [part.lstrip("0") or "0" for part in text.split("-")] == [str(ms), str(seq)]


def test_a_heard_line_becomes_a_row() -> None:
    heard = Heard(
        id="n|r|1:2",
        room=ROOM,
        sender="alice",
        account="al",
        text="hi",
        at=1.5,
        kind="action",
        ref="m1",
        own=True,
        late=True,
    )
    assert row_of(7, "1-0", heard, "local/libera") == LogRow(
        shard=7,
        stream_id="1-0",
        room=ROOM,
        network="local/libera",
        kind="action",
        sender="alice",
        account="al",
        text="hi",
        at=1.5,
        own=True,
        late=True,
        ref="m1",
    )


def test_a_notice_becomes_a_row() -> None:
    notice = Notice(id="x", room=ROOM, kind="gap", at=9.0, since=5.0, count=3, who="bot")
    assert row_of(7, "1-0", notice) == LogRow(
        shard=7,
        stream_id="1-0",
        room=ROOM,
        kind="gap",
        sender="bot",
        at=9.0,
        since=5.0,
        count=3,
    )
