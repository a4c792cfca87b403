"""Converts the public-domain lists of search engines, social networks, AI assistants and referrer spam
into the files of rules/lists.

The source folder holds SearchEngines.yml, Socials.yml, AIAssistants.yml and spammers.txt. The target's files:

- search_engines.json: name -> groups of {hosts, parameters, paths, hidden, charsets, backlink}. A host may
  hold `{}` for a country code and may go on with a path. `paths` are regular expressions whose first group
  is the keyword. `hidden` tells which addresses belong to a search whose keyword isn't told: `=x` is exactly
  that path and query, `~x` a regular expression.
- social_networks.json, ai_assistants.json: name -> hosts, an assistant's host may go on with a path.
- spam.json: sorted domains, lower case.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import yaml


class ListError(Exception):
    """A source file is missing or not of the expected form; the message names file and place."""


def _regex(text: str) -> str:
    """The expression inside `/.../`, without the escapes that only the delimiters needed."""
    return text[1:-1].replace("\\/", "/")


def _is_regex(text: str) -> bool:
    return len(text) > 2 and text[0] == text[-1] == "/"


def _group(name: str, group: Any) -> dict[str, Any]:
    if not isinstance(group, dict) or not group.get("urls"):
        raise ListError(f"search engine {name!r}: expected a mapping with urls, found {group!r}")
    parameters = [str(parameter) for parameter in group.get("params") or []]
    hidden = [str(pattern) for pattern in group.get("hiddenkeyword") or []]
    made = {
        "hosts": [str(host).lower() for host in group["urls"]],
        "parameters": [parameter for parameter in parameters if not _is_regex(parameter)],
        "paths": [_regex(parameter) for parameter in parameters if _is_regex(parameter)],
        "hidden": ["~" + _regex(pattern) if _is_regex(pattern) else "=" + pattern for pattern in hidden],
        "charsets": [str(charset).lower() for charset in group.get("charsets") or []],
        "backlink": str(group.get("backlink") or ""),
    }
    return {key: value for key, value in made.items() if value}


def convert_search_engines(source: Any, assistants: Iterable[str] = ()) -> dict[str, list[dict[str, Any]]]:
    """`assistants` are hosts of AI assistants, which lists of search engines also carry: those are left out
    here, so that an assistant is one only where the tracking rules know that type of referrer."""
    taken = set(assistants)
    engines: dict[str, list[dict[str, Any]]] = {}
    for name, groups in source.items():
        made = [_group(str(name), group) for group in groups]
        for group in made:
            group["hosts"] = [host for host in group["hosts"] if host.removeprefix("www.") not in taken]
        if made := [group for group in made if group["hosts"]]:
            engines[str(name)] = made
    return engines


def convert_hosts(source: Any) -> dict[str, list[str]]:
    return {unquote(str(name)): [str(host).lower() for host in hosts] for name, hosts in source.items()}


def convert_spam(text: str) -> list[str]:
    return sorted({line.strip().lower() for line in text.splitlines() if line.strip()})


def _load(path: Path) -> Any:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ListError(f"{path} is missing") from None
    except yaml.YAMLError as error:
        raise ListError(f"{path} is not YAML: {error}") from None
    if not isinstance(content, dict):
        raise ListError(f"{path}: expected a mapping of names, found {type(content).__name__}")
    return content


def refresh(source_dir: Path, target_dir: Path) -> dict[str, int]:
    """Writes the target's files and returns how many entries each got; raises ListError before it writes."""
    assistants = convert_hosts(_load(source_dir / "AIAssistants.yml"))
    spammers = source_dir / "spammers.txt"
    if not spammers.is_file():
        raise ListError(f"{spammers} is missing")
    lists: dict[str, dict[str, Any] | list[str]] = {
        "search_engines.json": convert_search_engines(
            _load(source_dir / "SearchEngines.yml"),
            (host for hosts in assistants.values() for host in hosts),
        ),
        "social_networks.json": convert_hosts(_load(source_dir / "Socials.yml")),
        "ai_assistants.json": assistants,
        "spam.json": convert_spam(spammers.read_text(encoding="utf-8")),
    }
    target_dir.mkdir(parents=True, exist_ok=True)
    for name, content in lists.items():
        # One entry per line keeps the difference of two refreshes readable.
        if isinstance(content, dict):
            lines = (f"{_compact(key)}:{_compact(value)}" for key, value in content.items())
            text = "{\n" + ",\n".join(lines) + "\n}"
        else:
            text = "[\n" + ",\n".join(map(_compact, content)) + "\n]"
        (target_dir / name).write_text(text + "\n", encoding="utf-8")
    return {name: len(content) for name, content in lists.items()}


def _compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
