"""What became of hits, as the API reports it: the same sums as `hitstream status`."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest

from reporting.api import Instance, ask
from reporting.database import ThreadedDatabase
from reporting.errors import ApiError
from reporting.methods import METHODS
from reporting.methods.tallies import _OUTCOMES, _REASONS
from reporting.parameters import Parameters
from reporting.table import Result, Table, TableMap
from schemas.access import Grant
from schemas.config import Config, Site
from schemas.outcomes import Exclusion, Outcome
from schemas.rows import Tally, encode_row
from sink.database import Database
from sink.encoding import TALLIES, Entry, split

CONFIG = Config(sites={1: Site(site_id=1, name="a"), 2: Site(site_id=2, name="b")})
DAY = 20_000
"""2024-10-04"""


def tally(offset: int, count: int, outcome: str, reason: str = "", **changes: Any) -> Tally:
    values: dict[str, Any] = {"topic": "hits", "partition": 0, "site_id": 1, "received_on": DAY, **changes}
    return Tally(
        first_offset=offset, next_offset=offset + count, outcome=outcome, reason=reason, count=count, **values
    )


def store(database: Database, tallies: list[Tally]) -> None:
    entries = [Entry(0, at, encode_row(row)) for at, row in enumerate(tallies)]
    for block in split(TALLIES, entries, 1).by_month.values():
        database.insert_msgpack(TALLIES.name, TALLIES.columns, block.data)


def answer(database: Database, method: str, grant: Grant | None = None, **parameters: str) -> Result:
    with ThreadPoolExecutor(1) as executor:
        instance = Instance(
            methods=METHODS,
            config=lambda: CONFIG,
            database=ThreadedDatabase(lambda: database.client, executor),
            change=lambda _: (_ for _ in ()).throw(AssertionError("reports change nothing")),
            now=lambda: datetime(2024, 10, 20, tzinfo=UTC),
            state={"compatibility": "full"},
        )
        values = {"method": method, "idSite": "1", "period": "day", "date": "2024-10-04", **parameters}
        asked = ask(instance, grant or Grant(login="admin", superuser=True), Parameters(values))
        return asyncio.run(asked).result


def counts(result: Result) -> dict[str, int]:
    assert isinstance(result, Table)
    return {str(row.columns["label"]): int(str(row.columns["nb_hits"])) for row in result.rows}


def test_every_outcome_and_reason_has_words() -> None:
    assert set(_OUTCOMES) == set(Outcome)
    assert set(_REASONS) == set(Exclusion)


def test_hits_are_counted_by_outcome_and_by_reason(database: Database) -> None:
    store(
        database,
        [
            tally(0, 5, "stored"),
            tally(5, 2, "excluded", "bot"),
            tally(7, 3, "excluded", "bot"),
            tally(10, 1, "excluded", "excluded_ip"),
            tally(11, 1, "duplicate"),
            tally(12, 4, "excluded", "bot", site_id=2),
            tally(16, 8, "excluded", "bot", received_on=DAY + 1),
            tally(0, 50, "stored", topic="links"),
        ],
    )
    assert counts(answer(database, "Hitstream.getOutcomes")) == {
        "Excluded": 6, "Stored": 5, "Received again": 1,
    }  # fmt: skip
    assert counts(answer(database, "Hitstream.getExclusions")) == {
        "Bot (user agent)": 5, "Excluded IP address": 1,
    }  # fmt: skip
    month = answer(database, "Hitstream.getExclusions", period="month")
    assert counts(month)["Bot (user agent)"] == 13
    days = answer(database, "Hitstream.getExclusions", date="2024-10-04,2024-10-05", idSite="1,2")
    assert isinstance(days, TableMap)
    of_second = days.items["2"]
    assert isinstance(of_second, TableMap)
    assert counts(of_second.items["2024-10-04"]) == {"Bot (user agent)": 4}
    assert counts(of_second.items["2024-10-05"]) == {}


def test_the_reason_in_words_of_the_tallies_is_metadata(database: Database) -> None:
    store(database, [tally(0, 1, "excluded", "a_reason_of_tomorrow")])
    table = answer(database, "Hitstream.getExclusions")
    assert isinstance(table, Table)
    assert [(row.label, row.metadata["reason"]) for row in table.rows] == [
        ("a_reason_of_tomorrow", "a_reason_of_tomorrow")
    ]


def test_a_segment_is_refused(database: Database) -> None:
    with pytest.raises(ApiError, match="no segments"):
        answer(database, "Hitstream.getExclusions", segment="countryCode==de")


def test_only_who_may_see_the_site_sees_its_tallies(database: Database) -> None:
    with pytest.raises(ApiError, match="'view' access"):
        answer(database, "Hitstream.getExclusions", Grant(login="x", roles={2: "view"}))
