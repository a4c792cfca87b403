"""`make sizes`: how fast archives and reports are on sites of up to ten million actions.

    python -m bench.sizes [--scale 1.0] [--folder DIR] [--only recompute,day,...] [--reports METHOD,...]
                          [--repeat 3] [--slowest 8] [--no-archive] [--json FILE]

What was made in a folder is found there again, by the same day: the data lie before today.

A day of a million lifelike actions is generated and stored as the sink would, and copied in the database:
its visits are spread over the days of other sites, half of the visitors being new each time. Archives are
computed by the product's own code, reports asked through HTTP of a whole instance. `--scale 0.05` is a quick
look.

| site | actions |
| --- | --- |
| 1 | 10 million in the days of last month, archived |
| 2 | a tenth of it |
| 3 | 5 million today, not archived |
| 4 | a million on one day |
| 5 | 10,000 on each of 365 days, archived |
"""

import argparse
import json
import multiprocessing
import os
import signal
import statistics
import sys
import tempfile
import time
import urllib.parse
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from bench.__main__ import end_cleanly
from bench.lifelike_rows import lifelike_rows
from bench.measure import machine, memory_mib, peak_mib
from bench.whole import percentile
from hitstream.engine import clickhouse_dsn
from reporting.methods import METHODS
from schemas.rows import encode_output
from sink.archives import archive_day
from sink.database import Database, database_name
from sink.encoding import ROW_TABLES, Entry, split
from sink.merged_archives import KINDS, merge_span, start_of
from stream.embedded import EmbeddedLog
from stream.opening import log_directory
from tests.instance import RunningInstance, running_instance

MONTH, TENTH, TODAY, DAY, YEAR = 1, 2, 3, 4, 5
ACTIONS_A_DAY = 1_000_000
FLUSH_ROWS = 50_000
CEILINGS_MS = {"day": 50.0, "month": 200.0, "year": 200.0, "today": 1000.0, "segment": 3000.0}
ONE_PERIOD = ("month", "tenth_month", "year", "year_by_day", "today")
RECOMPUTE_SECONDS, RECOMPUTE_MIB = 2.0, 1024.0
PAGE = "http://shop.example.org/section0/article-0"
NEEDED: Mapping[str, Mapping[str, str]] = {
    "Actions.getPageUrl": {"pageUrl": PAGE},
    "Actions.getPageTitle": {"pageName": "Article 0 - Section 0 - Shop"},
    "Actions.getDownload": {"downloadUrl": PAGE},
    "Actions.getOutlink": {"outlinkUrl": PAGE},
    "Transitions.getTransitionsForPageUrl": {"pageUrl": PAGE},
    "Insights.getInsights": {"reportUniqueId": "Actions_getPageUrls"},
    "API.getProcessedReport": {"apiModule": "Actions", "apiAction": "getPageUrls"},
    **{
        f"Referrers.get{part}": {"idSubtable": "1"}
        for part in (
            "SearchEnginesFromKeywordId",
            "KeywordsFromSearchEngineId",
            "KeywordsFromCampaignId",
            "UrlsFromWebsiteId",
            "UrlsForSocial",
        )
    },
}
"""What a method must be told besides site and period; methods of sub tables get the first one."""


Figures = dict[str, float]


@dataclass(frozen=True)
class Dates:
    today: date

    @property
    def month(self) -> list[date]:
        """The days of last month."""
        last = self.today.replace(day=1) - timedelta(days=1)
        return [last.replace(day=at) for at in range(1, last.day + 1)]

    @property
    def year(self) -> list[date]:
        return [self.today - timedelta(days=at) for at in range(365, 0, -1)]

    @property
    def yesterday(self) -> date:
        return self.today - timedelta(days=1)


def open_database(folder: Path) -> Database:
    log = EmbeddedLog(log_directory(folder))
    database = Database(clickhouse_dsn(folder), database_name(log.epoch))
    log.close()
    database.open()
    return database


