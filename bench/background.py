"""Work beside a measurement, in a thread whose failure is told to who measures."""

import threading
from abc import ABC, abstractmethod
from typing import Self


class Background(ABC):
    """A context: `work` goes on in a thread until the end. What it raises, `check` and the end raise."""

    def __init__(self) -> None:
        self.stop = threading.Event()
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._run)

    @abstractmethod
    def work(self) -> None:
        """Until `stop` is set."""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self._thread.join()
        self.check()

    def check(self) -> None:
        """Raises what ended the work."""
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        try:
            self.work()
        except Exception as error:
            self._failure = error
