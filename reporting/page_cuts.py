"""The part of a page report that its first rows show, chosen in the database.

The rows of the first level are folders and pages. Of tens of thousands of pages the first ones are read.
A folder's row adds up all pages below it: they are read as one page, `host/folder/`. What a URL is, SQL tells
by its form; one of unusual form (blanks, nothing between slashes) is read as it is."""

# ruff: noqa: S608 - texts of queries are declarations of this repository, values are bound parameters

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from reporting.method import EVERY_ROW
from reporting.pages import TITLE_UNKNOWN, URL_UNKNOWN, path_key, path_of_url
from reporting.queries import Days
from schemas.metrics import FIRST
from schemas.report_queries import Cut
from schemas.reports import AGGREGATES

Members = Literal["all", "entry", "exit", "search"]
"""Which pages a report lists: all, those where visits entered or left, those that followed a search."""
Prefix = Literal["pages", "titles"]

PARTS = ("time", "entry", "exit", "goals", "entry_goals")
SORTED_BY: Mapping[Members, tuple[str, str]] = {
    "all": ("", "nb_visits"),
    "entry": ("_entry", "entry_nb_visits"),
    "exit": ("_exit", "exit_nb_visits"),
    "search": ("", "nb_hits_following_search"),
}
"""The aggregate (after its prefix) and the metric whose largest values come first."""

_HOST = "[^/?#]*[^/?#:]"
_FOLDER = r"/[^/?#]*[\p{L}\p{N}%_.~-][^/?#]*/"
_PAGE = r"/[^/?#\s\p{Z}]*(?:[?][^#]+)?(?:#[\s\S]|$)"
FOLDER_URL, PAGE_URL = f"^{_HOST}{_FOLDER}", f"^{_HOST}{_PAGE}"
"""URLs (no scheme) of pages below a folder, up to the first folder's end, and of pages of the first level."""
FOLDER_PATH, PAGE_PATH = f"^{_FOLDER}", f"^{_PAGE}"
"""The same of paths, as reporting.pages.path_key has them."""
_MOST_NAMES = 255
"""That multiSearchAny looks for; the same page of many sites is one name."""
_OUTER_BLANKS = r"^[\s\p{Z}]+|[\s\p{Z}]+$"

# match() is cheap, what finds or replaces text by a pattern costs ten times as much: 30 and 220 ms for the
# 96,000 URLs of a month's days. So patterns only tell what a URL is, and positions of slashes take it apart.


def _quoted(pattern: str) -> str:
    return "'" + pattern.replace("\\", "\\\\") + "'"


def _path(url: str) -> str:
    return f"substring({url}, position({url}, '/'))"


def _key(path: str) -> str:
    """The same for all pages of the first level that share a label: a folder's own page is `index`."""
    return f"if({path} = '/' OR startsWith({path}, '/#'), concat('/index', substring({path}, 2)), {path})"


def _title_key(title: str) -> str:
    blanks = _quoted(_OUTER_BLANKS)
    trimmed = f"if(match({title}, {blanks}), replaceRegexpAll({title}, {blanks}, ''), {title})"
    return f"if(match({title}, '[^\\\\s\\\\p{{Z}}]'), {trimmed}, {_quoted(TITLE_UNKNOWN)})"


def _first_folder(url: str) -> str:
    """Of what FOLDER_URL or FOLDER_PATH matches."""
    return f"substring({url}, 1, position({url}, '/', position({url}, '/') + 1))"


def _directory(url: str) -> str:
    bare = f"cutQueryStringAndFragment({url})"
    return f"substring({url}, 1, length({bare}) + 1 - position(reverse({bare}), '/'))"


def _place(url: str, folder: str) -> str:
    """The directory of what lies below a folder; what is of unusual form stands for itself."""
    return f"if(match({url}, {_quoted(folder)}), {_directory(url)}, {url})"


@dataclass(frozen=True)
class Folders:
    """The folders of a tree of pages, each known by its directories."""

    directories: Sequence[str]
    """Of pages below folders, in order of appearance: `host/folder/`, or URLs of unusual form."""

    @cached_property
    def in_order(self) -> Sequence[tuple[str, ...]]:
        """Each folder's path, at the place that is its number less one (reporting.rows.numbered)."""
        return folders_in_order(path_of_url(directory)[:-1] for directory in self.directories)

    def numbers(self) -> Mapping[str, int]:
        """Of the folders of the first level, by name."""
        return {path[0]: number for number, path in enumerate(self.in_order, 1) if len(path) == 1}

    def cuts_below(self, path: Sequence[str]) -> Mapping[str, Cut]:
        """All pages below a folder, by the name of the aggregate."""
        below = [one for one in self.directories if path_of_url(one)[:-1][: len(path)] == list(path)]
        cuts = {}
        for name in ("pages", *(f"pages_{part}" for part in PARTS)):
            of_goals = name.endswith("goals")
            place = _place("d.l0", FOLDER_PATH if of_goals else FOLDER_URL)
            places = [path_key(one) for one in below] if of_goals else below
            cuts[name] = Cut(where=f"{place} IN {{places:Array(String)}}", parameters={"places": places})
        return cuts


