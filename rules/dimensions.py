"""Custom dimensions and custom variables of a hit (tracking semantics section 5)."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from rules.patterns import compile_linear, first_group
from rules.query import decode, number_text
from schemas.config import Dimension, Extraction

Params = Mapping[str, str]
Values = dict[int, str]
Variables = dict[int, tuple[str, str]]

DIMENSION_MAX_LENGTH = 250
CUSTOM_VARIABLE_MAX_LENGTH = 200
CUSTOM_VARIABLE_SLOTS = 5

_decode_json = msgspec.json.Decoder().decode


@dataclass(frozen=True, slots=True)
class DimensionReader:
    """An active dimension: the parameter that carries it, and where else its value may come from."""

    dimension_id: int
    parameter: str
    extract: tuple[Callable[[str, str], str], ...]
    """Functions of (page URL as sent, title), tried in order when the parameter is empty."""


@dataclass(frozen=True, eq=False)
class DimensionRules:
    visit: tuple[DimensionReader, ...]
    action: tuple[DimensionReader, ...]


def dimension_rules(dimensions: Iterable[Dimension]) -> DimensionRules:
    active = sorted((d for d in dimensions if d.active), key=lambda d: d.dimension_id)
    return DimensionRules(
        visit=tuple(_reader(d, ()) for d in active if d.scope == "visit"),
        action=tuple(_reader(d, d.extractions) for d in active if d.scope == "action"),
    )


def _reader(dimension: Dimension, extractions: tuple[Extraction, ...]) -> DimensionReader:
    compiled = (compile_extraction(rule, case_sensitive=dimension.case_sensitive) for rule in extractions)
    return DimensionReader(
        dimension_id=dimension.dimension_id,
        parameter=f"dimension{dimension.dimension_id}",
        extract=tuple(rule for rule in compiled if rule is not None),
    )


def compile_extraction(rule: Extraction, *, case_sensitive: bool) -> Callable[[str, str], str] | None:
    """The function of (page URL, title) that gives the first group's text, percent-decoded when it comes from
    the URL; None when the rule has no pattern, or one that is no linear-time regular expression."""
    if not rule.pattern:
        return None
    if rule.dimension == "urlparam":
        pattern = compile_linear(rf"[?&]{re.escape(rule.pattern)}=([^&#]*)", case_sensitive=case_sensitive)
    else:
        pattern = compile_linear(rule.pattern, case_sensitive=case_sensitive)
    if pattern is None or pattern.groups < 1:
        return None
    if rule.dimension == "action_name":
        return lambda _url, title: first_group(pattern, title)
    if rule.dimension in ("url", "urlparam"):
        return lambda url, _title: decode(first_group(pattern, url))
    return None


def extraction_problem(rule: Extraction, *, case_sensitive: bool = True) -> str | None:
    """Why a rule can never give a value, or None when it can."""
    if compile_extraction(rule, case_sensitive=case_sensitive) is not None:
        return None
    if rule.dimension not in ("url", "urlparam", "action_name"):
        return f"an extraction reads url, urlparam or action_name, not {rule.dimension!r}"
    return f"{rule.pattern!r} is no linear-time regular expression with a group for the value"


def visit_dimensions(params: Params, rules: DimensionRules) -> Values:
    return _read(rules.visit, params, "")


def action_dimensions(params: Params, raw_url: str, rules: DimensionRules) -> Values:
    return _read(rules.action, params, raw_url)


def _read(readers: tuple[DimensionReader, ...], params: Params, raw_url: str) -> Values:
    """Values by dimension_id. A value that was sent is kept even when it is empty (reports show it as not
    defined) and keeps the extraction rules from looking for another."""
    values: Values = {}
    for reader in readers:
        sent = params.get(reader.parameter)
        if sent is not None:
            values[reader.dimension_id] = clean_value(sent)
        elif reader.extract:
            title = params.get("action_name", "")
            value = next((v for rule in reader.extract if (v := clean_value(rule(raw_url, title)))), "")
            if value:
                values[reader.dimension_id] = value
    return values


def clean_value(text: str) -> str:
    return text.strip()[:DIMENSION_MAX_LENGTH].replace("\0", "") if text else ""


def custom_variables(text: str) -> Variables:
    """Slots 1 to 5 of a `cvar` or `_cvar` parameter: JSON of {"slot": [name, value]}; a value that is empty
    stays, since it clears the slot, a slot without a name is none."""
    if len(text) < 3:
        return {}
    try:
        decoded = _decode_json(text)
    except (msgspec.DecodeError, RecursionError, ValueError):
        return {}
    if not isinstance(decoded, dict):
        return {}
    variables: Variables = {}
    for slot, pair in decoded.items():
        if not (isinstance(slot, str) and slot.isdecimal() and slot.isascii() and len(slot) == 1):
            continue
        if not 1 <= int(slot) <= CUSTOM_VARIABLE_SLOTS:
            continue
        if not isinstance(pair, list) or len(pair) != 2:
            continue
        name, value = _variable_text(pair[0]), _variable_text(pair[1])
        if name:
            variables[int(slot)] = (name, value)
    return variables


def _variable_text(value: Any) -> str:
    if isinstance(value, bool):
        return "1" if value else ""
    if isinstance(value, int | float):
        value = number_text(value)
    return value.strip()[:CUSTOM_VARIABLE_MAX_LENGTH].replace("\0", "") if isinstance(value, str) else ""
