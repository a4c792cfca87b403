"""The first level of the tree of pages, as SQL tells it from URLs and titles; and its first rows, archived.

The rows of the first level are folders and pages. What a URL is, SQL tells by its form; one of unusual form
(blanks, nothing between slashes) is read as it is.

A report shows the first hundred of them. Which these are of tens of thousands of pages, and what all pages of
a folder add up to, is computed once for the archive of a day or of a merged span (sink.first_rows), under
names of its own: the parts of the report for its first rows (`first_pages`, `first_pages_time` ...), what was
left out (`first_pages_rest`) and where folders stand in the tree (`page_folders`)."""

# ruff: noqa: S608 - texts of queries are declarations of this repository, values are bound parameters

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

from schemas.metrics import FIRST, metric
from schemas.report_queries import Cut, period_sql
from schemas.reports import AGGREGATES, Aggregate

Members = Literal["all", "entry", "exit", "search"]
"""Which pages a report lists: all, those where visits entered or left, those that followed a search."""
Prefix = Literal["pages", "titles"]
PREFIXES: tuple[Prefix, ...] = ("pages", "titles")

PARTS = ("time", "entry", "exit", "goals", "entry_goals")
SORTED_BY: Mapping[Members, tuple[str, str]] = {
    "all": ("", "nb_visits"),
    "entry": ("_entry", "entry_nb_visits"),
    "exit": ("_exit", "exit_nb_visits"),
    "search": ("", "nb_hits_following_search"),
}
"""The aggregate (after its prefix) and the metric whose largest values come first."""

URL_UNKNOWN = "Page URL not defined"
TITLE_UNKNOWN = "Page Name not defined"

_HOST = "[^/?#]*[^/?#:]"
_FOLDER = r"/[^/?#]*[\p{L}\p{N}%_.~-][^/?#]*/"
_PAGE = r"/[^/?#\s\p{Z}]*(?:[?][^#]+)?(?:#[\s\S]|$)"
FOLDER_URL, PAGE_URL = f"^{_HOST}{_FOLDER}", f"^{_HOST}{_PAGE}"
"""URLs (no scheme) of pages below a folder, up to the first folder's end, and of pages of the first level."""
FOLDER_PATH, PAGE_PATH = f"^{_FOLDER}", f"^{_PAGE}"
"""The same of paths, as reporting.pages.path_key has them."""
_OUTER_BLANKS = r"^[\s\p{Z}]+|[\s\p{Z}]+$"

# match() is cheap, what finds or replaces text by a pattern costs ten times as much: 30 and 220 ms for the
# 96,000 URLs of a month's days. So patterns only tell what a URL is, and positions of slashes take it apart.


def quoted(pattern: str) -> str:
    return "'" + pattern.replace("\\", "\\\\") + "'"


def path_of(url: str) -> str:
    return f"substring({url}, position({url}, '/'))"


def _bare(url: str) -> str:
    """Without query and fragment. Both at once would cut a question mark of the fragment first."""
    return f"cutQueryString(cutFragment({url}))"


def page_key(path: str) -> str:
    """The same for all pages of the first level that share a label: a folder's own page is `index`."""
    return f"if({path} = '/' OR startsWith({path}, '/#'), concat('/index', substring({path}, 2)), {path})"


def title_key(title: str) -> str:
    """The same for all titles that share a row."""
    ends = (title, f"substring({title}, length({title}), 1)")
    # both a visible character of ASCII: no pattern needs to look at most titles
    as_it_is = " AND ".join(f"ascii({one}) BETWEEN 33 AND 126" for one in ends)
    trimmed = _trimmed(title)
    return f"if({as_it_is}, {title}, if({trimmed} = '', {quoted(TITLE_UNKNOWN)}, {trimmed}))"


def _trimmed(text: str) -> str:
    return f"replaceRegexpAll({text}, {quoted(_OUTER_BLANKS)}, '')"


