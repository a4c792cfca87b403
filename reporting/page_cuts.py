"""The part of a page report that its first rows show, chosen in the database where archives don't tell them.

Of tens of thousands of pages the first ones are read. A folder's row adds up all pages below it: they are
read as one page, `host/folder/`."""

# ruff: noqa: S608 - texts of queries are declarations of this repository, values are bound parameters

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from reporting.method import EVERY_ROW
from reporting.pages import path_key, path_of_url
from reporting.queries import BoundSql, Days
from schemas.metrics import FIRST
from schemas.page_levels import (
    FOLDER_PATH,
    FOLDER_URL,
    FOLDERS,
    PAGE_PATH,
    PAGE_URL,
    SORTED_BY,
    TITLE_UNKNOWN,
    URL_UNKNOWN,
    Members,
    Prefix,
    level_label,
    names_of,
    page_key,
    path_of,
    place,
    quoted,
    row_key,
    title_key,
)
from schemas.report_queries import Cut
from schemas.reports import AGGREGATES

_MOST_NAMES = 255
"""That multiSearchAny looks for; the same page of many sites is one name."""


@dataclass(frozen=True)
class Folders:
    """The folders of a tree of pages, each known by its directories."""

    directories: Sequence[str]
    """Of pages below folders, in order of appearance: `host/folder/`, or URLs of unusual form."""
    listed: Collection[str]
    """Those of them that have pages which the report lists."""

    @cached_property
    def in_order(self) -> Sequence[tuple[str, ...]]:
        """Each listed folder's path, at the place that is its number less one (reporting.rows.numbered)."""
        listed = {
            path[:depth]
            for path in (tuple(path_of_url(one)[:-1]) for one in self.listed)
            for depth in range(1, len(path) + 1)
        }
        paths = folders_in_order(path_of_url(directory)[:-1] for directory in self.directories)
        return [path for path in paths if path in listed]

    def numbers(self) -> Mapping[str, int]:
        """Of the folders of the first level, by name."""
        return {path[0]: number for number, path in enumerate(self.in_order, 1) if len(path) == 1}

    def cuts_below(self, path: Sequence[str]) -> Mapping[str, Cut]:
        """All pages below a folder, by the name of the aggregate."""
        below = [one for one in self.directories if path_of_url(one)[:-1][: len(path)] == list(path)]
        cuts = {}
        for name in names_of("pages"):
            of_goals = name.endswith("goals")
            places = [path_key(one) for one in below] if of_goals else below
            cuts[name] = Cut(
                where=f"{place('d.l0', FOLDER_PATH if of_goals else FOLDER_URL)} IN {{places:Array(String)}}",
                parameters={"places": places},
            )
        return cuts


NO_FOLDERS = Folders((), ())


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
    """`needed` first rows of a report in one cell, or all of them (EVERY_ROW). Some it may not list."""

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
            shown = BoundSql(f"({sql})", parameters)
            if not self.days.reads_rows:
                keys = [str(key) for (key,) in await self.days.ask(sql, parameters)]
                shown = BoundSql("{shown:Array(String)}", {"shown": keys})
        return {name: self._cut(name, shown) for name in names_of(self.prefix)}

    def _cut(self, name: str, shown: BoundSql | None) -> Cut:
        """`shown`: the keys that are read of pages of the first level, as what may follow IN."""
        of_goals = name.endswith("goals")
        label = "d.l0"
        folder, page = (FOLDER_PATH, PAGE_PATH) if of_goals else (FOLDER_URL, PAGE_URL)
        labels = tuple[str, ...]()
        if self.prefix == "titles":
            key, others = title_key(label), "0"
        else:
            more = [f"d.l{at}" for at in range(1, len(AGGREGATES[name].labels))]
            labels = (level_label(label, folder), *more)
            key = page_key(label if of_goals else path_of(label))
            others = f"NOT match({label}, {quoted(page)})"
        if shown is None:
            return Cut(labels=labels)
        return Cut(labels=labels, where=f"{others} OR {key} IN {shown.sql}", parameters=shown.parameters)

    def _shown_sql(self) -> tuple[str, dict[str, object]]:
        """Keys of the pages that come first, with all that are equal to the last of them; and what is
        bound."""
        suffix, metric = SORTED_BY[self.members]
        days, parameters = self.days.sql(AGGREGATES[self.prefix + suffix], "ordered", [metric])
        key, where = title_key("d.l0"), "1"
        if self.prefix == "pages":
            # those of unusual form may share the row of a page
            key, where = row_key("d.l0"), f"NOT match(d.l0, {quoted(FOLDER_URL)})"
        sql = (
            f"SELECT {key} AS key FROM ({days}) AS d WHERE {where} GROUP BY key"
            f" HAVING sum(d.{metric}) > 0 ORDER BY sum(d.{metric}) DESC LIMIT {self.needed} WITH TIES"
        )
        return sql, parameters


def folders_sql(days: Days, members: Members) -> tuple[str, dict[str, object]]:
    """The directories of all pages below folders (schemas.page_levels.FOLDERS) as columns `directory`,
    `listed`, whether it has pages that a report lists, and `first`, by what they are ordered; and what is
    bound."""
    suffix, column = SORTED_BY[members]
    pages, parameters = days.sql(AGGREGATES["pages"], "of_pages", [FIRST])
    # what a page's URL tells is looked at once, not for each day
    listed = "1"
    if members != "all":
        those, more = days.sql(AGGREGATES["pages" + suffix], "listed", [column])
        parameters = {**parameters, **more}
        listed = f"d.l0 IN (SELECT l0 FROM ({those}) WHERE {column} > 0)"
    sql = (
        f"SELECT {place('d.l0', FOLDER_URL)} AS directory, max({listed}) AS listed,"
        f" min((d.first, lowerUTF8(d.l0))) AS first"
        f" FROM (SELECT l0, min({FIRST}) AS first FROM ({pages}) GROUP BY l0) AS d"
        f" WHERE NOT match(d.l0, {quoted(PAGE_URL)}) GROUP BY directory"
    )
    return sql, parameters


async def read_folders(days: Days, members: Members) -> Folders:
    """Those of all pages, and which of them have pages that a report lists."""
    sql, parameters = folders_sql(days, members)
    rows = await days.ask(f"SELECT directory, listed FROM ({sql}) ORDER BY first", parameters)
    return Folders([str(one) for one, _ in rows], {str(one) for one, found in rows if found})


def folders_beside(days: Days, members: Members) -> BoundSql:
    """The same for Days.read, as an archive has them (schemas.page_levels.FOLDERS)."""
    sql, parameters = folders_sql(days, members)
    seen = ", ".join("toFloat64(listed)" for _ in FOLDERS.metrics[1:])
    return BoundSql(
        f"SELECT [directory, first.2] AS names, [first.1, {seen}] AS merged FROM ({sql})", parameters
    )


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
    return dict.fromkeys(names_of(prefix), cut)
