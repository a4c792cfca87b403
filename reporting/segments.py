"""Segments: parse the text of `segment=` and compile it to a condition on visit ids.

A segment selects visits. Conditions on actions, conversions or products select the visits that have such a
row; conditions of one kind that are joined by `;` must hold for the same row, and a negation holds when the
visit has no row that fits. Values are only ever bound parameters; the text of the query comes from
schemas.segments.
"""

# ruff: noqa: S608 - texts of queries are declarations of this repository, values are bound parameters

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Literal
from urllib.parse import unquote_plus

from reporting.errors import ApiError
from schemas.config import Config, StoredSegment
from schemas.segments import SEGMENTS, SegmentField, dimension_field

Operator = Literal["==", "!=", "=@", "!@", "=^", "=$", ">", "<", ">=", "<="]


@dataclass(frozen=True)
class Condition:
    name: str
    operator: Operator
    value: str


@dataclass(frozen=True)
class Never:
    """An empty operand (after a trailing separator): no visit fits."""


Operand = Condition | Never


@dataclass(frozen=True)
class Segment:
    """Clauses that must all hold; a clause holds when one of its operands does."""

    clauses: tuple[tuple[Operand, ...], ...] = ()


_CONDITION = re.compile(r"(.+?)(==|!=|>=|<=|=@|!@|=\^|=\$|>|<)(.*)", re.DOTALL)
_AND = re.compile(r"(?<!\\);")
_OR = re.compile(r"(?<!\\),")


def _parse_operand(text: str) -> Operand:
    if text == "":
        return Never()
    match = _CONDITION.fullmatch(text)
    if match is None or match[1].strip() == "":
        raise ApiError(f"The segment condition '{text}' is not valid.")
    operator = match[2]
    value = unquote_plus(match[3].replace("\\,", ",").replace("\\;", ";"))
    if value == "" and operator not in ("==", "!="):
        raise ApiError(
            f"The segment '{text}' has no value specified. You can leave this value empty only when you use"
            " the operators: != (is not) or == (is)"
        )
    return Condition(match[1].strip(), operator, value)  # type: ignore[arg-type]


def _parse(text: str) -> Segment:
    text = text.lstrip(";,")
    return Segment(
        tuple(tuple(_parse_operand(part) for part in _OR.split(clause)) for clause in _AND.split(text))
    )


def parse_segment(text: str) -> Segment:
    """`text` as HTTP decoded it. Clients often encode once more, so the decoded form is tried first.
    Raises ApiError."""
    if text.strip() == "":
        return Segment()
    try:
        return _parse(unquote_plus(text)) if "%" in text else _parse(text)
    except ApiError:
        return _parse(text)


NameResolver = Callable[[SegmentField, Condition], "tuple[str | int, ...] | None"]
"""Fields whose names are not stored (countryName ...): the stored values that fit the condition, by its
operator without negation; None when the field stores what it compares."""


@dataclass
class Binder:
    """Collects bound parameters under names that are unique in one query."""

    values: dict[str, object] = field(default_factory=dict)

    def bind(self, value: object, kind: str = "String") -> str:
        name = f"s{len(self.values)}"
        self.values[name] = value
        return f"{{{name}:{kind}}}"


@dataclass(frozen=True)
class Compiled:
    """`visit` holds for rows of `visits`; `ids` for any table: visit_id is among the segment's visits."""

    visit: str = ""
    parameters: Mapping[str, object] = field(default_factory=dict)

    @property
    def is_all(self) -> bool:
        return self.visit == ""

    @property
    def key(self) -> str:
        """Names the archives of the segment, empty for all visits. What it compiles to is part of it: after a
        change of the configuration, nothing is read that was computed under another meaning."""
        if self.is_all:
            return ""
        text = repr((self.visit, sorted(self.parameters.items())))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def ids(self, column: str = "visit_id") -> str:
        if self.is_all:
            return "1"
        return (
            f"{column} IN (SELECT visit_id FROM visits FINAL WHERE site_id = {{site:UInt32}}"
            f" AND date BETWEEN {{first:Date}} AND {{last:Date}} AND ({self.visit}))"
        )


_TABLES = {"action": "actions", "conversion": "conversions", "item": "conversion_items"}
_HEX16 = re.compile(r"[0-9a-fA-F]{16}")
_SCHEME = re.compile(r"^https?://(www\.)?", re.IGNORECASE)