def row_key(url: str) -> str:
    """The same for all URLs that share a row of the first level: `/folder/`, `/page?query` (reporting.pages
    has the rules). Only for few: patterns take apart what is no page of the first level."""
    path = f"if(position({url}, '/') = 0, '', {path_of(url)})"
    path = f"if(match({url}, '^[^/]*:(/|$)'), concat('/', {url}), {path})"
    bare = _bare("p")
    parts = f"splitByChar('/', {bare})"
    folders = f"arrayFilter(x -> x != '', arrayMap(x -> {_trimmed('x')}, arrayPopBack({parts})))"
    after = f"substring(p, length({bare}) + 1)"
    # a mark with nothing behind it is no part of the label
    shown = f"replaceRegexpOne(replaceRegexpOne({after}, '^[?](#|$)', '\\\\1'), '^([^#]*)#$', '\\\\1')"
    name = f"if({parts}[-1] = '' AND NOT match({after}, '^[?][^#]'), 'index', {_trimmed(parts + '[-1]')})"
    page = f"concat({name}, extract({shown}, '^[?][^#]*'))"
    unknown = quoted(URL_UNKNOWN)
    other = (
        f"multiIf(notEmpty({folders}), concat('/', {folders}[1], '/'), {page} = '', {unknown},"
        f" concat('/', {name}, {shown}))"
    )
    return (
        f"multiIf({url} = '', {unknown}, match({url}, {quoted(PAGE_URL)}), {page_key(path_of(url))},"
        f" arrayMap(p -> {other}, [{path}])[1])"
    )


def _first_folder(url: str) -> str:
    """Of what FOLDER_URL or FOLDER_PATH matches."""
    return f"substring({url}, 1, position({url}, '/', position({url}, '/') + 1))"


def level_label(label: str, folder: str) -> str:
    """A folder for the pages below it, a page itself. `folder` is FOLDER_URL or FOLDER_PATH."""
    return f"if(match({label}, {quoted(folder)}), {_first_folder(label)}, {label})"


def _directory(url: str) -> str:
    bare = _bare(url)
    return f"substring({url}, 1, length({bare}) + 1 - position(reverse({bare}), '/'))"


def place(url: str, folder: str) -> str:
    """The directory of what lies below a folder; what is of unusual form stands for itself."""
    return f"if(match({url}, {quoted(folder)}), {_directory(url)}, {url})"


def names_of(prefix: Prefix) -> tuple[str, ...]:
    """The aggregates of a page report."""
    return (prefix, *(f"{prefix}_{part}" for part in PARTS))


MOST_FIRST = 100
"""So many first rows in each order of SORTED_BY are archived, with all that are equal to the last; that many
are shown unless a request asks for more."""
FEW_ACTIONS = 300
"""Days of no more actions have no first rows: all their pages are read as quickly."""

FIRST_OF: Mapping[str, Aggregate] = {
    name: replace(AGGREGATES[name], name=f"first_{name}") for prefix in PREFIXES for name in names_of(prefix)
}
"""By the name of the part of a page report: labels and metrics are the same, of first rows and folders."""
REST_OF: Mapping[Prefix, Aggregate] = {
    prefix: Aggregate(name=f"first_{prefix}_rest", source="actions", metrics=(metric("left_out", "count()"),))
    for prefix in PREFIXES
}
"""How many rows of the first level are not among the first; of a day of few actions those, without labels
of any. Without pages there is no row."""
FOLDERS = Aggregate(
    name="page_folders",
    source="actions",
    # the directory, and which URL of it in lower case came first
    labels=("a.url", "a.url"),
    metrics=(
        metric(FIRST, "min(a.time)", "min"),
        *(metric(column, "count()") for column in ("entry_nb_visits", "exit_nb_visits")),
        metric("nb_hits_following_search", "count()"),
    ),
)
"""The directories of pages below folders, and those of unusual form."""
DERIVED: tuple[Aggregate, ...] = (*FIRST_OF.values(), *REST_OF.values(), FOLDERS)
"""What is computed from archived parts of page reports; their declarations say labels and metrics only."""

_STORED = (
    "SELECT report, date, labels, metrics FROM archives WHERE site_id = {site:UInt32}"
    " AND segment = {segment:String} AND date BETWEEN {first:Date} AND {last:Date}"
    " AND generation = {generation:UInt64} AND report IN {reports:Array(String)}"
)
_COLUMNS = "{site:UInt32} AS site_id, {segment:String} AS segment"


def _place_of(name: str, column: str) -> str:
    """A metric of an archived aggregate."""
    return f"[{1 + [one.name for one in AGGREGATES[name].metrics].index(column)}]"


