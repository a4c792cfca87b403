"""A report of visits by one property of the visit: rows of an aggregate under labels of the report's own."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Protocol

from reporting.method import ApiRequest, Cell, Method, ReportShape
from reporting.queries import EMPTY, Labels, read_aggregates
from reporting.rows import Shown, regroup, visits_table
from reporting.table import Table


class InLanguage(Protocol):
    """How labels are shown in a language."""

    def __call__(self, labels: Labels, language: str) -> Shown: ...


Tables = Mapping[Cell, Table]
UNKNOWN = "Unknown"


def dimension(
    aggregate: str,
    label: Callable[[Labels], Labels | None],
    shown: Callable[[Labels], Shown],
    shape: ReportShape,
    finish: Callable[[Table], Table] | None = None,
    *,
    with_goals: bool = True,
    in_language: InLanguage | None = None,
) -> Method:
    """A report of an aggregate under labels of its own, with goals unless said otherwise. `in_language` shows
    labels to who reads another language than English."""

    async def cells(request: ApiRequest) -> Tables:
        names = [aggregate, f"{aggregate}_goals"] if with_goals else [aggregate]
        data = await read_aggregates(request, names)
        language = request.language
        words = shown
        if in_language is not None and language != "en":
            words = partial(in_language, language=language)
        result = {}
        for cell, groups in data.items():
            visits = regroup(groups[aggregate], label)

            def goal_label(labels: Labels) -> Labels | None:
                key = label(labels[:-1])
                return None if key is None else (*key, labels[-1])

            goals = regroup(groups.get(f"{aggregate}_goals", EMPTY), goal_label)
            table = visits_table(visits, goals, words, day=cell.period.kind == "day", texts=True)
            result[cell] = finish(table) if finish is not None and len(table) else table
        return result

    return Method(cells=cells, shape=shape)


def dimension_shape(name: str, dimension_name: str, **more: object) -> ReportShape:
    return ReportShape(**{"name": name, "dimension": dimension_name, "row_limit": "standard", **more})  # type: ignore[arg-type]


def first_label(labels: Labels) -> Labels:
    return (labels[0],)


def all_labels(labels: Labels) -> Labels:
    return labels
