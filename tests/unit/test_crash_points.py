"""`make faults` knows every crash point that is in the code."""

import re
from pathlib import Path

from sink.encoding import TABLES
from tests.faults import points

REPOSITORY = Path(__file__).parents[2]
STAGES = ("ingest", "processors", "sink", "stream", "hitstream", "reporting")
CALL = re.compile(r"crash_point\((f?)\"([a-z_.]+)(?:\{[a-z_.]+\})?\"\)")


def named_in_the_code() -> tuple[set[str], set[str]]:
    """Names, and beginnings of names that end with a table's."""
    names, beginnings = set(), set()
    for stage in STAGES:
        for path in (REPOSITORY / stage).rglob("*.py"):
            for is_formatted, name in CALL.findall(path.read_text()):
                (beginnings if is_formatted else names).add(name)
    return names, beginnings


def test_every_crash_point_of_the_code_is_in_the_matrix_and_no_other() -> None:
    names, beginnings = named_in_the_code()
    assert beginnings == {"sink.inserted.", "erasure.removed."}
    of_tables = {point for point in points.ALL if point.startswith(tuple(beginnings))}
    assert points.ALL - of_tables == names


def test_every_table_of_the_sink_has_its_crash_point() -> None:
    assert {f"sink.inserted.{table.name}" for table in TABLES} <= points.ALL
