"""From a request's parameters to a result: which method, for which sites and periods, by whom.

Order of refusals, as clients see it: unknown format (the renderer's), wrong token (the shell's), no method,
unknown module, unknown function, missing parameters, site, period and date, access.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, tzinfo
from typing import Any

from reporting.access import ANONYMOUS, require_on_sites, require_somewhere, require_superuser, sites_with
from reporting.errors import ApiError, missing_parameter, unknown_site
from reporting.method import Access, ApiRequest, Cell, ConfigChange, Database, Method, ReportShape
from reporting.parameters import Parameters
from reporting.periods import Period, names_several, parse_periods
from reporting.postprocess import Postprocessing, postprocess, rows_needed
from reporting.row_limits import RowLimits, limited, parse_limits
from reporting.table import Result, Table, TableMap
from rules.local_time import timezone_of
from schemas.access import Grant, Role
from schemas.config import Config
from schemas.report_queries import Cut

MAX_DEPTH = 4
"""Methods may ask other methods (bulk requests, processed reports); a chain longer than this is refused."""


@dataclass(frozen=True, kw_only=True)
class Instance:
    """What the process lends to every request."""

    methods: Mapping[str, Method]
    config: Callable[[], Config]
    database: Database
    change: Callable[[ConfigChange], Awaitable[Config]]
    now: Callable[[], datetime]
    state: Mapping[str, Any]


@dataclass(frozen=True)
class Answer:
    """A result with what rendering must know about the request."""

    result: Result
    method: str
    shape_name: str
    periods: tuple[Period, ...]
    sites: tuple[int, ...]


def find_method(methods: Mapping[str, Method], name: str) -> Method:
    """Raises ApiError. Names are case-sensitive."""
    if name == "":
        raise ApiError(
            "The parameter 'method' isn't set in the Request, and a default value wasn't provided."
        )
    module, dot, action = name.partition(".")
    if not dot or not module or not action or "." in action:
        raise ApiError("The method name is invalid. Expected 'module.methodName'")
    if name in methods:
        return methods[name]
    if any(known.startswith(module + ".") for known in methods):
        raise ApiError(
            f"The method '{action}' does not exist or is not available in the module"
            f" '\\Piwik\\Plugins\\{module}\\API'.",
            400,
        )
    raise ApiError(
        f"The plugin {module} is not enabled."
        " You can activate the plugin on Settings > Plugins page in Matomo."
    )


def parse_sites(text: str, grant: Grant, config: Config) -> tuple[tuple[int, ...], bool]:
    """The sites of an idSite parameter in their order, and whether the answer is keyed by site.

    Raises ApiError: no valid id, an unknown site, a site the grant may not read. Without the right to
    read, an unknown site is refused like any other.
    """
    if text.strip() == "all":
        known = sorted(site_id for site_id, site in config.sites.items() if not site.deleted)
        readable = sites_with(grant, "view", known)
        if not readable:
            raise ApiError("The parameter 'idSite=' is missing from the request.", 401)
        return readable, True
    numbers = [int(part) for part in text.split(",") if part.strip().isdecimal() and len(part) < 12]
    sites = tuple(dict.fromkeys(number for number in numbers if number > 0))
    if not sites:
        raise unknown_site("0")
    if grant.superuser:
        for site_id in sites:
            if config.site(site_id) is None:
                raise unknown_site(str(site_id))
    require_on_sites(grant, "view", sites)
    for site_id in sites:
        if config.site(site_id) is None:
            raise unknown_site(str(site_id))
    return sites, len(sites) > 1


def today_of(sites: tuple[int, ...], config: Config, now: datetime) -> date:
    """Today where the site is; in UTC for several sites."""
    zone = "UTC"
    if len(sites) == 1:
        site = config.site(sites[0])
        zone = site.timezone if site is not None else "UTC"
    return now.astimezone(zone_of(zone)).date()


def zone_of(name: str) -> tzinfo:
    """The timezone of a site, `UTC+5.5` among them; unknown ones are UTC."""
    try:
        return timezone_of(name)
    except (KeyError, ValueError, OSError):
        return UTC


_ROLES: Mapping[Access, Role] = {Access.VIEW: "view", Access.WRITE: "write", Access.ADMIN: "admin"}


def _check_access(method: Method, grant: Grant, sites: tuple[int, ...]) -> None:
    match method.access:
        case Access.NONE:
            return
        case Access.SUPERUSER:
            require_superuser(grant)
        case Access.SOME_VIEW:
            require_somewhere(grant, "view")
        case Access.SOME_ADMIN:
            require_somewhere(grant, "admin")
        case Access.VIEW | Access.WRITE | Access.ADMIN:
            role = _ROLES[method.access]
            if sites:
                require_on_sites(grant, role, sites)
            elif not (method.cells is not None or method.takes_sites):
                require_somewhere(grant, role)


def _language(text: str) -> str:
    """A code such as de or pt-br; what can't be one is English."""
    return text.lower() if re.fullmatch(r"[A-Za-z]{2,3}(?:-[A-Za-z]{2,4})?", text) else "en"


