"""Any parameters for any method: every answer is well-formed, no internal error and without a trace."""

import asyncio
import json
import re
import threading
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import reporting
from reporting.app import ReportingSetup, Resources, answer_parameters
from reporting.database import ThreadedDatabase
from reporting.login import GivenToken
from reporting.methods import METHODS
from reporting.parameters import Parameters, parse_query
from reporting.render import FORMATS, Response
from schemas.access import Grant
from schemas.config import ConfigEvent, Dimension, Goal, Site
from schemas.segments import SEGMENTS
from sink.database import Database
from stream.config import ConfigFollower, ConfigWriter
from stream.embedded import EmbeddedLog
from stream.secrets import TokenStore
from stream.users import UserStore
from tests.builders import NOON
from tests.integration.api import ADMIN
from tests.integration.reports import DAY, store
from tests.rows import a_conversion, a_visit, an_action

Ask = Callable[..., Response]
"""(parameters, strict=False) -> the answer"""

TEXTS = st.one_of(
    st.sampled_from(["", "0", "1", "-1", "2", "99999999999999999999", "1e9", "NaN", "all", "a,b", ",", "true",
                     "\0", "\U0001f600", "<b>", "'", '"', "%", "%3E", "a>b", "../..", "{x:String}", "${x}",
                     "(((", "[a-", "*", "\\", "\ud800".encode("utf-8", "replace").decode()]),
    st.text(max_size=12),
)  # fmt: skip
DATES = st.sampled_from(
    [DAY.isoformat(), "today", "last3", "previous2", f"{DAY - timedelta(days=2)},{DAY}", "2010-02-31",
     "0000-00-00", "9999-12-31", "2148-12-31", "1900-01-01", "1970-01-01", "last99999", f"{DAY},today",
     "-5 days", "lastyear"]
)  # fmt: skip
CONDITIONS = st.builds(
    "{}{}{}".format,
    st.sampled_from([*SEGMENTS, "dimension1", "nope", ""]),
    st.sampled_from(["==", "!=", "=@", "!@", "=^", "=$", ">", ">=", "<", "<=", "", "="]),
    TEXTS,
)
SEGMENTS_OF_CALLS = st.lists(st.tuples(CONDITIONS, st.sampled_from([";", ",", ""])), max_size=3).map(
    lambda parts: "".join(condition + joint for condition, joint in parts)
)
KNOWN: dict[str, st.SearchStrategy[Any]] = {
    "idSite": st.sampled_from(["1", "2", "1,2", "all", "3", "", "x", "-1", "1,1"]),
    "period": st.sampled_from(["day", "week", "month", "year", "range", "", "decade"]),
    "date": DATES,
    "segment": SEGMENTS_OF_CALLS,
    "idGoal": st.sampled_from(["1", "0", "-1", "ecommerceOrder", "ecommerceAbandonedCart", "9", "x"]),
    "idSubtable": st.sampled_from(["1", "2", "999", "all", "x", "-1"]),
    "idDimension": st.sampled_from(["1", "9", "x"]),
    "apiModule": st.sampled_from(["Actions", "UserCountry", "Goals", "VisitsSummary", "Nope", "API"]),
    "apiAction": st.sampled_from(["get", "getCountry", "getPageUrls", "getItemsSku", "getRowEvolution"]),
    "reportUniqueId": st.sampled_from(["Actions_getPageUrls", "UserCountry_getCountry", "x"]),
    "segmentName": st.sampled_from([*SEGMENTS, "x"]),
    "pageUrl": st.sampled_from(["http://example.org/", "x", "//"]),
    "actionName": st.sampled_from(["http://example.org/", "x"]),
    "actionType": st.sampled_from(["url", "title", "x"]),
    "visitorId": st.sampled_from(["0123456789abcdef", "x", "0" * 16]),
    "label": st.sampled_from(["France", "France > x", "@index", ">", " ", "a%3Eb"]),
    "pivotBy": st.sampled_from(["Events.EventAction", "UserCountry.City", "x", "Actions.PageUrl"]),
    "filter_sort_column": st.sampled_from(["nb_visits", "label", "x", "goals", "bounce_rate"]),
    "filter_pattern": TEXTS,
    "columns": st.sampled_from(["nb_visits", "nb_visits,bounce_rate", "x", "goals", "label"]),
    "comparePeriods": st.sampled_from([{"0": "day"}, {"0": "week", "1": "day"}, "day", {}]),
    "compareDates": st.sampled_from([{"0": DAY.isoformat()}, {"0": "last3"}, {"0": "last9"}, "x", {}]),
    "compareSegments": st.sampled_from([{"0": "countryCode==fr"}, {"0": "x"}, "x"]),
    "urls": st.sampled_from(
        [{"0": "method=VisitsSummary.get&idSite=1&period=day&date=today"},
         {"0": "method=API.getBulkRequest"}, "x"]
    ),
    "language": st.sampled_from(["en", "de", "xx", "fr"]),
    "format_metrics": st.sampled_from(["0", "1", "all", "bc", "x"]),
    "callback": st.sampled_from(["f", "a.b", "<x>"]),
}  # fmt: skip
FLAGS = (
    "expanded", "flat", "compare", "serialize", "translateColumnNames", "totals", "keep_totals_row",
    "disable_generic_filters", "disable_queued_filters", "showRawMetrics", "include_aggregate_rows",
    "filter_add_columns_when_show_all_columns", "hideMetricsDoc", "convertToUnicode", "doNotFetchActions",
    "labelFilterAddLabelIndex", "hideIdSubDatable", "invert_compare_change_compute",
)  # fmt: skip
NUMBERS = (
    "filter_limit", "filter_offset", "filter_truncate", "filter_excludelowpop_value", "pivotByColumnLimit",
    "depth", "comparedToXPeriods", "minImpactPercent", "limitIncreaser", "lastMinutes",
    "filter_update_columns_when_show_all_goals", "minTimestamp", "countVisitorsToFetch", "timestamp",
)  # fmt: skip
_READ = re.compile(r'parameters\.(?:text|texts|integer|number|flag|comma_list|required|nested)\(\s*"(\w+)"')
_SOURCES = Path(reporting.__file__).parent.rglob("*.py")
OTHERS = sorted(
    {name for source in _SOURCES for name in _READ.findall(source.read_text())}
    - {*KNOWN, *FLAGS, *NUMBERS, "method", "module", "format", "token_auth"}
)
"""Whatever else methods and filters read; new ones are tried without being named here."""
VALUES = st.one_of(TEXTS, st.dictionaries(st.sampled_from(["0", "1", "x"]), TEXTS, max_size=3))


