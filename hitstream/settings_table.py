"""`hitstream settings`: every HITSTREAM_* variable with its value, default and meaning."""

import dataclasses
import importlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from schemas.settings import SettingsError, load_settings, variable_of

COMMANDS: Sequence[tuple[str, str]] = (
    ("up", "hitstream.settings:UpSettings"),
    ("ingest", "ingest.settings:IngestSettings"),
    ("processor", "processors.settings:ProcessorSettings"),
    ("database", "hitstream.settings:DatabaseSettings"),
    ("database", "sink.settings:SinkSettings"),
    ("database", "sink.settings:ClickHouseSettings"),
    ("database", "sink.settings:RollupSettings"),
    ("database", "reporting.sql_endpoint:SqlSettings"),
    ("reporting", "hitstream.settings:DatabaseSettings"),
    ("reporting", "sink.settings:SinkSettings"),
    ("reporting", "sink.settings:ClickHouseSettings"),
    ("reporting", "reporting.sql_endpoint:SqlSettings"),
    ("sink", "hitstream.settings:StageSettings"),
    ("sink", "sink.settings:SinkSettings"),
    ("sink", "sink.settings:ClickHouseSettings"),
    ("rollups", "hitstream.settings:StageSettings"),
    ("rollups", "sink.settings:ClickHouseSettings"),
    ("rollups", "sink.settings:RollupSettings"),
    ("topics", "stream.opening:LogSettings"),
    ("other commands", "hitstream.settings:ClientSettings"),
)
"""Command and its settings class, in the order in which they are listed."""


@dataclass(frozen=True)
class SettingLine:
    """One variable; texts are what a person would write in the environment."""

    variable: str
    value: str
    default: str
    meaning: str
    commands: tuple[str, ...]


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return "" if value is None else str(value)


def settings_class(place: str) -> type[Any]:
    """The class at `module:Name`."""
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name)  # type: ignore[no-any-return]


def setting_lines(environ: Mapping[str, str]) -> list[SettingLine]:
    """One line per variable, in order of first use; a variable of several commands is listed once.

    Raises SettingsError for a value that can't be used."""
    lines: dict[str, SettingLine] = {}
    for command, place in COMMANDS:
        cls = settings_class(place)
        loaded = load_settings(cls, environ)
        for field in dataclasses.fields(cls):
            variable = variable_of(field)
            if variable in lines:
                known = lines[variable]
                lines[variable] = dataclasses.replace(known, commands=(*known.commands, command))
                continue
            value = _text(getattr(loaded, field.name))
            if field.metadata.get("secret") and value:
                value = "(hidden)"
            lines[variable] = SettingLine(
                variable, value, _text(field.default), str(field.metadata.get("meaning", "")), (command,)
            )
    return list(lines.values())


def unknown_variables(lines: Sequence[SettingLine], environ: Mapping[str, str]) -> list[str]:
    """HITSTREAM_* variables that nothing reads: most often a typing error."""
    internal = {"HITSTREAM_SUPERVISED", "HITSTREAM_SHOW_TOKEN"}
    known = {line.variable for line in lines} | internal
    return sorted(name for name in environ if name.startswith("HITSTREAM_") and name not in known)


def markdown(lines: Sequence[SettingLine]) -> str:
    """The table of docs/settings.md, with defaults and without values."""
    rows = [
        f"| `{line.variable}` | {f'`{line.default}`' if line.default else 'empty'} | {line.meaning} |"
        f" {', '.join(line.commands)} |"
        for line in lines
    ]
    return "\n".join(["| variable | default | meaning | read by |", "| --- | --- | --- | --- |", *rows])


def print_settings(*, as_markdown: bool = False) -> int:
    """Print to the console; returns the exit status."""
    if as_markdown:
        print(markdown(setting_lines({})))
        return 0
    lines = setting_lines(os.environ)
    for line in lines:
        changed = "" if line.value == line.default else f"   (default: {line.default or 'empty'})"
        print(f"{line.variable}={line.value}{changed}\n    {line.meaning}")
    for name in unknown_variables(lines, os.environ):
        raise SettingsError(f"{name} is set but no setting has this name: see the list above")
    return 0
