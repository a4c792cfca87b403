"""Live: what of the visits log is told to whom, and what generic parameters do to it."""

import asyncio

import pytest

from reporting.api import ask
from reporting.methods import METHODS
from reporting.parameters import Parameters
from reporting.render.php import plain
from schemas.access import Grant
from sink.database import Database
from tests.integration.test_reports import DAY, Reports, store
from tests.rows import a_visit


@pytest.fixture
def reports(database: Database) -> Reports:
    return Reports(database, {"methods": METHODS})


def test_the_visits_log_is_compared_with_nothing(database: Database, reports: Reports) -> None:
    """It may be asked without a period; comparisons are of periods."""
    store(database, [a_visit(1)])
    log = plain(reports.ask("Live.getLastVisitsDetails"))
    compared = {"compare": "1", "comparePeriods[0]": "day", "compareDates[0]": "2026-01-01"}
    assert plain(reports.ask("Live.getLastVisitsDetails", **compared)) == log != []


def test_the_visits_log_for_everybody_tells_nobodys_address_or_id(
    database: Database, reports: Reports
) -> None:
    """As recorded: no address, an id of false and no user id, also in a profile."""
    store(database, [a_visit(1, visitor_id=0xA1, ip="10.1.2.3", user_id="ann")])
    log = reports.row("Live.getLastVisitsDetails")
    assert (log["visitIp"], log["visitorId"], log["userId"]) == ("10.1.2.3", "00000000000000a1", "ann")
    everybody = Grant(login="anonymous", roles={1: "view"})

    def shown(method: str) -> str:
        where = {"idSite": "1", "period": "day", "date": DAY.isoformat(), "method": method}
        result = asyncio.run(ask(reports._instance, everybody, Parameters(where))).result
        return str(plain(result))

    for method in ("Live.getLastVisitsDetails", "Live.getVisitorProfile"):
        answer = shown(method)
        assert "'visitorId': False" in answer
        assert "'visitIp': None" in answer
        for secret in ("10.1.2.3", "ann", "00000000000000a1"):
            assert secret not in answer, (method, secret)
