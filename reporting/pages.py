"""Trees of page URLs, page titles, downloads and outlinks from flat rows."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal
from urllib.parse import quote_plus

from reporting.queries import Metrics
from reporting.rows import ColumnOrder, add_metrics, money, number, rounded
from reporting.table import Columns, Row, Table, Value
from schemas.metrics import TIMINGS
from schemas.page_levels import TITLE_UNKNOWN, URL_UNKNOWN

PREFIXES = ("http://", "http://www.", "https://", "https://www.", "")
"""By Action.url_prefix."""

_MAX_LEVELS = 10

Kind = Literal["url", "title", "download", "outlink"]


def full_url(url: str, prefix: float) -> str:
    return PREFIXES[int(prefix)] + url if url else ""


def secure_url(url: str, site_urls: Sequence[str]) -> str:
    """`url` with https when one of the site's own addresses has its host with https."""
    scheme, mark, rest = url.partition("://")
    if scheme != "http" or not mark:
        return url
    host = rest.split("/", 1)[0].lower()
    if any(known.lower().startswith(f"https://{host}") for known in site_urls):
        return "https://" + rest
    return url


def path_key(url: str) -> str:
    """A stored URL from its first slash on: pages that share it share their label."""
    _, slash, path = url.partition("/")
    return slash + path


def path_of_url(url: str, delimiter: str = "/") -> list[str]:
    """Folders and page of a stored URL (no scheme): `example.org/a/b?c` is [a, /b?c], a folder's own page is
    /index. Pages begin with a slash so that a page and a folder of one name stay apart."""
    if url == "":
        return [URL_UNKNOWN]
    host, _, path = url.partition("/")
    if host.endswith(":"):
        path = url  # of another scheme than http: the host is part of the path
    path, hash_sign, fragment = path.partition("#")
    path, question, query = path.partition("?")
    if (path == "" or path.endswith("/")) and not query:
        path += "index"
    # a slash in the query makes no folder
    parts = path.split(delimiter, _MAX_LEVELS - 1) if delimiter else [path]
    page = parts.pop().strip()
    parts = [part.strip() for part in parts if part.strip()]
    page += question + query if query else ""
    if not parts and not page:
        return [URL_UNKNOWN]
    parts.append("/" + page + (hash_sign + fragment if fragment else ""))
    return parts


def path_of_title(title: str, delimiter: str = "") -> list[str]:
    """A title is one level unless the instance names a delimiter; the page's label begins with a blank."""
    if title.strip() == "":
        return [" " + TITLE_UNKNOWN]
    parts = title.split(delimiter, _MAX_LEVELS - 1) if delimiter else [title]
    parts = [part.strip() for part in parts if part.strip()] or [TITLE_UNKNOWN]
    parts[-1] = " " + parts[-1]
    return parts


def path_of_link(url: str) -> list[str]:
    """Downloads and outlinks: host, then the rest."""
    host, _, path = url.partition("/")
    path, _, _ = path.partition("#")
    return [host.strip(), "/" + path.strip()]


@dataclass
class Page:
    """What is known of one page (or one folder) in one cell."""

    hits: Metrics | None = None
    time: Metrics | None = None
    entry: Metrics | None = None
    exit: Metrics | None = None
    goals: dict[int, Metrics] = field(default_factory=dict)
    entry_goals: dict[int, Metrics] = field(default_factory=dict)
    goal_keys: frozenset[str] = frozenset()
    """What `goals` and `entry_goals` are of: pages that share a key have the same ones."""


@dataclass
class Node:
    label: str
    path: tuple[str, ...]
    url: str = ""
    url_page: Page | None = None
    """The first page of the label, whose URL it shows."""
    page: Page | None = None
    """The sum over all pages of the label."""
    children: dict[str, "Node"] = field(default_factory=dict)


HIT_COLUMNS = ("nb_visits", "nb_uniq_visitors", "nb_hits")
ENTRY_COLUMNS = (
    "entry_nb_uniq_visitors", "entry_nb_visits", "entry_nb_actions", "entry_sum_visit_length",
    "entry_bounce_count",
)  # fmt: skip
EXIT_COLUMNS = ("exit_nb_uniq_visitors", "exit_nb_visits")
_MISSING = 2147483.0
"""Smallest value that stands for `no hit had the timing` (schemas.reports)."""


def _whole(value: float) -> int | float:
    return int(value) if value == int(value) else value


def timing_columns(
    metrics: Metrics, name: str, shown: Callable[[float], Value], *, exact: bool = False
) -> Columns:
    """`exact`: the sum of floats as it is, 2.1359999999999997 and not 2.136."""
    count = metrics.get(f"nb_hits_with_{name}", 0.0)
    total = metrics.get(f"sum_{name}", 0.0)
    lowest, highest = metrics.get(f"min_{name}", _MISSING), metrics.get(f"max_{name}", 0.0)
    return {
        f"sum_{name}": _whole(total) if exact else number(total),
        f"nb_hits_with_{name}": shown(count),
        f"min_{name}": f"{lowest:.4f}" if count else None,
        f"max_{name}": f"{highest:.4f}" if count else None,
    }