def some(strategies: dict[str, st.SearchStrategy[Any]], most: int) -> st.SearchStrategy[dict[str, Any]]:
    names = st.lists(st.sampled_from(sorted(strategies)), max_size=most, unique=True)
    return names.flatmap(lambda chosen: st.fixed_dictionaries({name: strategies[name] for name in chosen}))


USUAL = st.fixed_dictionaries(
    {
        "idSite": st.sampled_from(["1", "1", "1", "2", "1,2", "all"]),
        "period": st.sampled_from(["day", "week", "month", "year"]),
        "date": DATES,
    }
)
RANGES = st.fixed_dictionaries(
    {
        "idSite": st.sampled_from(["1", "1,2"]),
        "period": st.just("range"),
        "date": st.sampled_from([f"{DAY - timedelta(days=2)},{DAY}", f"{DAY},{DAY}", "last7", "previous30"]),
    }
)
PARAMETERS = st.builds(
    lambda usual, known, flags, numbers, others: {**usual, **known, **flags, **numbers, **others},
    st.one_of(USUAL, USUAL, RANGES, st.just({})),
    some(KNOWN, 8),
    some({name: st.sampled_from(["1", "0", ""]) for name in FLAGS}, 4),
    some(dict.fromkeys(NUMBERS, TEXTS), 3),
    some(dict.fromkeys(OTHERS, VALUES), 5),
)
METHOD_NAMES = st.one_of(
    st.sampled_from(sorted(METHODS)),
    st.sampled_from(sorted(METHODS)),
    st.sampled_from(["", "a.b.c", "Nope.x"]),
)
FORMAT_NAMES = st.sampled_from([*FORMATS, *FORMATS, "JSON", "", "pdf"])


