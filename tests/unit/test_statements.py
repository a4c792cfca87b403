"""Statements of an archive that run at once."""

import threading
from functools import partial

import pytest

from sink.database import Database
from sink.statements import Statements

DATABASE = Database("chdb:///nowhere", "hitstream_1")
"""Not opened: the tasks of these tests have no statements."""


@pytest.mark.parametrize("at_once", [1, 2])
def test_all_tasks_run(at_once: int) -> None:
    done: list[int] = []
    with Statements(DATABASE, at_once=at_once) as beside:
        beside.run([partial(done.append, at) for at in range(20)])
        beside.run([partial(done.append, 20)])
    assert sorted(done) == list(range(21))


def test_two_tasks_run_at_once() -> None:
    met = threading.Barrier(2, timeout=10)

    def meet() -> None:
        met.wait()

    with Statements(DATABASE, at_once=2) as beside:
        beside.run([meet, meet])


@pytest.mark.parametrize("at_once", [1, 2])
def test_after_a_task_that_fails_none_is_begun(at_once: int) -> None:
    begun: list[int] = []

    def fail(at: int) -> None:
        begun.append(at)
        raise ValueError("found out")

    with Statements(DATABASE, at_once=at_once) as beside, pytest.raises(ValueError, match="found out"):
        beside.run([partial(fail, at) for at in range(20)])
    assert len(begun) <= at_once
