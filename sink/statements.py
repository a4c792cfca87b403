"""Statements of one computation."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Self

from sink.database import Database


class Statements:
    """Runs one statement after the other, or two at once: half of what one does can't be shared by its
    threads."""

    def __init__(self, database: Database, *, at_once: int) -> None:
        self._database = database
        self._beside = ThreadPoolExecutor(1, thread_name_prefix="archive") if at_once == 2 else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._beside is not None:
            self._beside.submit(self._database.release).result()
            self._beside.shutdown()

    def run(self, tasks: Sequence[Callable[[], None]]) -> None:
        """All of them, begun in this order; none after one that failed, whose error is raised."""
        left = list(tasks)
        # both threads take from it; it ends once the list is empty
        next_ones = iter(left)

        def work() -> None:
            try:
                for task in next_ones:
                    task()
            except BaseException:
                left.clear()
                raise

        found = self._beside.submit(work) if self._beside is not None else None
        try:
            work()
        finally:
            if found is not None:
                wait([found])
        if found is not None:
            found.result()
