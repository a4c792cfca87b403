"""Request parameters: PHP's way of reading a query (`a[0]=x`, `a[k]=y`), and typed access."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, overload
from urllib.parse import parse_qsl

from reporting.errors import missing_parameter

_NAME = re.compile(r"^([^\[]+)((?:\[[^\]]*\])*)")
_KEY = re.compile(r"\[([^\]]*)\]")
_MAX_DEPTH = 8


def nest(pairs: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Pairs as PHP nests them: `a[]` appends, `a[k]` sets a key, a later value replaces an earlier one.

    Nested values are dicts keyed by text, also for lists (`{"0": "x"}`)."""
    result: dict[str, Any] = {}
    for name, value in pairs:
        match = _NAME.match(name)
        if match is None:
            continue
        base = match[1].strip().replace(".", "_").replace(" ", "_")
        keys = _KEY.findall(match[2])[:_MAX_DEPTH]
        if not keys:
            result[base] = value
            continue
        place = result.get(base)
        if not isinstance(place, dict):
            place = result[base] = {}
        for position, key in enumerate(keys):
            if key == "":
                numbers = [int(held) for held in place if held.isdigit()]
                key = str(max(numbers) + 1 if numbers else 0)
            if position == len(keys) - 1:
                place[key] = value
            else:
                deeper = place.get(key)
                if not isinstance(deeper, dict):
                    deeper = place[key] = {}
                place = deeper
    return result


def parse_query(text: str) -> dict[str, Any]:
    """A query string or form body. Undecodable bytes become U+FFFD."""
    return nest(parse_qsl(text, keep_blank_values=True, errors="replace", max_num_fields=5000))


def _integer(text: str) -> int | None:
    match = re.fullmatch(r"\s*([+-]?\d{1,18})(?:\.\d*)?\s*", text)
    return int(match[1]) if match else None


@dataclass(frozen=True)
class Parameters:
    """Typed reading of nested parameters. A parameter of the wrong type counts as its default."""

    values: Mapping[str, Any]

    def __contains__(self, name: str) -> bool:
        return name in self.values

    def text(self, name: str, default: str = "") -> str:
        value = self.values.get(name)
        return value if isinstance(value, str) else default

    def required(self, name: str) -> str:
        """Missing and empty alike raise ApiError."""
        value = self.values.get(name)
        if not isinstance(value, str) or value == "":
            raise missing_parameter(name)
        return value

    @overload
    def integer(self, name: str) -> int | None: ...

    @overload
    def integer(self, name: str, default: int) -> int: ...

    def integer(self, name: str, default: int | None = None) -> int | None:
        number = _integer(self.text(name))
        return default if number is None else number

    def number(self, name: str, default: float | None = None) -> float | None:
        try:
            return float(self.text(name))
        except ValueError:
            return default

    def flag(self, name: str, default: bool = False) -> bool:
        """0, empty, `false` and `no` are False; any other given value is True."""
        value = self.values.get(name)
        if isinstance(value, bool):
            return value
        if not isinstance(value, str):
            return default
        return value.strip().lower() not in ("", "0", "false", "no", "off")

    def texts(self, name: str) -> tuple[str, ...]:
        """The values of `name[]=`, or one text alone; empty when missing."""
        value = self.values.get(name)
        if isinstance(value, Mapping):
            return tuple(item for item in value.values() if isinstance(item, str))
        return (value,) if isinstance(value, str) else ()

    def comma_list(self, name: str) -> tuple[str, ...]:
        """`a, b` or name[0]=a&name[1]=b; blanks trimmed, empty entries dropped."""
        return tuple(part.strip() for text in self.texts(name) for part in text.split(",") if part.strip())

    def nested(self, name: str) -> Mapping[str, Any]:
        """`name[k]=v` as a mapping; empty when missing."""
        value = self.values.get(name)
        return value if isinstance(value, Mapping) else {}

    def with_values(self, **changes: Any) -> "Parameters":
        """None removes."""
        merged = {**self.values, **changes}
        return Parameters({name: value for name, value in merged.items() if value is not None})