def store_base(database: Database, day: date, actions: int) -> None:
    """A day of lifelike rows, as the sink stores them: blocks with each visit's state at that time."""
    pending: dict[str, dict[int, bytes]] = {table.name: {} for table in ROW_TABLES}
    offset = 0

    def flush() -> None:
        nonlocal offset
        for table in ROW_TABLES:
            entries = [Entry(0, offset + at, value) for at, value in enumerate(pending[table.name].values())]
            offset += len(entries)
            for block in split(table, entries, 1).by_month.values():
                database.insert_msgpack(table.name, table.columns, block.data)
            pending[table.name].clear()

    first_day = (day - date(1970, 1, 1)).days
    for number, (visit, action, conversion) in enumerate(
        lifelike_rows(actions, site_id=DAY, first_day=first_day), 1
    ):
        pending["visits"][visit.visit_id] = encode_output(visit)
        pending["actions"][action.hit_id] = encode_output(action)
        if conversion is not None:
            pending["conversions"][conversion.hit_id] = encode_output(conversion)
        if number % FLUSH_ROWS == 0:
            flush()
    flush()


_TIMES = {"visits": ("first_time", "last_time"), "actions": ("time",), "conversions": ("time",)}
_IDS = {"visits": ("visit_id",), "actions": ("hit_id", "visit_id"), "conversions": ("hit_id", "visit_id")}


def copy_base(
    database: Database, site: int, first: int, days: int, *, copies: int = 1, never_archived: bool = False
) -> None:
    """All visits of the base day with what they did, so many times, spread over so many days; the first is so
    many days later than the base. They are stored as time brings them, a day after the other (a single one
    hour by hour, many by the month): what lies across each other must be merged by whoever reads."""
    after = f"cityHash64(visit_id, salt) % {days}"
    for table, times in _TIMES.items():
        later = f"toInt64({first} + {after})"
        changes = [
            f"toUInt32({site}) AS site_id",
            f"date + {later} AS date",
            *(f"{column} + toIntervalDay({later}) AS {column}" for column in times),
            # ids are 16 times microseconds; the salt uses the bits below
            *(
                f"toUInt64({column} + {later} * 86400000000 * 16 + salt) AS {column}"
                for column in _IDS[table]
            ),
            f"if(visitor_id % 2, visitor_id, cityHash64(visitor_id, {later}, salt)) AS visitor_id",
            f"now64(3) + toIntervalHour({12 if never_archived else -1}) AS inserted_at",
        ]
        span, spans = (f"toHour({times[-1]})", 24) if days == 1 else (after, days)
        if days > 31:
            span, spans = f"intDiv({after}, 31)", days // 31 + 1
        for at in range(spans):
            database.command(
                f"INSERT INTO {table} SELECT * EXCEPT (salt) REPLACE ({', '.join(changes)}) FROM"
                f" (SELECT * FROM {table} FINAL WHERE site_id = {DAY}) ARRAY JOIN range({copies}) AS salt"
                f" WHERE {span} = {at} SETTINGS prefer_column_name_to_alias = 1"
            )


def fill(folder: Path, dates: Dates, scale: float) -> None:
    """All sites. In a process of its own: the memory that it takes is not that of reports."""
    database = open_database(folder)
    base, month = dates.year[0], dates.month
    store_base(database, base, int(ACTIONS_A_DAY * scale))
    copy_base(database, TENTH, (month[0] - base).days, len(month))
    copy_base(database, MONTH, (month[0] - base).days, len(month), copies=10)
    copy_base(database, TODAY, (dates.today - base).days, 1, copies=5, never_archived=True)
    copy_base(database, YEAR, 0, 365, copies=4)
    database.close()


def recompute(folder: Path, dates: Dates) -> Figures:
    """Of the day of a million actions, twice: the second time the files are in memory."""
    database = open_database(folder)
    before = memory_mib(os.getpid())
    seconds = [archive_day(database, DAY, dates.year[0]).seconds for _ in range(2)]
    peak = peak_mib(os.getpid())
    database.close()
    return {"recompute_first_s": seconds[0], "recompute_s": seconds[1], "recompute_mib": peak - before}


def archive(folder: Path, dates: Dates) -> Figures:
    """All days but today's, and what is merged of them."""
    database = open_database(folder)
    began = time.monotonic()
    for site in (MONTH, TENTH):
        for day in dates.month:
            archive_day(database, site, day)
    months = time.monotonic() - began
    for day in dates.year:
        archive_day(database, YEAR, day)
    years = time.monotonic() - began - months
    began = time.monotonic()
    for kind in KINDS:
        for site, days in ((MONTH, dates.month), (TENTH, dates.month), (YEAR, dates.year)):
            for start in sorted({start_of(kind, day) for day in days}):
                merge_span(database, site, kind, start, before=dates.today)
    merges = time.monotonic() - began
    database.close()
    return {"archive_months_s": months, "archive_year_s": years, "merge_s": merges}