@pytest.fixture(scope="module")
def ask(clickhouse_dsn: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ask]:
    """Asks an API with two sites and some visits, as the super user."""
    database = Database(clickhouse_dsn, "fuzz_tables", views="fuzz_views")
    database.open()
    store(database, [
        a_visit(visit_id=1, country="fr", actions=2, duration=30, entry_url="example.org/", user_id="u"),
        an_action(visit_id=1, hit_id=1, url="example.org/a/b", title="A > B"),
        an_action(visit_id=1, hit_id=2, url="example.org/", title="<b>"),
        a_visit(visit_id=2, country="de", referrer_type=2, referrer_name="Google", referrer_keyword="<x>"),
        a_conversion(visit_id=2, goal_id=1, revenue=2.5),
    ])  # fmt: skip
    log = EmbeddedLog(tmp_path_factory.mktemp("fuzz") / "log", 1)
    writer, follower = ConfigWriter(log), ConfigFollower(log)
    tokens, users = TokenStore(log), UserStore(log)
    for number, name in ((1, "One <b>"), (2, "Two")):
        site = Site(site_id=number, name=name, urls=("http://example.org",), ecommerce=number == 1)
        writer.write(ConfigEvent(at=1, site=site))
    writer.write(ConfigEvent(at=1, goal=Goal(site_id=1, goal_id=1, name="G")))
    dimension = Dimension(site_id=1, dimension_id=1, index=1, scope="action", name="D")
    writer.write(ConfigEvent(at=1, dimension=dimension))
    tokens.add(ADMIN, Grant(login="admin", superuser=True))
    executor = ThreadPoolExecutor(2)
    resources = Resources(
        config=follower.refresh,
        database=ThreadedDatabase(lambda: database.client, executor),
        writer=writer,
        writing=threading.Lock(),
        tokens=tokens,
        users=users,
    )
    setup = ReportingSetup(
        resources=lambda: resources,
        executor=executor,
        now=lambda: datetime.fromtimestamp(NOON, UTC) + timedelta(days=20),
    )
    with asyncio.Runner() as runner:

        def call(values: dict[str, Any], *, strict: bool = False) -> Response:
            answer = answer_parameters(
                replace(setup, compatibility="strict" if strict else "full"),
                Parameters({"module": "API", **values}),
                GivenToken(ADMIN, in_url=False),
                client="192.0.2.1",
                base_url="http://stats.example/",
            )
            return runner.run(answer)

        yield call
    executor.shutdown()
    for part in (users, tokens, follower, writer, log, database):
        part.close()


def check(response: Response, form: str) -> None:
    text = response.body.decode("utf-8", "replace")
    assert "An internal error occurred" not in text
    assert "Traceback" not in text
    # 503: what this process has no part for, such as erasure without a processor
    known = (200, 400, 401, 403, 404, 503)
    assert response.status in known or (form == "original" and response.status == 500)
    if response.content_type.startswith("application/json"):
        json.loads(text)
    elif response.content_type.startswith("text/xml"):
        ElementTree.fromstring(text)


def ask_anything(
    ask: Ask, method: str, form: str, parameters: dict[str, Any], *, strict: bool = False
) -> None:
    check(ask({**parameters, "method": method, "format": form}, strict=strict), form.lower())


ANYTHING = given(method=METHOD_NAMES, form=FORMAT_NAMES, parameters=PARAMETERS, strict=st.booleans())
CHECKED = {"deadline": None, "suppress_health_check": list(HealthCheck)}


@settings(max_examples=150, derandomize=True, **CHECKED)  # type: ignore[arg-type]
@ANYTHING
def test_any_parameters_are_answered(
    ask: Ask, method: str, form: str, parameters: dict[str, Any], strict: bool
) -> None:
    ask_anything(ask, method, form, parameters, strict=strict)


@pytest.mark.slow
@settings(max_examples=5000, **CHECKED)  # type: ignore[arg-type]
@ANYTHING
def test_many_more_parameters_are_answered(
    ask: Ask, method: str, form: str, parameters: dict[str, Any], strict: bool
) -> None:
    ask_anything(ask, method, form, parameters, strict=strict)


@settings(max_examples=60, derandomize=True, **CHECKED)  # type: ignore[arg-type]
@given(query=st.text(max_size=80))
def test_any_query_is_answered(ask: Ask, query: str) -> None:
    """As a URL brings it: nested names, broken escapes, repeated names."""
    values = {**parse_query(query), "format": "json"}
    check(ask(values), "json")


@pytest.mark.parametrize("form", ["json", pytest.param("*", marks=pytest.mark.slow)])
def test_every_method_is_answered(ask: Ask, form: str) -> None:
    """In one format, and when there is time in all of them."""
    usual = {"idSite": "1", "period": "day", "date": DAY.isoformat()}
    for method in METHODS:
        for each in FORMATS if form == "*" else (form,):
            ask_anything(ask, method, each, usual)