def _goal_rows(page: Page, totals: Mapping[int, float], allowed: Callable[[int], bool]) -> dict[str, Value]:
    goals: dict[str, Value] = {}
    for goal_id in sorted({*page.goals, *page.entry_goals}):
        one: Columns = {}
        before = page.goals.get(goal_id) if allowed(goal_id) else None
        if before is not None:
            count = before["nb_conversions"]
            one["nb_conversions"] = number(count)
            # amounts stay fractions even when they are whole, as PHP shows them
            one["revenue"] = float(money(before["revenue"]))
            share = count / totals[goal_id] if totals.get(goal_id) else 0
            rate = float(rounded(share, 3)) if share <= 1 else 1
            if goal_id < 0:
                one["nb_conversions_page_uniq"] = number(count)
                one["nb_conversions_page_rate"] = rate
            else:
                one["nb_conv_pages_before"] = number(before["nb_conv_pages_before"])
                one["nb_conversions_attrib"] = round(before["nb_conversions_attrib"], 4)
                one["nb_conversions_page_rate"] = rate
                one["nb_conversions_page_uniq"] = number(count)
                one["revenue_attrib"] = float(money(before["revenue_attrib"]))
        entered = page.entry_goals.get(goal_id)
        if entered is not None:
            one["revenue_entry"] = float(money(entered["revenue_entry"]))
            one["nb_conversions_entry_rate"] = round(entered["nb_conversions_entry_rate"], 3)
            one["revenue_per_entry"] = round(entered["revenue_per_entry"], 3)
            one["nb_conversions_entry"] = number(entered["nb_conversions_entry"])
        if one:
            key = {0: "ecommerceOrder", -1: "ecommerceAbandonedCart"}.get(goal_id, str(goal_id))
            goals[f"idgoal={key}"] = one
    return goals


@dataclass(frozen=True)
class PageColumns:
    """How the pages of one report become columns."""

    day: bool
    timings: Sequence[str] = ()
    """Timings that at least one hit of the report has."""
    goal_totals: Mapping[int, float] = field(default_factory=dict)
    goal_allowed: Callable[[int], bool] = lambda _: True
    with_time: bool = True
    exact: bool = False
    """Sums of times are shown as floats add up (strict), not rounded."""

    def columns(self, page: Page) -> Columns:
        order = ColumnOrder(self.day)
        # sums that the database returned as decimals are texts in a day's answer
        shown = (lambda value: str(number(value))) if self.day else number
        hits = page.hits
        if hits is not None:
            columns: Columns = {name: number(hits[name]) for name in HIT_COLUMNS}
            columns["sum_time_spent"] = number(page.time["sum_time_spent"]) if page.time else 0
            if hits.get("nb_hits_following_search"):
                columns["nb_hits_following_search"] = shown(hits["nb_hits_following_search"])
            for name in self.timings:
                columns |= timing_columns(hits, name, shown, exact=self.exact)
            order.add(hits["first_day"], columns)
        if page.entry is not None:
            entry: Columns = {}
            for name in ENTRY_COLUMNS:
                value = page.entry[name]
                entry[name] = number(value) if name == "entry_nb_uniq_visitors" else shown(value)
            order.add(page.entry["first_day"], entry)
        if page.exit is not None:
            order.add(
                page.exit["first_day"],
                {
                    "exit_nb_uniq_visitors": number(page.exit["exit_nb_uniq_visitors"]),
                    "exit_nb_visits": shown(page.exit["exit_nb_visits"]),
                },
            )
        goals = _goal_rows(page, self.goal_totals, self.goal_allowed)
        if goals:
            first = min(one["first_day"] for one in (*page.goals.values(), *page.entry_goals.values()))
            order.add(first, {"goals": goals})
        return order.columns()


def _add_cell(name: str, held: Value, value: Value) -> Value:
    """Cells of two rows of a folder added up."""
    if name == "goals" and isinstance(held, dict) and isinstance(value, dict):
        merged = dict(held)
        for key, one in value.items():
            old = merged.get(key)
            if not isinstance(old, dict) or not isinstance(one, dict):
                merged[key] = one
                continue
            merged[key] = {
                **old,
                **{inner: _add_cell(inner, old.get(inner), amount) for inner, amount in one.items()},
            }
        return merged
    if value is None or held is None:
        return value if held is None else held
    left, right = float(str(held)), float(str(value))
    if name.startswith("min_"):
        return held if left <= right else value
    if name.startswith("max_"):
        return held if left >= right else value
    return number(round(left + right, 6))


