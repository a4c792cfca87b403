"""Under which names archives hold what was computed."""

import hashlib
from collections.abc import Iterable, Mapping
from functools import lru_cache

from schemas.page_levels import DERIVED, PREFIXES, names_of
from schemas.report_queries import day_sql
from schemas.reports import Aggregate

_PARTS_OF_PAGES = frozenset(name for prefix in PREFIXES for name in names_of(prefix))


@lru_cache(maxsize=4096)
def report_key(aggregate: Aggregate) -> str:
    """Name and a hash of the declaration: what was computed under another declaration is not read."""
    digest = hashlib.sha256(day_sql(aggregate).encode()).hexdigest()[:10]
    return f"{aggregate.name}:{_COMPUTED_BEFORE_AS.get(digest, digest)}"


_COMPUTED_BEFORE_AS: Mapping[str, str] = {"06b9a00db9": "4a479e0d6a", "2fada78d82": "e0fcc92678"}
"""Hashes of declarations whose text changed and not their results: archives of the older text hold."""


def has_first_rows(aggregates: Iterable[Aggregate]) -> bool:
    """Whether all that the first rows of page reports are made of is archived."""
    return {one.name for one in aggregates} >= _PARTS_OF_PAGES


def keys_of_archive(aggregates: Iterable[Aggregate]) -> list[str]:
    """Of all that an archive of these aggregates holds."""
    held = list(aggregates)
    derived = DERIVED if has_first_rows(held) else ()
    return [report_key(one) for one in (*held, *derived)]