def segment_field(name: str, site_id: int, config: Config) -> SegmentField | None:
    known = SEGMENTS.get(name)
    if known is not None:
        return known
    match = re.fullmatch(r"dimension(\d+)", name)
    if match:
        dimension = config.dimensions.get(site_id, {}).get(int(match[1]))
        if dimension is not None and dimension.active:
            return dimension_field(dimension.dimension_id, dimension.scope, dimension.name)
    return None


def _like(value: str) -> str:
    return value.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


_POSITIVE: Mapping[Operator, Operator] = {"!=": "==", "!@": "=@"}


def _text_condition(expression: str, operator: Operator, value: str, binder: Binder) -> str:
    """Positive operators only; without case."""
    low = value.lower()
    match operator:
        case "==":
            if low == "":
                return f"{expression} = ''"
            return f"lowerUTF8({expression}) = {binder.bind(low)}"
        case "=@":
            return f"lowerUTF8({expression}) LIKE {binder.bind('%' + _like(low) + '%')}"
        case "=^":
            return f"lowerUTF8({expression}) LIKE {binder.bind(_like(low) + '%')}"
        case "=$":
            return f"lowerUTF8({expression}) LIKE {binder.bind('%' + _like(low))}"
        case _:
            return f"lowerUTF8({expression}) {operator} {binder.bind(low)}"


def _number_condition(expression: str, operator: Operator, value: str, binder: Binder) -> str:
    if operator in ("==", "!=", ">", "<", ">=", "<="):
        try:
            number = float(value)
        except ValueError:
            # MySQL compares a text with a number as 0; a name or word fits nothing useful, so nothing fits
            return "0" if operator == "==" else "1"
        sign = "=" if operator == "==" else operator
        return f"{expression} {sign} {binder.bind(number, 'Float64')}"
    return _text_condition(f"toString({expression})", operator, value, binder)


def _check_hex(condition: Condition) -> str:
    if not _HEX16.fullmatch(condition.value):
        raise ApiError(f"Invalid visitor ID: '{condition.value}', expected 16 hexadecimal characters.")
    return str(int(condition.value, 16))


def _positive_condition(
    one: SegmentField, condition: Condition, binder: Binder, resolve: NameResolver
) -> str:
    """The condition with `!=` and `!@` taken as `==` and `=@`."""
    operator = _POSITIVE.get(condition.operator, condition.operator)
    value = condition.value
    resolved = resolve(one, Condition(one.name, operator, value))
    if resolved is not None:
        if not resolved:
            return "0"
        if one.kind == "goal_name":
            return f"hasAny({one.sql}, {binder.bind(list(resolved), 'Array(Int32)')})"
        return f"{one.sql} IN {binder.bind([str(item) for item in resolved], 'Array(String)')}"
    if one.values:
        if value == "" and operator == "==":
            return "0"
        stored = one.values.get(value.lower())
        if stored is None and operator == "==" and not one.column:
            return "0"
        if stored is None and operator == "==":
            raise ApiError(f"Invalid '{one.column}' segment value {value}")
        if stored is None:
            fitting = [item for name, item in one.values.items() if _fits(name, operator, value.lower())]
            return f"{one.sql} IN {binder.bind(fitting, 'Array(Int32)')}" if fitting else "0"
        return _number_condition(one.sql, operator, str(stored), binder)
    match one.kind:
        case "number":
            if value == "":
                return f"{one.sql} = 0"
            return _number_condition(one.sql, operator, value, binder)
        case "numbers":
            if value == "":
                return f"empty({one.sql})"
            if operator == "==" and re.fullmatch(r"-?\d{1,9}", value):
                return f"has({one.sql}, {binder.bind(int(value), 'Int32')})"
            return f"arrayExists(x -> {_number_condition('x', operator, value, binder)}, {one.sql})"
        case "texts":
            if value == "":
                return f"empty({one.sql})"
            return f"arrayExists(x -> {_text_condition('x', operator, value, binder)}, {one.sql})"
        case "visitor_id":
            return f"{one.sql} = {binder.bind(_check_hex(Condition(one.name, operator, value)), 'UInt64')}"
        case "url":
            if operator in ("==", "=^") or (operator == "=@" and _SCHEME.match(value)):
                value = _SCHEME.sub("", value)
            return _text_condition(one.sql, operator, value, binder)
        case "ip" if "-" in value or "/" in value or "*" in value:
            return _ip_condition(one.sql, value, binder)
        case _:
            return _text_condition(one.sql, operator, value, binder)


