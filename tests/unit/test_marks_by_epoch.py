"""Marks of changed days reach the rollups of their epoch, also those that came before it was opened."""

import pytest

pytest.importorskip("faust")

from hitstream.rollup_worker import MarksByEpoch
from schemas.marks import ChangedDay
from sink.encoding import SiteDay


class Told:
    """What rollups were told, in order."""

    def __init__(self) -> None:
        self.days: list[tuple[int, int, float]] = []

    def changed(self, site_days: set[SiteDay], at: float) -> None:
        self.days += [(one.site_id, one.day, at) for one in site_days]


def mark(epoch: int, site: int, at: float = 10.0) -> ChangedDay:
    return ChangedDay(epoch=epoch, site_id=site, day=20_000, changed_at=at)


def test_a_mark_before_the_epoch_is_opened_is_told_when_it_is() -> None:
    marks, told = MarksByEpoch(), Told()
    marks.take(mark(1, site=1))
    marks.take(mark(1, site=1, at=11.0))
    marks.take(mark(1, site=2))
    marks.opened(1, told.changed)
    marks.take(mark(1, site=3))
    assert told.days == [(1, 20_000, 11.0), (2, 20_000, 10.0), (3, 20_000, 10.0)]


def test_marks_of_the_next_epoch_wait_and_those_of_one_that_ended_go() -> None:
    marks, first, second = MarksByEpoch(), Told(), Told()
    marks.opened(1, first.changed)
    marks.take(mark(2, site=1))
    marks.ended()
    marks.take(mark(1, site=2))
    marks.take(mark(2, site=3))
    marks.opened(2, second.changed)
    marks.take(mark(1, site=4))
    assert first.days == []
    assert second.days == [(1, 20_000, 10.0), (3, 20_000, 10.0)]
