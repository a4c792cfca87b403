"""Whether the numbers add up."""

import pytest

from hitstream.drain import behind, places
from hitstream.tallies import balance, status_lines
from stream.protocol import TopicPartition


def at(topic: str, partition: int) -> TopicPartition:
    return TopicPartition(topic, partition)


@pytest.mark.parametrize(
    ("counted", "visible", "expected"),
    [
        ({0: 5, 1: 7}, {0: 3, 1: 2}, True),
        ({0: 5, 1: 6}, {0: 3, 1: 1}, None),
        ({0: 5, 1: 6}, {0: 3, 1: 2}, False),
        ({0: 6, 1: 7}, {0: 3, 1: 2}, False),
    ],
)
def test_tallies_equal_what_was_consumed_once_all_are_visible(
    counted: dict[int, int], visible: dict[int, int], expected: bool | None
) -> None:
    committed = {at("hits", 0): 5, at("hits", 1): 7, at("orders", 0): 99}
    assert balance(committed, counted, {0: 3, 1: 2}, visible).adds_up is expected


def test_a_topic_is_drained_when_every_partition_is_past_its_end() -> None:
    targets = places("hits", {0: 10, 1: 0, 2: 4})
    assert targets == {at("hits", 0): 10, at("hits", 2): 4}
    assert behind(targets, {at("hits", 0): 10, at("hits", 2): 9}) == 0
    assert behind(targets, {at("hits", 0): 7}) == 7


def test_a_status_that_does_not_add_up_says_so() -> None:
    status = {
        "accepted": 12,
        "outcomes": {"stored": 9, "excluded": 2},
        "excluded": {"bot": 2},
        "lag": {"hits": 0, "sink visits": 7},
        "freshness": {"complete_up_to": "", "seconds_behind": 0.0},
        "balance": {"consumed": 12, "counted": 11, "adds_up": False},
        "rollups": {"waiting": 1, "running": 0, "computed": 3, "failed": 0, "last_error": ""},
        "problems": ["disk full"],
    }
    text = "\n".join(status_lines(status))
    assert "NO: 12 consumed but 11 counted" in text
    assert "bot" in text
    assert "disk full" in text
    assert "3 computed" in text