def first_rows_sql(prefix: Prefix) -> str:
    """The rows of archives (site_id, segment, report, date, generation, labels, metrics) that the first rows
    of one generation are.

    Bound: site, segment, generation, first and last (the dates of its rows), `reports` (keys of names_of),
    `targets` (those of FIRST_OF, in the same order) and `rest`."""
    names = names_of(prefix)
    if prefix == "titles":
        # each title is a row, once in a generation
        level = (
            "SELECT report, labels AS names, metrics AS merged,"
            f" toFloat64(toRelativeDayNum(date)) AS first_day FROM ({_STORED})"
        )
        key, always = title_key("names[1]"), "0"
    else:
        of_urls = [AGGREGATES[name] for name in names if not name.endswith("goals")]
        of_paths = [AGGREGATES[name] for name in names if name.endswith("goals")]
        parts = [
            (of_urls, Cut(labels=(level_label("d.l0", FOLDER_URL),))),
            (of_paths, Cut(labels=(level_label("d.l0", FOLDER_PATH), "d.l1"))),
        ]
        level = period_sql(parts, "range", _STORED)
        url = f"if(at > {len(of_urls)}, concat('host', names[1]), names[1])"
        key = f"arrayMap(u -> {row_key('u')}, [{url}])[1]"
        # of goals only the path is known: `ftp://host/` is no folder there
        always = f"at > {len(of_urls)} AND NOT match(names[1], {quoted(FOLDER_PATH)})"
        always += f" AND NOT match(names[1], {quoted(PAGE_PATH)})"
    # what has no visits (a page that was left on another day) comes last, for days to be added up
    orders: dict[int, list[str]] = {}
    for number, (suffix, column) in enumerate(SORTED_BY.values()):
        name = prefix + suffix
        orders.setdefault(1 + names.index(name), []).append(f"({number}, merged{_place_of(name, column)})")
    amounts = ", ".join(f"at = {at}, [{', '.join(['(0, 0.)', *pairs])}]" for at, pairs in orders.items())
    rows = f"{_COLUMNS}, {{generation:UInt64}} AS generation"
    return (
        "WITH keyed AS MATERIALIZED (SELECT *, indexOf({reports:Array(String)}, report) AS at,"
        f" {key} AS key FROM ({level})),"
        " shown AS MATERIALIZED (SELECT DISTINCT key FROM (SELECT key, rank() OVER (PARTITION BY order_of"
        " ORDER BY total DESC) AS rank FROM (SELECT key, amount.1 AS order_of, sum(amount.2) AS total FROM"
        f" (SELECT key, arrayJoin(multiIf({amounts}, [(0, 0.)])) AS amount FROM keyed)"
        " GROUP BY key, order_of HAVING total > 0 OR order_of = 0)"
        f") WHERE rank <= {MOST_FIRST})"
        f" SELECT {rows}, {{targets:Array(String)}}[at] AS report, toDate(toUInt16(first_day)) AS date,"
        " names AS labels, merged AS metrics FROM keyed"
        f" WHERE key IN (SELECT key FROM shown) OR ({always})"
        f" UNION ALL SELECT {rows}, {{rest:String}}, toDate(toUInt16(min(first_day))), emptyArrayString(),"
        " [toFloat64(countIf(key NOT IN (SELECT key FROM shown)))] FROM keyed HAVING count() > 0"
    )


def folders_sql() -> str:
    """As first_rows_sql, of FOLDERS. Bound: `folders`, its key, and of `reports` pages, their entries and
    their exits, in this order."""
    first, search = _place_of("pages", FIRST), _place_of("pages", "nb_hits_following_search")
    entries, exits = _place_of("pages_entry", "entry_nb_visits"), _place_of("pages_exit", "exit_nb_visits")
    return (
        f"SELECT {_COLUMNS}, {{generation:UInt64}} AS generation, {{folders:String}} AS report,"
        " min(day) AS date, [directory, argMin(lowerUTF8(l), (first, lowerUTF8(l)))] AS labels,"
        " [min(first), sum(entries), sum(exits), sum(searches)] AS metrics"
        f" FROM (SELECT l, {place('l', FOLDER_URL)} AS directory, min(date) AS day,"
        f" minIf(metrics{first}, at = 1) AS first, sumIf(metrics{entries}, at = 2) AS entries,"
        f" sumIf(metrics{exits}, at = 3) AS exits, sumIf(metrics{search}, at = 1) AS searches"
        " FROM (SELECT date, metrics, labels[1] AS l, indexOf({reports:Array(String)}, report) AS at"
        f" FROM ({_STORED})) WHERE NOT match(l, {quoted(PAGE_URL)}) GROUP BY l HAVING countIf(at = 1) > 0)"
        " GROUP BY directory"
    )