def folders_in_order(paths: Iterable[Sequence[str]]) -> list[tuple[str, ...]]:
    """Every folder, in order of appearance, parents first. `paths` in order of appearance; the same folder
    may come several times."""
    tree: dict[str, Any] = {}
    for path in paths:
        node = tree
        for name in path:
            node = node.setdefault(name, {})

    def below(node: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
        for name, inner in node.items():
            yield (*path, name)
            yield from below(inner, (*path, name))

    return list(below(tree, ()))


@dataclass(frozen=True)
class PageCuts:
    """`needed` first rows of a report in one cell, or all of them (EVERY_ROW)."""

    days: Days
    prefix: Prefix
    members: Members
    needed: int

    async def read(self) -> Mapping[str, Cut]:
        """By the name of the aggregate."""
        shown = None
        if self.needed != EVERY_ROW:
            # of rows in the same statement, which computes them once
            sql, parameters = self._shown_sql()
            shown = Cut(where=f"({sql})", parameters=parameters)
            if not self.days.reads_rows:
                keys = [str(key) for (key,) in await self.days.ask(sql, parameters)]
                shown = Cut(where="{shown:Array(String)}", parameters={"shown": keys})
        aggregates = (self.prefix, *(f"{self.prefix}_{part}" for part in PARTS))
        return {name: self._cut(name, shown) for name in aggregates}

    def _members(self, label: str, *, paths: bool = False) -> tuple[str, dict[str, object]]:
        """Whether a label is of a page that the report lists."""
        if self.members == "all":
            return "1", {}
        suffix, metric = SORTED_BY[self.members]
        days, parameters = self.days.sql(AGGREGATES[self.prefix + suffix], "listed", [metric])
        listed = _path("l0") if paths else "l0"
        return f"{label} IN (SELECT {listed} FROM ({days}) WHERE {metric} > 0)", parameters

    def _cut(self, name: str, shown: Cut | None) -> Cut:
        """`shown`: the keys that are read of pages of the first level, as what may follow IN."""
        of_goals = name.endswith("goals")
        label = "d.l0"
        listed, parameters = self._members(label, paths=of_goals and self.prefix == "pages")
        labels = tuple(f"d.l{at}" for at in range(len(AGGREGATES[name].labels)))
        folder, page = (FOLDER_PATH, PAGE_PATH) if of_goals else (FOLDER_URL, PAGE_URL)
        key, where = _key(label if of_goals else _path(label)), f"NOT match({label}, {_quoted(page)})"
        if self.prefix == "titles":
            key, where = _title_key(label), "0"
        if shown is not None:
            parameters |= shown.parameters
            listed = f"({where} OR {key} IN {shown.where}) AND {listed}"
        if self.prefix == "titles":
            return Cut(where=listed, parameters=parameters)
        return Cut(
            labels=(
                f"if(match({label}, {_quoted(folder)}), {_first_folder(label)}, {label})",
                *labels[1:],
            ),
            where=listed,
            parameters=parameters,
        )

    def _shown_sql(self) -> tuple[str, dict[str, object]]:
        """Keys of the pages that come first, with all that are equal to the last of them; and what is
        bound."""
        suffix, metric = SORTED_BY[self.members]
        days, parameters = self.days.sql(AGGREGATES[self.prefix + suffix], "ordered", [metric])
        key, where = _title_key("d.l0"), "1"
        if self.prefix == "pages":
            key, where = _key(_path("d.l0")), f"match(d.l0, {_quoted(PAGE_URL)})"
        sql = (
            f"SELECT {key} AS key FROM ({days}) AS d WHERE {where} GROUP BY key"
            f" HAVING sum(d.{metric}) > 0 ORDER BY sum(d.{metric}) DESC LIMIT {self.needed} WITH TIES"
        )
        return sql, parameters

    async def folders(self) -> Folders:
        """Those of the pages that the report lists."""
        if self.prefix == "titles":
            return Folders([])
        days, parameters = self.days.sql(AGGREGATES["pages"], metrics=[FIRST])
        listed, more = self._members("d.l0")
        # what a page's URL tells is looked at once, not for each day
        rows = await self.days.ask(
            f"SELECT {_place('d.l0', FOLDER_URL)} AS directory,"
            f" min((d.first, lowerUTF8(d.l0))) AS first"
            f" FROM (SELECT l0, min({FIRST}) AS first FROM ({days}) GROUP BY l0) AS d"
            f" WHERE NOT match(d.l0, {_quoted(PAGE_URL)}) AND {listed} GROUP BY directory ORDER BY first",
            {**parameters, **more},
        )
        return Folders([str(directory) for directory, _ in rows])


def cuts_of_named(prefix: Prefix, paths: Sequence[Sequence[str]]) -> Mapping[str, Cut]:
    """By the name of the aggregate: the pages at the end of one of `paths`, as they are shown, and some whose
    names hold those; nothing where all must be read."""
    shown = "decodeURLFormComponent(d.l0)"
    names = {re.split("[?#]", path[-1])[0].removeprefix("/").strip() for path in paths}
    # a folder's own page has no name in its URL; what is no UTF-8 is shown in part
    if len(names) > _MOST_NAMES or names & {"", "index", URL_UNKNOWN, TITLE_UNKNOWN}:
        return {}
    cut = Cut(
        where=f"multiSearchAny({shown}, {{names:Array(String)}}) OR NOT isValidUTF8({shown})",
        parameters={"names": sorted(names)},
    )
    return dict.fromkeys((prefix, *(f"{prefix}_{part}" for part in PARTS)), cut)
