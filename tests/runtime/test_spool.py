"""Lines on disk: bounded, in order, and none made up after a torn write."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from instabot.broker.scripts import Item
from instabot.runtime.spool import Spool


def item(number: int, text: str = "") -> Item:
    data = f'{{"n":{number},"text":"{text}"}}'.encode()
    return Item("0.ops", "local", data, "net|1", number, "")


def numbers(items: list[Item]) -> list[int]:
    return [one.counter for one in items]


def test_what_goes_in_comes_out_in_order(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "s.spool")
    assert spool.append([item(n) for n in range(5)]) == 5
    assert spool.peek(3) == [item(0), item(1), item(2)]
    spool.drop(2)
    assert numbers(spool.peek(9)) == [2, 3, 4]
    spool.append([item(5)])
    assert numbers(spool.peek(9)) == [2, 3, 4, 5]
    spool.drop(4)
    assert spool.empty
    spool.close()
    assert list(tmp_path.iterdir()) == []


def test_a_restart_reads_the_file_from_its_start(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "s.spool")
    spool.append([item(n) for n in range(3)])
    spool.peek(9)
    spool.drop(1)
    spool.close()
    again = Spool(tmp_path / "s.spool")
    assert numbers(again.peek(9)) == [0, 1, 2]
    again.close()


def test_a_torn_last_record_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "s.spool"
    spool = Spool(path)
    spool.append([item(1), item(2)])
    spool.close()
    path.write_bytes(path.read_bytes()[:-7])
    again = Spool(path)
    again.append([item(3)])
    assert numbers(again.peek(9)) == [1, 3]
    again.close()


@pytest.mark.parametrize("broken", [0, 1, 2])
def test_a_record_that_cannot_be_read_costs_itself_alone(tmp_path: Path, broken: int) -> None:
    path = tmp_path / "s.spool"
    spool = Spool(path)
    spool.append([item(n) for n in range(3)])
    spool.close()
    rows = path.read_bytes().splitlines(keepends=True)
    rows[broken] = b"\xff" * 20 + b"\n"
    path.write_bytes(b"".join(rows))
    again, seen = Spool(path), []
    while not again.empty:
        seen += numbers(again.peek(9)[:1])
        again.drop(min(1, len(again._ends)))
    assert seen == [n for n in range(3) if n != broken]
    again.close()


def test_a_full_file_takes_no_more_but_owns_up_to_it(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "s.spool", most=200)
    taken = spool.append([item(n) for n in range(50)])
    assert 0 < taken < 50
    assert spool.size <= 200
    assert spool.append([item(99)]) == 0
    assert spool.append([item(100)], beyond=True) == 1
    assert numbers(spool.peek(99)) == [*range(taken), 100]
    spool.close()


def test_a_full_disk_takes_what_fits_and_leaves_no_half_record(tmp_path: Path) -> None:
    path = tmp_path / "s.spool"
    spool = Spool(path)
    spool.append([item(0)])
    real = spool._file

    class Full:
        """Writes ten bytes of anything, then there is no space left."""

        def write(self, data: bytes) -> int:
            real.write(data[:10])
            real.flush()
            raise OSError(28, "No space left on device")

        def flush(self) -> None: ...

        def close(self) -> None:
            real.close()

    spool._file = Full()  # type: ignore[assignment]
    # The first write fails, the file is opened again; then there is space for one more.
    assert spool.append([item(1), item(2)]) == 2
    assert numbers(spool.peek(9)) == [0, 1, 2]
    spool.close()
    assert len(path.read_bytes().splitlines()) == 3


def test_a_disk_that_stays_full_takes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = Spool(tmp_path / "s.spool")
    spool.append([item(0)])

    def write(data: bytes) -> bool:
        return False

    monkeypatch.setattr(spool, "_write", write)
    assert spool.append([item(1)]) == 0
    assert numbers(spool.peek(9)) == [0]
    spool.close()


def test_a_file_that_shrank_behind_our_back_is_set_aside_and_nobody_spins(
    tmp_path: Path,
) -> None:
    path = tmp_path / "s.spool"
    spool = Spool(path)
    spool.append([item(0)])
    path.write_bytes(b"")
    assert spool.peek(9) == []
    assert not spool.empty
    spool.abandon()
    assert spool.empty
    spool.close()
    assert [p.name for p in tmp_path.iterdir()] == ["s.broken"]


def test_only_what_lies_before_a_mark_is_read(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "s.spool")
    spool.append([item(0), item(1)])
    mark = spool.size
    spool.append([item(2)])
    assert numbers(spool.peek(9, mark)) == [0, 1]
    spool.close()


@settings(max_examples=50, deadline=None)
@given(st.lists(st.one_of(st.integers(1, 5), st.just("restart"), st.just("read")), max_size=40))
def test_whatever_happens_every_record_is_read_in_order(
    tmp_path_factory: pytest.TempPathFactory, steps: list[int | str]
) -> None:
    path = tmp_path_factory.mktemp("spool") / "s.spool"
    spool, put, got = Spool(path), 0, 0
    for step in steps:
        if step == "restart":
            spool.close()
            spool, got = Spool(path), got if spool.empty else got - spool_read(spool)
        elif step == "read":
            items = numbers(spool.peek(2))
            assert items == list(range(got, min(got + 2, put)))
            spool.drop(len(items))
            got += len(items)
            spool.dropped = 0 if spool.empty else spool_read(spool) + len(items)  # type: ignore[attr-defined]
        else:
            spool.append([item(n) for n in range(put, put + int(step))])
            put += int(step)
    spool.close()


def spool_read(spool: Spool) -> int:
    """How many records lie behind the reader since the file was last empty."""
    return int(getattr(spool, "dropped", 0))
