"""Heard lines on disk while Redis is away or full; one bounded file per shard and tenant.

A record is one line of JSON. Where the reader stands is not kept: after a restart the file is read
from its start, and the high-water marks make what was already ingested a duplicate. A torn last
record (a kill in the middle of a write) is cut off.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import msgspec
import structlog

from instabot.broker.scripts import Item

log = structlog.get_logger()

MOST_BYTES = 64 << 20
"""Size of one file at most: some 300,000 lines."""

_encode = msgspec.json.Encoder().encode
_decoder = msgspec.json.Decoder(tuple[str, str, str, str, int, str])


class Spool:
    """A queue of items in a file. Touched by one outbox only. Opening it may raise OSError."""

    def __init__(self, path: Path, most: int = MOST_BYTES) -> None:
        self._path = path
        self._most = most
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._file: BinaryIO = path.open("ab+")
        try:
            self._size = _cut_torn_end(self._file)
        except OSError:
            self._file.close()
            raise
        self._read = 0
        self._ends: list[int] = []

    @property
    def read(self) -> int:
        """Bytes behind the reader."""
        return self._read

    @property
    def size(self) -> int:
        """Bytes in the file."""
        return self._size

    @property
    def empty(self) -> bool:
        return self._read >= self._size

    def append(self, items: Sequence[Item], *, beyond: bool = False) -> int:
        """Append → how many of the items fitted: all, unless the file or the disk is full.

        `beyond` goes over the limit: for the few records that own up to what did not fit.
        """
        rows: list[bytes] = []
        size = self._size
        for item in items:
            row = _encode((*item[:2], item.data.decode(), *item[3:])) + b"\n"
            if size + len(row) > self._most and not beyond:
                break
            size += len(row)
            rows.append(row)
        if self._write(b"".join(rows)):
            return len(rows)
        # The disk is full: as many as still fit, one by one.
        for number, row in enumerate(rows):
            if not self._write(row):
                return number
        return len(rows)

    def _write(self, data: bytes) -> bool:
        try:
            self._file.write(data)
            self._file.flush()
        except (OSError, ValueError) as error:  # ValueError: it could not be opened again
            log.error("spool not written", path=self._path.name, error=str(error))
            self._reopen()
            return False
        self._size += len(data)
        return True

    def _reopen(self) -> None:
        """After a failed write: forget the half-written record."""
        try:
            self._file.close()
        except OSError as error:  # its buffer cannot be flushed either; the size below is right
            log.warning("spool not closed", error=error.strerror)
        try:
            with self._path.open("rb+") as file:
                file.truncate(self._size)
            self._file = self._path.open("ab+")
        except OSError as error:
            log.error("spool not reopened", path=self._path.name, error=error.strerror)

    def peek(self, most: int, before: int | None = None) -> list[Item]:
        """The oldest items, at most so many and none from byte `before` on; then `drop` them.

        [] although it is not empty: what is left cannot be read, see `abandon`.
        """
        end = self._size if before is None else before
        items: list[Item] = []
        self._ends = []
        try:
            self._file.seek(self._read)
            at = self._read
            while len(items) < most and at < end and (row := self._file.readline()):
                at += len(row)
                if (item := self._item(row)) is not None:
                    items.append(item)
                    self._ends.append(at)
                elif not items:
                    self._read = at
                else:
                    self._ends[-1] = at  # goes with the one before it
        except (OSError, ValueError) as error:
            log.error("spool unreadable", path=self._path.name, error=str(error))
        return items

    def _item(self, row: bytes) -> Item | None:
        try:
            room, tenant, data, source, counter, ref = _decoder.decode(row)
            return Item(room, tenant, data.encode(), source, counter, ref)
        except (msgspec.MsgspecError, UnicodeError) as error:
            log.error("spool record unreadable", path=self._path.name, error=str(error))
            return None

    def drop(self, n: int) -> None:
        """Forget the first `n` items of the last `peek`."""
        if n:
            self._read = self._ends[n - 1]
            del self._ends[:n]
        if self.empty:
            try:
                self._file.truncate(0)
            except (OSError, ValueError) as error:  # read again after a restart, as duplicates
                log.warning("spool not emptied", path=self._path.name, error=str(error))
                return
            self._read = self._size = 0

    def abandon(self) -> None:
        """Set an unreadable file aside, for somebody to look at; this spool is empty then."""
        log.error("spool set aside", path=self._path.name, bytes=self._size - self._read)
        try:
            self._file.close()
            self._path.replace(self._path.with_suffix(".broken"))
        except OSError as error:
            log.error("spool not set aside", path=self._path.name, error=error.strerror)
        self._read = self._size = 0

    def close(self) -> None:
        """Close the file; an empty one is removed."""
        try:
            self._file.close()
            if self.empty:
                self._path.unlink(missing_ok=True)
        except OSError as error:
            log.warning("spool not closed", path=self._path.name, error=error.strerror)


def _cut_torn_end(file: BinaryIO) -> int:
    file.seek(0)
    size = 0
    for row in file:
        if not row.endswith(b"\n"):
            file.truncate(size)
            break
        size += len(row)
    return size
