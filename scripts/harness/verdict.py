"""The end of a chaos run: which promises held, in one table."""

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from scripts.harness import checks
from scripts.harness.aftermath import Left
from scripts.harness.keeper import Keeper
from scripts.harness.people import Witness


@dataclass
class Verdict:
    """`rows` are what happened, in order; `violations` what must not happen."""

    rows: dict[str, Any] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)

    def facts(self) -> dict[str, Any]:
        """For `--json`."""
        return {**self.rows, "violations": self.violations, "ok": not self.violations}

    def table(self) -> str:
        """For people."""
        wide = max(map(len, self.rows))
        lines = [f"{name.ljust(wide)}  {value}" for name, value in self.rows.items()]
        lines += [f"VIOLATION: {text}" for text in self.violations]
        lines.append("broken" if self.violations else "all promises held")
        return "\n".join(lines)


def judge(
    setting: Mapping[str, Any],
    witness: Witness,
    keepers: Mapping[str, Keeper],
    left: Left,
    rooms: int,
) -> Verdict:
    """Hold what was seen against design.md §5: only a killed runtime excuses anything."""
    verdict = Verdict(dict(setting))
    found = checks.compare(witness.seen)
    kills = keepers["runtime"].killed
    for name, keeper in keepers.items():
        verdict.rows[f"{name} killed, frozen"] = f"{len(keeper.killed)}, {len(keeper.frozen)}"
    silent = checks.unrecorded(found.missing, left.gaps if kills else [], left.ingested)
    twice = checks.unexcused(found, kills)
    verdict.rows |= {
        "asked": found.asked,
        "answered": found.answered,
        "lost, no record of it": len(silent),
        "lost while the runtime was dead": f"{len(found.missing) - len(silent)} (on record)",
        "answered twice": len(twice),
        "repeated by a killed runtime": len(found.repeated) - len(twice),
        "out of order": len(found.disordered),
        "answers to nothing": len(found.unasked),
        "other lines of the bot": len(found.other),
        "bot's moves": _moves(witness),
        "left in the queues": f"depth {left.depth}, unacknowledged {left.unacked}",
        "dead letters": len(left.dead),
        "gap records": len(left.gaps),
        "reply after, s": _waits(found.waits),
    }
    broken = {
        **_by_fate(silent, left),
        "answered twice": twice,
        "out of order": found.disordered,
        "answer to nothing": found.unasked,
        "other line": found.other,
    }
    for what, lines in broken.items():
        verdict.violations += _some(what, [_shown(line, left.gaps) for line in lines])
    beyond = checks.moves_beyond(witness.moves, len(kills), rooms)
    verdict.violations += [f"{n} {kind} that nothing explains" for kind, n in beyond.items()]
    if not left.empty:
        verdict.violations.append(f"queues not empty: {verdict.rows['left in the queues']}")
    verdict.violations += _some("dead letter", left.dead)
    if left.losses:
        verdict.violations.append(f"{left.losses} reports of lost data")
    if left.gaps and not kills:
        verdict.violations.append(f"{len(left.gaps)} gap records without a killed runtime")
    for keeper in keepers.values():
        verdict.violations += _some("ended by itself", keeper.ends)
    return verdict


def _by_fate(lost: list[checks.Seen], left: Left) -> dict[str, list[checks.Seen]]:
    """Where each lost line was seen last: the place to look for the fault."""
    fates: dict[str, list[checks.Seen]] = {
        "lost before it was ingested": [],
        "lost after it was ingested": [],
        "lost after its reply was queued": [],
    }
    before, ingested, queued = fates.values()
    for line in lost:
        name = (line.room, line.number)
        fate = queued if name in left.queued else ingested if name in left.ingested else before
        fate.append(line)
    return fates


def _some(what: str, texts: list[str]) -> list[str]:
    shown = [f"{what}: {text}" for text in texts[:5]]
    return shown + ([f"{what}: {len(texts) - 5} more"] if len(texts) > 5 else [])


def _shown(line: checks.Seen, gaps: Sequence[checks.Gap]) -> str:
    text = f"{line.room} {line.kind} {line.number or line.text} at {line.at:.3f}"
    near = sorted((abs(gap.since - line.at), gap) for gap in gaps if gap.room == line.room)
    if line.kind == "ask" and near:
        gap = near[0][1]
        text += f" (nearest gap {gap.since - line.at:+.2f} to {gap.until - line.at:+.2f} s)"
    return text


def _moves(witness: Witness) -> str:
    seen = Counter(move.kind for move in witness.moves)
    return ", ".join(f"{kind} {seen[kind]}" for kind in ("QUIT", "PART", "KICK", "JOIN"))


def _waits(waits: list[float]) -> str:
    if len(waits) < 2:
        return "-"
    cuts = statistics.quantiles(waits, n=100, method="inclusive")
    return f"p50 {cuts[49]:.3f}, p99 {cuts[98]:.3f}, longest {max(waits):.3f}"