_NOT_ADDED = frozenset(
    ("nb_uniq_visitors", "entry_nb_uniq_visitors", "exit_nb_uniq_visitors", "sum_daily_nb_uniq_visitors",
     "sum_daily_entry_nb_uniq_visitors", "sum_daily_exit_nb_uniq_visitors")
)  # fmt: skip
"""A visitor of two pages of a folder would count twice."""


def folder_columns(rows: Sequence[Row]) -> Columns:
    total: Columns = {}
    for row in rows:
        for name, value in row.columns.items():
            if name == "label" or name in _NOT_ADDED:
                continue
            total[name] = _add_cell(name, total[name], value) if name in total else _plain(value)
    return total


def _plain(value: Value) -> Value:
    """Texts of day rows become numbers in sums; timings stay texts."""
    if isinstance(value, str) and value.isdigit():
        return int(value)
    return value


def _without_page_rates(columns: Columns) -> Columns:
    """Only the first level of a tree knows the share of conversions that a page saw."""
    goals = columns.get("goals")
    if not isinstance(goals, dict):
        return columns
    changed = {
        key: {**one, "nb_conversions_page_rate": 0}
        if isinstance(one, dict) and "nb_conversions_page_rate" in one
        else one
        for key, one in goals.items()
    }
    return {**columns, "goals": changed}


def build_tree(
    pages: Mapping[str, Page],
    *,
    path_of: Callable[[str], list[str]],
    columns: PageColumns,
    url_of: Callable[[str, Page], str],
    leaf_metadata: Callable[[str, str], Columns],
    folder_metadata: Callable[[Sequence[str]], Columns],
) -> Table:
    """`pages` by URL or title, in order of first appearance, and so are the rows."""
    root = Node("", ())
    for name, page in pages.items():
        node = root
        path = path_of(name)
        for part in path:
            if part not in node.children:
                node.children[part] = Node(part, (*node.path, part))
            node = node.children[part]
        if node.page is None:
            node.url, node.url_page = name, page
            node.page = replace(page)
        else:
            _merge_page(node.page, page)

    def rows_of(node: Node, level: int) -> list[Row]:
        rows = []
        for child in node.children.values():
            if child.children:
                inner = rows_of(child, level + 1)
                sums = folder_columns(inner)
                for name, goals in _folder_rates(sums, columns).items():
                    sums[name] = goals
                row_columns = sums if level == 0 else _without_page_rates(sums)
                row = Row({"label": child.label, **row_columns}, folder_metadata(child.path), Table(inner))
            else:
                assert child.page is not None
                assert child.url_page is not None
                leaf = columns.columns(child.page)
                if level > 0:
                    leaf = _without_page_rates(leaf)
                row = Row(
                    {"label": child.label, **leaf},
                    leaf_metadata(child.url, url_of(child.url, child.url_page)),
                )
            rows.append(row)
        return rows

    return Table(rows_of(root, 0))


def _folder_rates(sums: Columns, columns: PageColumns) -> dict[str, Value]:
    """The share of a goal's conversions that pages of the folder saw."""
    goals = sums.get("goals")
    if not isinstance(goals, dict):
        return {}
    ids = {"ecommerceOrder": 0, "ecommerceAbandonedCart": -1}
    changed: dict[str, Value] = {}
    for key, one in goals.items():
        if isinstance(one, dict) and "nb_conversions_page_uniq" in one:
            name = str(key).removeprefix("idgoal=")
            total = columns.goal_totals.get(ids[name] if name in ids else int(name), 0.0)
            count = float(str(one["nb_conversions_page_uniq"]))
            one = {
                **one,
                "nb_conversions_page_rate": min(1, rounded(count / total, 3)) if total else 0,
            }
        changed[key] = one
    return {"goals": changed}


def _merge_page(held: Page, more: Page) -> None:
    """Two URLs that share a label (a folder with and without slash)."""
    for name in ("hits", "time", "entry", "exit"):
        other = getattr(more, name)
        if other is None:
            continue
        own = getattr(held, name)
        if own is None:
            setattr(held, name, dict(other))
        else:
            merged = dict(own)
            add_metrics(merged, other)
            setattr(held, name, merged)
    if more.goal_keys and more.goal_keys <= held.goal_keys:
        return
    held.goal_keys |= more.goal_keys
    for kind in ("goals", "entry_goals"):
        target = dict(getattr(held, kind))
        setattr(held, kind, target)
        for goal_id, metrics in getattr(more, kind).items():
            if goal_id in target:
                merged = dict(target[goal_id])
                add_metrics(merged, metrics)
                target[goal_id] = merged
            else:
                target[goal_id] = metrics


_TWICE = {code: quote_plus(quote_plus(chr(code))) for code in range(128)}


def double_encoded(value: str) -> str:
    """Segments of pages carry their value encoded twice, as clients expect it."""
    # a table takes a third of the time, and each of tens of thousands of pages has one
    return value.translate(_TWICE) if value.isascii() else quote_plus(quote_plus(value))


AVERAGES = tuple(f"avg_{name}" for name in TIMINGS)
