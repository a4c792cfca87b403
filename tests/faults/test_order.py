"""The order in which hits reach the log changes no view of the database."""

import random
from pathlib import Path

import pytest

from tests.builders import config_events
from tests.faults.instance import Instance, fill_log, tables_of, tallied
from tests.faults.traffic import GOALS, SITE, some_hits

HITS = some_hits(1500, seed=5)
VIEWS = ("visits", "actions", "conversions", "conversion_items")


def tables_after(data_dir: Path, order: int | None) -> dict[str, list[str]]:
    hits = HITS[:]
    if order is not None:
        random.Random(order).shuffle(hits)
    fill_log(data_dir, config_events(goals=GOALS, **SITE), hits)
    instance = Instance(data_dir)
    instance.start()
    try:
        instance.drain()
    finally:
        instance.stop()
    tables = tables_of(data_dir)
    assert tallied(tables) == len(HITS)
    return tables


@pytest.mark.parametrize("order", [1])
def test_a_shuffled_log_gives_the_same_views(order: int, tmp_path: Path) -> None:
    expected = tables_after(tmp_path / "in-order", None)
    found = tables_after(tmp_path / "shuffled", order)
    assert len(expected["visits"]) > 300
    for view in VIEWS:
        assert found[view] == expected[view], view
