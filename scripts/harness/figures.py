"""The bench's figures: what each is called, which way is better, and how they are printed."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

Column = Mapping[str, float]


@dataclass(frozen=True)
class Figure:
    """One row of the table. `more` says that a greater value is the better one."""

    key: str
    label: str
    unit: str
    more: bool = False


def figures(sizes: Sequence[int], flights: Sequence[int]) -> list[Figure]:
    """All rows of a bench with these numbers of rooms and of commands in flight."""
    most = sizes[-1]
    rows = [Figure(f"commands_{n}", f"commands, {n} in flight", "/s", True) for n in flights]
    rows += [
        Figure("chatter", "chatter lines, evaluated", "/s", True),
        Figure("p50", "reply latency p50 at 50 commands/s", "ms"),
        Figure("p99", "reply latency p99 at 50 commands/s", "ms"),
    ]
    for kind, words in (("", "one link"), ("links_", "a link each")):
        rows += [Figure(f"{kind}rss_0", f"runtime without rooms ({words})", "MB")]
        rows += [
            Figure(f"{kind}rss_{n}", f"runtime per room, {n:,} rooms, {words}", "KB")
            for n in sizes
        ]
        rows += [
            Figure(f"{kind}slope", f"runtime per further room, {words}", "KB"),
            Figure(f"{kind}join", f"join {most:,} rooms, {words}", "s"),
            Figure(f"{kind}rejoin", f"killed runtime back in {most:,} rooms, {words}", "s"),
            Figure(f"{kind}idle_runtime", f"CPU idle, runtime, {most:,} rooms, {words}", "%"),
            Figure(f"{kind}idle_backend", f"CPU idle, backend, {most:,} rooms, {words}", "%"),
            Figure(f"{kind}idle_redis", f"CPU idle, Redis, {most:,} rooms, {words}", "%"),
        ]
    return rows


def ratio(figure: Figure, ours: float, theirs: float) -> float | None:
    """How many times better ours is; None where that cannot be said."""
    if ours <= 0 or theirs <= 0:
        return None
    return ours / theirs if figure.more else theirs / ours


def ratios(rows: Sequence[Figure], ours: Column, theirs: Column) -> dict[str, float]:
    """Every figure that both have, as times better."""
    found = {}
    for row in rows:
        if row.key in ours and row.key in theirs:
            times = ratio(row, ours[row.key], theirs[row.key])
            if times is not None:
                found[row.key] = times
    return found


def table(rows: Sequence[Figure], columns: Mapping[str, Column], seed: str) -> str:
    """A text table: a column for each subject, and each one's ratio to the seed's."""
    ours = [name for name in columns if name != seed]
    compare = seed in columns
    head = ["", *columns, *(f"{name} : {seed}" for name in ours if compare)]
    lines = [head]
    for row in rows:
        if not any(row.key in column for column in columns.values()):
            continue
        cells = [f"{row.label}, {row.unit}"]
        cells += [_number(column.get(row.key)) for column in columns.values()]
        if compare:
            theirs = columns[seed]
            cells += [_times(row, columns[name], theirs) for name in ours]
        lines.append(cells)
    return "\n".join(_aligned(lines))


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.2f}"


def _times(row: Figure, ours: Column, theirs: Column) -> str:
    times = ratios([row], ours, theirs).get(row.key)
    return "-" if times is None else f"{times:.2f} x"


def _aligned(lines: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        first = line[0].ljust(widths[0])
        rest = (cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True))
        yield "  ".join([first, *rest]).rstrip()