def _ip_condition(expression: str, value: str, binder: Binder) -> str:
    if "/" in value and re.fullmatch(r"[0-9a-fA-F.:]+/\d{1,3}", value):
        return f"isIPAddressInRange({expression}, {binder.bind(value)})"
    ends = [part.strip() for part in value.split("-")]
    if len(ends) == 2 and all(re.fullmatch(r"\d{1,3}(\.\d{1,3}){3}", end) for end in ends):
        low, high = (binder.bind(end) for end in ends)
        address = f"toIPv4OrDefault({expression})"
        return f"(isIPv4String({expression}) AND {address} BETWEEN toIPv4({low}) AND toIPv4({high}))"
    return "0"


def _fits(name: str, operator: Operator, value: str) -> bool:
    match operator:
        case "=@":
            return value in name
        case "=^":
            return name.startswith(value)
        case "=$":
            return name.endswith(value)
        case _:
            return name == value


def fits(name: str, operator: Operator, value: str) -> bool:
    """Whether a name fits a positive text condition, without case: for resolvers."""
    return _fits(name.lower(), operator, value.lower())


@dataclass(frozen=True)
class _Term:
    """A compiled operand: on rows of `visits`, or on rows of another table (scope)."""

    scope: str
    sql: str


_NUMBERED_VISITS = (
    "visit_id IN (SELECT visit_id FROM (SELECT visit_id, row_number() OVER (ORDER BY visit_id) AS number"
    " FROM visits FINAL) WHERE {})"
)
"""Visits by the number that reporting.numbering shows."""


def compile_segment(
    segment: Segment, *, site_id: int, config: Config, resolve: NameResolver, numbered: bool = False
) -> Compiled:
    """`numbered`: visitId is the number that a strict instance shows. Raises ApiError for unknown names and
    refused values."""
    binder = Binder()

    def term(operand: Operand) -> _Term:
        if isinstance(operand, Never):
            return _Term("visit", "0")
        one = segment_field(operand.name, site_id, config)
        if one is None:
            raise ApiError(f"Segment '{operand.name}' is not a supported segment.")
        negated = operand.operator in _POSITIVE
        if numbered and one.name == "visitId":
            by_number = _positive_condition(replace(one, sql="number"), operand, binder, resolve)
            sql = _NUMBERED_VISITS.format(by_number)
        else:
            sql = _positive_condition(one, operand, binder, resolve)
        if one.scope == "visit":
            return _Term("visit", f"NOT ({sql})" if negated else f"({sql})")
        rows = f"({one.where}) AND ({sql})" if one.where and one.where != "1" else f"({sql})"
        if negated and operand.value == "":
            has_value = f"({one.where or '1'}) AND NOT ({sql})"
            return _Term(one.scope, has_value)
        if negated:
            return _Term("visit", f"visit_id NOT IN ({_rows_of(one.scope, rows)})")
        return _Term(one.scope, rows)

    clauses = [[term(operand) for operand in clause] for clause in segment.clauses]
    conditions: list[str] = []
    same_row: dict[str, list[str]] = {}
    for clause in clauses:
        scopes = {one.scope for one in clause}
        if len(scopes) == 1 and scopes != {"visit"}:
            same_row.setdefault(clause[0].scope, []).append(" OR ".join(one.sql for one in clause))
            continue
        conditions.append(
            " OR ".join(
                one.sql if one.scope == "visit" else f"visit_id IN ({_rows_of(one.scope, one.sql)})"
                for one in clause
            )
        )
    for scope, parts in same_row.items():
        conditions.append(f"visit_id IN ({_rows_of(scope, ' AND '.join(f'({part})' for part in parts))})")
    return Compiled(" AND ".join(f"({condition})" for condition in conditions), binder.values)


def _rows_of(scope: str, condition: str) -> str:
    # A visit's rows lie on its own day or, with the midnight rule off, on the days before.
    return (
        f"SELECT visit_id FROM {_TABLES[scope]} FINAL WHERE site_id = {{site:UInt32}}"
        f" AND date BETWEEN addDays({{first:Date}}, -1) AND {{last:Date}} AND ({condition})"
    )


def date_parameters(site_id: int, first: date, last: date) -> dict[str, object]:
    """The parameters that every compiled segment and report query expects."""
    return {"site": site_id, "first": first, "last": last}


def archived_segments(config: Config, site_id: int) -> list[StoredSegment]:
    """The stored segments of a site that are to be archived."""
    return [
        one
        for one in config.segments.values()
        if one.auto_archive and not one.deleted and one.site_id in (0, site_id)
    ]