def apart(function: Callable[..., Figures | None], *arguments: object) -> Figures:
    """What a function returns that runs in a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, arguments) or {}


def prepare(folder: Path) -> None:
    """The sites, through the API."""
    with running_instance(folder) as instance:
        for site in (MONTH, TENTH, TODAY, DAY, YEAR):
            instance.api(
                "SitesManager.addSite",
                siteName=f"Site {site}",
                urls="https://shop.example.org",
                timezone="UTC",
            )
            instance.api(
                "Goals.addGoal", idSite=str(site), name="Goal", matchAttribute="manually",
                pattern="", patternType="contains",
            )  # fmt: skip


def questions(reports: Sequence[str]) -> Iterator[tuple[str, Mapping[str, str]]]:
    """Every method that reports a site and period, or those named."""
    for name, method in METHODS.items():
        known = {"idSubtable": "1", "idDimension": "1", **NEEDED.get(name, {})}
        if reports and name not in reports:
            continue
        if method.cells is None and name not in NEEDED:
            continue
        if "idDimension" in method.required:
            continue  # there is none
        yield (
            name,
            {
                **{needed: known[needed] for needed in method.required if needed in known},
                **NEEDED.get(name, {}),
            },
        )


class Clock:
    """Asks an instance and measures."""

    def __init__(self, instance: RunningInstance) -> None:
        self._client, self._token = instance.client(), instance.token

    def ask(self, method: str, parameters: Mapping[str, str]) -> tuple[float, bytes]:
        """Milliseconds and the answer. Raises RuntimeError for a refusal."""
        fields = {
            "module": "API",
            "method": method,
            "format": "json",
            "token_auth": self._token,
            **parameters,
        }
        body = urllib.parse.urlencode(fields).encode()
        began = time.perf_counter()
        status, answer = self._client.request(
            "POST", "/index.php", body, {"Content-Type": "application/x-www-form-urlencoded"}
        )
        taken = 1000 * (time.perf_counter() - began)
        if status != 200 or answer.startswith(b'{"result":"error"'):
            raise RuntimeError(f"{method} {parameters}: {status} {answer[:300]!r}")
        return taken, answer


def periods(dates: Dates) -> Mapping[str, list[tuple[int, Mapping[str, str]]]]:
    """By part, what is asked one after the other: site and period, never the same twice where it can be."""
    month, year = dates.month, dates.year
    days = [{"period": "day", "date": str(day)} for day in month]
    whole = {"period": "month", "date": str(month[0])}
    return {
        "day": [(MONTH, day) for day in days],
        "month": [(MONTH, whole)],
        "tenth_day": [(TENTH, day) for day in days],
        "tenth_month": [(TENTH, whole)],
        "year": [(YEAR, {"period": "range", "date": f"{year[0]},{year[-1]}"})],
        "year_by_day": [(YEAR, {"period": "day", "date": f"{year[0]},{year[-1]}"})],
        "today": [(TODAY, {"period": "day", "date": str(dates.today)})],
        "segment": [(MONTH, whole)],
    }


def segment(number: int) -> str:
    """One that nobody asked before, of another share of visits each time."""
    kinds = (
        f"countryCode==de;actions>={1 + number % 7};visitCount<={40 + number}",
        f"pageUrl=@article-{number};deviceType==smartphone",
        f"referrerType==search,browserCode==SF;visitDuration>{number}",
    )
    return kinds[number % len(kinds)]


def measure_reports(
    clock: Clock, dates: Dates, parts: Sequence[str], reports: Sequence[str], repeat: int
) -> dict[str, dict[str, list[float]]]:
    """Part -> report -> milliseconds."""
    found: dict[str, dict[str, list[float]]] = {}
    for part, asked in periods(dates).items():
        if part not in parts:
            continue
        of_part = found[part] = {}
        number = 0
        for method, parameters in questions(reports):
            if part == "year_by_day" and method not in (
                "VisitsSummary.get",
                "Actions.get",
                "UserCountry.getCountry",
            ):
                continue
            for at in range(repeat):
                site, period = asked[(number + at) % len(asked)]
                number += 1
                more = {"segment": segment(number)} if part == "segment" else {}
                try:
                    taken, _ = clock.ask(method, {"idSite": str(site), **period, **parameters, **more})
                except RuntimeError as error:
                    print(error, file=sys.stderr)
                    break
                of_part.setdefault(method, []).append(taken)
    return found


def show(found: Mapping[str, Mapping[str, Sequence[float]]], slowest: int) -> Figures:
    """Prints a table per part; returns p50 and p95 of all requests and the slowest report's median. Of parts
    of one period those are of what was asked first: the answer is kept then, until rows are stored."""
    figures: Figures = {}
    for part, of_part in found.items():
        asked_again = []
        if part in ONE_PERIOD:
            asked_again = [taken for times in of_part.values() for taken in times[1:]]
            of_part = {name: times[:1] for name, times in of_part.items()}
        everything = [taken for times in of_part.values() for taken in times]
        medians = sorted(((statistics.median(times), name) for name, times in of_part.items()), reverse=True)
        figures |= {
            f"{part}_p50_ms": percentile(everything, 0.5),
            f"{part}_p95_ms": percentile(everything, 0.95),
            f"{part}_slowest_ms": medians[0][0],
        }
        if asked_again:
            figures[f"{part}_again_p95_ms"] = percentile(asked_again, 0.95)
        ceiling = CEILINGS_MS.get(part.removeprefix("tenth_"), 0.0)
        missed = sum(median > ceiling for median, _ in medians) if ceiling else 0
        print(
            f"{part}: {len(medians)} reports, p50 {figures[f'{part}_p50_ms']:.0f} ms,"
            f" p95 {figures[f'{part}_p95_ms']:.0f} ms, {missed} above {ceiling:.0f} ms",
            flush=True,
        )
        for median, name in medians[:slowest]:
            print(f"    {median:8.0f} ms  {name}")
    return figures


def run(options: argparse.Namespace, folder: Path) -> Figures:
    """All that was asked for."""
    dates = Dates(datetime.now(UTC).date())
    parts = options.only.split(",")
    figures: Figures = {}
    folder.mkdir(parents=True, exist_ok=True)
    data = folder / "sizes"
    if not data.exists():
        prepare(data)
        apart(fill, data, dates, options.scale)
        if options.archive:
            figures |= apart(archive, data, dates)
    if "recompute" in parts:
        figures |= apart(recompute, data, dates)
    asked = [part for part in parts if part in periods(dates)]
    if asked:
        with running_instance(data) as instance:
            clock = Clock(instance)
            reports = options.reports.split(",") if options.reports else []
            warm_up = {"idSite": str(DAY), "period": "day", "date": str(dates.year[0])}
            for method, parameters in questions(reports):
                clock.ask(method, {**warm_up, **parameters})
            for part in asked:
                found = measure_reports(clock, dates, [part], reports, options.repeat)
                figures |= show(found, options.slowest)
                save(options, figures)
            figures["database_peak_mib"] = peak_mib(instance.children()["database"])
    return figures


def save(options: argparse.Namespace, figures: Figures) -> None:
    """Also those known so far: a run takes long."""
    if options.json:
        known = {"machine": machine(), "scale": options.scale, "figures": figures}
        Path(options.json).write_text(json.dumps(known, indent=1))


def main() -> int:
    """Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.sizes", description="How fast reports are.")
    parser.add_argument("--scale", type=float, default=1.0, help="1 is ten million actions in a month")
    parser.add_argument("--folder", default="", help="where the data is made, and found again if it is there")
    parser.add_argument(
        "--only", default="recompute,day,month,tenth_day,tenth_month,year,year_by_day,today,segment"
    )
    parser.add_argument("--reports", default="", help="methods, such as Actions.getPageUrls (default: all)")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--slowest", type=int, default=8)
    parser.add_argument("--no-archive", dest="archive", action="store_false")
    parser.add_argument("--json", default="", help="file for the figures")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, end_cleanly)
    with tempfile.TemporaryDirectory() as temporary:
        figures = run(options, Path(options.folder or temporary))
    for name, value in figures.items():
        print(f"{name:24} {value:12,.2f}")
    save(options, figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
