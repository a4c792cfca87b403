"""The first rows of page reports as archives hold them (schemas.page_levels)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from reporting.method import ApiRequest, Cell
from reporting.page_cuts import NO_FOLDERS, Folders
from reporting.pages import path_of_title, path_of_url
from reporting.queries import EMPTY, Groups, read_days
from schemas.metrics import FIRST
from schemas.page_levels import FIRST_OF, FOLDERS, MOST_FIRST, REST_OF, SORTED_BY, Members, Prefix, names_of
from schemas.reports import AGGREGATES


@dataclass(frozen=True)
class FirstRows:
    """The parts of a report: of its first rows at least, folders as one page each."""

    groups: Mapping[str, Groups]
    folders: Folders | None
    """None: `groups` are of all pages."""


async def read_first_rows(
    request: ApiRequest, cell: Cell, prefix: Prefix, names: Sequence[str], members: Members, needed: int
) -> FirstRows | None:
    """None where archives don't tell: rows or old archives answer some days, more rows are needed than are
    kept, or days must be added up of which each kept its own."""
    period, rest = cell.period, REST_OF[prefix]
    wanted = {name: FIRST_OF.get(name) or AGGREGATES[name] for name in names}
    read = [*wanted.values(), rest, *([FOLDERS] if prefix == "pages" else [])]
    days = await read_days(request, cell.site_id, [period], read)
    if days.reads_rows:
        return None
    one_archive = len({*days.archived.values()}) == 1
    if not one_archive:
        if prefix == "titles":
            # a hundred are few for titles, and to ask takes as long as to choose them
            return None
        found = await days.read([rest])
        if _left_out(found[rest.name].get(period, EMPTY)):
            return None
    found = await days.read(read)
    groups = {name: found[one.name].get(period, EMPTY) for name, one in wanted.items()}
    if _left_out(found[rest.name].get(period, EMPTY)):
        if not groups[prefix]:
            # few pages, none of which is kept apart
            whole = await days.read([AGGREGATES[name] for name in names])
            return FirstRows({name: whole[name].get(period, EMPTY) for name in names}, None)
        if needed > MOST_FIRST:
            return None
    if len(groups[prefix].rows) > needed:
        groups |= _only_needed(groups, prefix, members, needed)
    if prefix == "titles":
        return FirstRows(groups, NO_FOLDERS)
    return FirstRows(groups, folders_of(found[FOLDERS.name].get(period, EMPTY), members))


def _only_needed(
    groups: Mapping[str, Groups], prefix: Prefix, members: Members, needed: int
) -> dict[str, Groups]:
    """Without the pages that come first in other orders only."""
    suffix, column = SORTED_BY[members]
    label_of = {
        name: (path_of_url(name) if prefix == "pages" else path_of_title(name))[0]
        for (name,) in groups[prefix].rows
    }
    amounts: dict[str, float] = {}
    for (name,), metrics in groups.get(prefix + suffix, EMPTY).rows.items():
        if name in label_of:
            amounts[label_of[name]] = amounts.get(label_of[name], 0.0) + metrics[column]
    least = sorted(amounts.values(), reverse=True)[:needed][-1:] or [0.0]
    shown = {name for name, label in label_of.items() if amounts.get(label, 0.0) >= least[0]}
    return {
        name: Groups({labels: metrics for labels, metrics in groups[name].rows.items() if labels[0] in shown})
        for name in names_of(prefix)
        if name in groups and not name.endswith("goals")
    }


def _left_out(rest: Groups) -> float:
    return rest.rows[()]["left_out"] if rest else 0.0


def folders_of(groups: Groups, members: Members) -> Folders:
    """From what FOLDERS declares."""
    first: dict[str, tuple[float, str]] = {}
    for (directory, url), metrics in groups.rows.items():
        seen = (metrics[FIRST], url)
        first[directory] = min(first.get(directory, seen), seen)
    column = SORTED_BY[members][1]
    listed = {
        directory for (directory, _), metrics in groups.rows.items() if members == "all" or metrics[column]
    }
    return Folders(sorted(first, key=lambda directory: first[directory]), listed)