def build_request(
    instance: Instance, grant: Grant, parameters: Parameters, name: str, method: Method, depth: int
) -> ApiRequest:
    """Raises ApiError in the order in which Matomo refuses."""
    config = instance.config()
    now = instance.now()
    report = method.cells is not None
    takes_sites = report or method.takes_sites
    takes_period = report or method.takes_period
    if not takes_sites:
        _check_access(method, grant, ())
    required = (
        *(("idSite",) if takes_sites and not method.site_optional else ()),
        *(("period", "date") if takes_period else ()),
        *method.required,
    )
    for needed in required:
        if needed not in parameters or parameters.values[needed] in ("", None):
            raise missing_parameter(needed)
    sites: tuple[int, ...] = ()
    several_sites = False
    if takes_sites and (parameters.text("idSite") or not method.site_optional):
        sites, several_sites = parse_sites(",".join(parameters.texts("idSite")), grant, config)
        _check_access(method, grant, sites)
        if several_sites and not method.several_sites:
            raise ApiError(f"{name} with multiple sites is not supported (yet).")
    elif takes_sites:
        _check_access(method, grant, ())
    subtable = parameters.text("idSubtable")
    if report and subtable and subtable != "all" and not subtable.isdecimal():
        raise ApiError(f"idSubtable needs to be a number or 'all', '{subtable}' given.")
    periods: tuple[Period, ...] = ()
    several_periods = False
    kind, dates = parameters.text("period"), parameters.text("date")
    if takes_period:
        periods = parse_periods(kind, dates, today_of(sites, config, now))
        several_periods = names_several(kind, dates)
        if several_periods and not method.several_periods:
            raise ApiError(f"{name} with multiple dates is not supported (yet).")

    async def refuse(_: ConfigChange) -> Config:
        raise ApiError("You must be logged in to access this functionality.", 401)

    async def call(values: Mapping[str, Any], cuts: Mapping[str, Cut] | None = None) -> Result:
        inner = Parameters(dict(values))
        return (await ask(instance, grant, inner, depth + 1, cuts)).result

    return ApiRequest(
        method=name,
        parameters=parameters,
        sites=sites,
        several_sites=several_sites,
        periods=periods,
        several_periods=several_periods,
        segment=parameters.text("segment"),
        language=_language(parameters.text("language")),
        grant=grant,
        config=config,
        now=now,
        database=instance.database,
        # without a token one may have been allowed to look, never to change anything
        change=refuse if grant.login == ANONYMOUS.login else instance.change,
        call=call,
        state=instance.state,
    )


async def _awaited(value: Any) -> Any:
    return await value if inspect.isawaitable(value) else value


def merge_cells(
    request: ApiRequest, results: Mapping[Cell, Result], *, one_date_per_site: bool = False
) -> Result:
    """One result, or maps: sites outside, dates inside. A missing cell is an empty table."""

    def of(site_id: int, period: Period) -> Result:
        return results.get(Cell(site_id, period), Table())

    def of_site(site_id: int) -> Result:
        if not request.several_periods:
            return of(site_id, request.period)
        return TableMap("date", {period.key: of(site_id, period) for period in request.periods})

    def first_date(site_id: int) -> Result:
        tables = (of(site_id, period) for period in request.periods)
        return next((table for table in tables if isinstance(table, Table) and len(table)), Table())

    if request.several_sites and request.several_periods and one_date_per_site:
        return TableMap("idSite", {str(site_id): first_date(site_id) for site_id in request.sites})
    if request.several_sites:
        return TableMap("idSite", {str(site_id): of_site(site_id) for site_id in request.sites})
    return of_site(request.site_id)


def _limit_rows(
    request: ApiRequest, shape: ReportShape, cells: Mapping[Cell, Result]
) -> Mapping[Cell, Result]:
    limits: RowLimits = request.state.get("row_limits") or parse_limits(())
    below = bool(request.parameters.integer("idSubtable"))
    column = shape.sort_column or "nb_visits"
    return {
        cell: limited(table, shape.row_limit, limits, column, below=below)
        if isinstance(table, Table)
        else table
        for cell, table in cells.items()
    }


async def run_method(request: ApiRequest, method: Method) -> Result:
    """The result before generic filters."""
    if method.cells is not None:
        strict = request.state.get("compatibility") == "strict"
        cells = await _awaited(method.cells(request))
        if strict and method.shape.row_limit:
            cells = _limit_rows(request, method.shape, cells)
        merged = merge_cells(
            request,
            cells,
            one_date_per_site=strict and method.one_date_per_site,
        )
        if isinstance(merged, TableMap) and merged.key_name == "date":
            merged.key_name = method.shape.date_key
        return merged
    assert method.answer is not None, f"{request.method} has neither cells nor answer"
    result: Result = await _awaited(method.answer(request))
    return result


async def ask(
    instance: Instance,
    grant: Grant,
    parameters: Parameters,
    depth: int = 0,
    cuts: Mapping[str, Cut] | None = None,
) -> Answer:
    """Find, check, run and filter. `cuts`: what is read of aggregates. Raises ApiError for every refusal."""
    if depth > MAX_DEPTH:
        raise ApiError("The request asks itself: nested requests are limited.")
    name = parameters.text("method")
    method = find_method(instance.methods, name)
    request = replace(build_request(instance, grant, parameters, name, method, depth), cuts=cuts or {})
    if method.cells is not None and method.filters:
        request = replace(request, rows_needed=rows_needed(request, method.shape))
    result = await run_method(request, method)
    if method.filters:
        steps = Postprocessing(request=request, method=method, rerun=_rerun(method))
        result = await postprocess(result, steps)
    return Answer(result, name, method.shape.name, request.periods, request.sites)


def _rerun(method: Method) -> Callable[[ApiRequest, Mapping[str, Any]], Awaitable[Result]]:
    """Runs the same method for another period or segment (comparisons) without filters."""

    async def run(request: ApiRequest, changes: Mapping[str, Any]) -> Result:
        return await run_method(replace(request, rows_needed=None, **changes), method)

    return run
