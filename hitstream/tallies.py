"""Do the numbers add up: tallies against consumed offsets, and the words of `hitstream status`. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stream.protocol import TopicPartition


@dataclass(frozen=True)
class Balance:
    """What was consumed and what the tallies say of it; equal whenever nothing is under way."""

    consumed: int
    counted: int
    in_flight: bool
    """Tallies of committed units of work are still on their way to the tables."""

    @property
    def adds_up(self) -> bool | None:
        """None while tallies are on their way and the sum can't be judged."""
        if self.consumed == self.counted:
            return True
        return None if self.in_flight else False


def balance(
    committed: Mapping[TopicPartition, int],
    counted: Mapping[int, int],
    tally_ends: Mapping[int, int],
    tallies_visible: Mapping[int, int],
) -> Balance:
    """Compares the offsets of `hits` with the tallied hits.

    `committed`: input offsets of the processors; `counted`: tallied hits per partition in the tables;
    `tally_ends` and `tallies_visible`: offsets of topic `tallies` on the log and in the tables."""
    consumed = sum(offset for place, offset in committed.items() if place.topic == "hits")
    in_flight = any(tallies_visible.get(partition, 0) < end for partition, end in tally_ends.items())
    return Balance(consumed, sum(counted.values()), in_flight)


def status_lines(status: Mapping[str, Any]) -> list[str]:
    """The status as a person reads it."""
    outcomes: Mapping[str, int] = status["outcomes"]
    lines = [
        f"accepted      {status['accepted']:>12,}",
        f"stored        {outcomes.get('stored', 0):>12,}",
        f"excluded      {outcomes.get('excluded', 0):>12,}",
    ]
    lines += [
        f"  {reason:<20} {count:>12,}"
        for reason, count in sorted(status["excluded"].items(), key=lambda item: -item[1])
    ]
    lines += [
        f"duplicates    {outcomes.get('duplicate', 0):>12,}",
        f"dead          {outcomes.get('dead', 0):>12,}",
        f"adds up       {adds_up_text(status['balance'])}",
        "",
    ]
    lags = [f"{name} {count:,}" for name, count in status["lag"].items() if count]
    lines.append("lag           " + (", ".join(lags) or "none"))
    fresh = status["freshness"]
    if fresh["complete_up_to"]:
        lines.append(
            f"reports are complete up to {fresh['complete_up_to']} ({fresh['seconds_behind']:.1f} s ago)"
        )
    lines += _rollup_lines(status.get("rollups", {}))
    if status.get("problems"):
        lines += ["", *(f"! {problem}" for problem in status["problems"])]
    return lines


def adds_up_text(found: Mapping[str, Any]) -> str:
    """The balance in words."""
    match found["adds_up"]:
        case True:
            return f"yes ({found['consumed']:,} consumed, {found['counted']:,} counted)"
        case None:
            return f"on the way ({found['consumed']:,} consumed, {found['counted']:,} counted so far)"
        case _:
            return f"NO: {found['consumed']:,} consumed but {found['counted']:,} counted"


def _rollup_lines(rollups: Mapping[str, Any]) -> Sequence[str]:
    if not rollups:
        return []
    lines = [
        f"archives: {rollups['computed']} computed, {rollups['running']} running, "
        f"{rollups['waiting']} days wait for theirs and are answered from rows"
    ]
    if rollups["failed"]:
        lines.append(f"archives: {rollups['failed']} failed, the last with: {rollups['last_error']}")
    return lines
