"""The part of a page report that its first rows show, chosen in the database.

The rows of the first level are folders and pages. Of tens of thousands of pages the first ones are read.
A folder's row adds up all pages below it: they are read as one page, `host/folder/`. What a URL is, SQL tells
by its form; one of unusual form (blanks, nothing between slashes) is read as it is."""

# ruff: noqa: S608 - texts of queries are declarations of this repository, values are bound parameters

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from reporting.method import EVERY_ROW
from reporting.pages import TITLE_UNKNOWN, URL_UNKNOWN, path_of_url
from reporting.queries import Days
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
_OUTER_BLANKS = r"^[\s\p{Z}]+|[\s\p{Z}]+$"

# match() is cheap, what finds or replaces text by a pattern costs ten times as much: 30 and 220 ms for the
# 400,000 URLs of a month. So patterns only tell what a URL is, and positions of slashes take it apart.


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


@dataclass(frozen=True)
class PageCuts:
    """`needed` first rows of a report in one cell, or all of them (EVERY_ROW)."""

    days: Days
    prefix: Prefix
    members: Members
    needed: int

    async def read(self) -> Mapping[str, Cut]:
        """By the name of the aggregate."""
        shown = None if self.needed == EVERY_ROW else await self._shown()
        aggregates = (self.prefix, *(f"{self.prefix}_{part}" for part in PARTS))
        return {name: self._cut(name, shown) for name in aggregates}

    def _members(self, label: str, *, paths: bool = False) -> tuple[str, dict[str, object]]:
        """Whether a label is of a page that the report lists."""
        if self.members == "all":
            return "1", {}
        suffix, metric = SORTED_BY[self.members]
        days, parameters = self.days.sql(AGGREGATES[self.prefix + suffix], "listed")
        listed = _path("l0") if paths else "l0"
        return f"{label} IN (SELECT {listed} FROM ({days}) WHERE {metric} > 0)", parameters

    def _cut(self, name: str, shown: Sequence[str] | None) -> Cut:
        of_goals = name.endswith("goals")
        label = "d.l0"
        listed, parameters = self._members(label, paths=of_goals and self.prefix == "pages")
        labels = tuple(f"d.l{at}" for at in range(len(AGGREGATES[name].labels)))
        folder, page = (FOLDER_PATH, PAGE_PATH) if of_goals else (FOLDER_URL, PAGE_URL)
        key, where = _key(label if of_goals else _path(label)), f"NOT match({label}, {_quoted(page)})"
        if self.prefix == "titles":
            key, where = _title_key(label), "0"
        if shown is not None:
            parameters["shown"] = list(shown)
            listed = f"({where} OR {key} IN {{shown:Array(String)}}) AND {listed}"
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

    async def _shown(self) -> Sequence[str]:
        """Keys of the pages that come first, with all that are equal to the last of them."""
        suffix, metric = SORTED_BY[self.members]
        days, parameters = self.days.sql(AGGREGATES[self.prefix + suffix])
        key, where = _title_key("d.l0"), "1"
        if self.prefix == "pages":
            key, where = _key(_path("d.l0")), f"match(d.l0, {_quoted(PAGE_URL)})"
        rows = await self.days.request.database.rows(
            f"SELECT {key} AS key, sum(d.{metric}) AS amount FROM ({days}) AS d WHERE {where}"
            f" GROUP BY key HAVING amount > 0 ORDER BY amount DESC LIMIT {self.needed} WITH TIES",
            parameters,
        )
        return [str(key) for key, _ in rows]

    async def folder_numbers(self) -> Mapping[str, int]:
        """The number of each folder of the first level, as reporting.rows.numbered would give it."""
        if self.prefix == "titles":
            return {}
        days, parameters = self.days.sql(AGGREGATES["pages"])
        listed, more = self._members("d.l0")
        rows = await self.days.request.database.rows(
            f"SELECT if(match(d.l0, {_quoted(FOLDER_URL)}), {_directory('d.l0')}, d.l0) AS directory,"
            f" min((d.first_seen, lowerUTF8(d.l0))) AS first FROM ({days}) AS d"
            f" WHERE NOT match(d.l0, {_quoted(PAGE_URL)}) AND {listed} GROUP BY directory ORDER BY first",
            {**parameters, **more},
        )
        return numbers_of_folders(path_of_url(str(directory))[:-1] for directory, _ in rows)


def cuts_of_named(prefix: Prefix, paths: Sequence[Sequence[str]]) -> Mapping[str, Cut]:
    """By the name of the aggregate: the pages at the end of one of `paths`, as they are shown, and some whose
    names hold those; nothing where all must be read."""
    shown = "decodeURLFormComponent(d.l0)"
    names = [re.split("[?#]", path[-1])[0].removeprefix("/").strip() for path in paths]
    # a folder's own page has no name in its URL; what is no UTF-8 is shown in part
    if any(name in ("", "index", URL_UNKNOWN, TITLE_UNKNOWN) for name in names):
        return {}
    cut = Cut(
        where=f"multiSearchAny({shown}, {{names:Array(String)}}) OR NOT isValidUTF8({shown})",
        parameters={"names": names},
    )
    return dict.fromkeys((prefix, *(f"{prefix}_{part}" for part in PARTS)), cut)


def numbers_of_folders(paths: Iterable[Sequence[str]]) -> dict[str, int]:
    """First folders with their numbers: every folder has one, in order of appearance, parents first. `paths`
    in order of appearance; the same folder may come several times."""
    below: dict[str, set[tuple[str, ...]]] = {}
    for path in paths:
        if path:
            folders = below.setdefault(path[0], set())
            folders.update(tuple(path[:end]) for end in range(1, len(path) + 1))
    numbers: dict[str, int] = {}
    counted = 1
    for name, folders in below.items():
        numbers[name] = counted
        counted += len(folders)
    return numbers
