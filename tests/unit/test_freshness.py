"""Up to which moment reports are complete."""

import threading
from collections.abc import Mapping

from hitstream.freshness import Freshness
from stream.protocol import LogError, TopicPartition
from tests.waiting import wait_until


class Stages:
    """Positions of a log with one partition, moved by hand: a log, its reader and its sink in one."""

    def __init__(self) -> None:
        self.accepted = self.consumed = self.emitted = self.stored = 0
        self.now = 100.0

    def end_offsets(self, topic: str) -> Mapping[int, int]:
        return {0: self.accepted if topic == "hits" else self.emitted}

    def committed(self, _group: str) -> Mapping[TopicPartition, int]:
        return {TopicPartition("hits", 0): self.consumed}

    def visible(self) -> Mapping[TopicPartition, int]:
        tables = ("visits", "actions", "conversions", "conversion_items", "tallies", "dead")
        return {TopicPartition(table, 0): self.stored for table in tables}


def after(stages: Stages, freshness: Freshness, seconds: float = 1.0) -> float:
    stages.now += seconds
    freshness.step(stages)  # type: ignore[arg-type]
    return freshness.complete_up_to


def test_nothing_under_way_is_complete_up_to_now() -> None:
    stages = Stages()
    freshness = Freshness(stages, stages.visible, lambda: stages.now)  # type: ignore[arg-type]
    assert after(stages, freshness) == 101.0
    assert after(stages, freshness) == 102.0


def test_the_moment_stands_until_processors_and_sink_are_past_it() -> None:
    stages = Stages()
    freshness = Freshness(stages, stages.visible, lambda: stages.now)  # type: ignore[arg-type]
    assert after(stages, freshness) == 101.0
    stages.accepted = 10
    assert after(stages, freshness) == 101.0
    stages.consumed, stages.emitted = 10, 5
    assert after(stages, freshness) == 101.0
    stages.stored = 4
    assert after(stages, freshness) == 101.0
    stages.stored = 5
    assert after(stages, freshness) == 105.0


def test_a_long_lag_is_followed_note_by_note() -> None:
    stages = Stages()
    freshness = Freshness(stages, stages.visible, lambda: stages.now)  # type: ignore[arg-type]
    for _ in range(5):
        stages.accepted += 10
        after(stages, freshness)
    assert freshness.complete_up_to == 0.0
    stages.consumed = 30
    assert after(stages, freshness) == 103.0


class AwayOnce(Stages):
    """Its broker does not answer the first question."""

    asked = 0

    def reader(self) -> "AwayOnce":
        return self

    def close(self) -> None:
        pass

    def end_offsets(self, topic: str) -> Mapping[int, int]:
        self.asked += 1
        if self.asked == 1:
            raise LogError("the broker is away")
        return super().end_offsets(topic)


def test_a_log_that_does_not_answer_ends_nothing() -> None:
    stages, stop = AwayOnce(), threading.Event()
    freshness = Freshness(stages, stages.visible, lambda: stages.now)  # type: ignore[arg-type]
    running = threading.Thread(target=freshness.run, args=(stop,))
    running.start()
    wait_until(lambda: freshness.complete_up_to or not running.is_alive())
    stop.set()
    running.join()
    assert freshness.complete_up_to == stages.now
