"""Process settings: one frozen dataclass per command, filled from HITSTREAM_* and checked at start."""

import dataclasses
import os
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")


class SettingsError(Exception):
    """A setting has a value that can't be used; the message names the variable and what was expected."""


def setting(default: Any, meaning: str, *, secret: bool = False, minimum: float | None = None) -> Any:
    """A field whose variable is HITSTREAM_ and the field's name in upper case."""
    return dataclasses.field(
        default=default, metadata={"meaning": meaning, "secret": secret, "minimum": minimum}
    )


def variable_of(field: "dataclasses.Field[Any]") -> str:
    return "HITSTREAM_" + field.name.upper()


def _parse(variable: str, text: str, kind: Any) -> Any:
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        kind = next(part for part in typing.get_args(kind) if part is not type(None))
    try:
        if kind is bool:
            lowered = text.strip().lower()
            if lowered in ("1", "true", "yes", "on"):
                return True
            if lowered in ("0", "false", "no", "off", ""):
                return False
            raise ValueError("expected 1 or 0")
        if kind is int:
            return int(text)
        if kind is float:
            return float(text)
        if kind is Path:
            return Path(text).expanduser()
        if kind == tuple[str, ...]:
            return tuple(part.strip() for part in text.split(",") if part.strip())
        if typing.get_origin(kind) is typing.Literal:
            if text not in typing.get_args(kind):
                raise ValueError("expected one of " + ", ".join(map(str, typing.get_args(kind))))
            return text
        return text
    except ValueError as error:
        raise SettingsError(f"{variable}={text!r} is not valid: {error}") from None


def load_settings(cls: type[T], environ: Mapping[str, str] | None = None) -> T:
    """The settings of `cls` from the environment; raises SettingsError."""
    environ = os.environ if environ is None else environ
    hints = typing.get_type_hints(cls)
    values: dict[str, Any] = {}
    for field in dataclasses.fields(cls):  # type: ignore[arg-type]
        variable = variable_of(field)
        if variable not in environ:
            continue
        value = _parse(variable, environ[variable], hints[field.name])
        minimum = field.metadata.get("minimum")
        if minimum is not None and value < minimum:
            raise SettingsError(f"{variable}={value} is too small: expected at least {minimum}")
        values[field.name] = value
    return cls(**values)
