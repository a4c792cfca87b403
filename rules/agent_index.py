"""Finds the expressions of the device detector that can match a user agent, so that only those are tried.

The detector (PyPI `device-detector`) tries up to 5,000 expressions one after the other, 15 ms for an agent.
RE2 tells in one pass which of them match: about 0.1 ms. The detector's own classes then run over those few in
their own order, so that every rule stays the detector's.

RE2 and the detector's engine agree on printable ASCII. In other texts RE2 only finds the words that an
expression needs, and the detector's engine tries those expressions. Look-arounds, which RE2 doesn't know, are
dropped for it, which can only make an expression match more.
"""

import re
import sys
import threading
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from functools import cache, lru_cache
from importlib import metadata
from types import FunctionType
from typing import Any, NamedTuple, Self

import re2
from device_detector.device_detector import OS, Bot, DeviceDetector
from device_detector.lazy_regex import RegexLazy
from device_detector.parser.client import BaseClientParser
from device_detector.parser.device import BaseDeviceParser
from device_detector.parser.device.television import HbbTv
from device_detector.parser.key_value_pairs import key_value_pairs
from device_detector.parser.parser import Parser
from device_detector.yaml_loader import normalized_regex_list, regex_list

Entry = dict[str, Any]

VERSION = metadata.version("device-detector") + "/" + metadata.version("google-re2")
"""Answers of the detector may change with it: the key of stored answers."""

Place = tuple[str, int]
"""A parser's name and the number of an entry of its list."""

# Models are compiled in groups: RE2's filter refuses much larger ones, and many are never needed.
_MODELS_PER_GROUP = 2_000
_MEMORY_OF_WORDLESS = 64 << 20
"""Bytes; about 2 MiB are used."""
# The parser that also reads the model of client hints.
_BY_HINT = "Device"
_LOOK_AROUNDS = ("(?=", "(?!", "(?<=", "(?<!")


def without_look_arounds(pattern: str) -> str:
    """`pattern` without its look-ahead and look-behind groups: it matches wherever `pattern` matches."""
    kept: list[str] = []
    dropped_depth = 0
    in_class = False
    place = 0
    while place < len(pattern):
        char = pattern[place]
        step = 2 if char == "\\" else 1
        if in_class:
            in_class = char != "]" or step == 2
        elif char == "[":
            in_class = True
            # A bracket first in a class stands for itself.
            for first in ("[^]", "[]"):
                if pattern.startswith(first, place):
                    step = len(first)
                    break
        elif char == "(" and (dropped_depth or pattern.startswith(_LOOK_AROUNDS, place)):
            dropped_depth += 1
        elif char == ")" and dropped_depth:
            dropped_depth -= 1
            place += 1
            continue
        if not dropped_depth:
            kept.append(pattern[place : place + step])
        place += step
    return "".join(kept)


def is_plain(text: str) -> bool:
    """Printable ASCII: what RE2 and the detector's engine read alike."""
    return text.isascii() and text.isprintable()


def plain_form(text: str) -> str:
    """`text` with the digits and spaces of other scripts as ASCII ones: no required word gets lost."""
    return "".join(
        char if char.isascii() else " " if char.isspace() else str(unicodedata.decimal(char, char))
        for char in text
    )


def _pattern(expression: Any) -> str:
    """The text of a lazily compiled expression; asking it directly would look into the compiled one."""
    return str(object.__getattribute__(expression, "pattern"))


class _Found:
    """A match as the detector reads it from its lists; the matching text is looked for when asked."""

    __slots__ = ("_text", "re")

    def __init__(self, expression: "Expression", text: str) -> None:
        self.re = expression
        self._text = text

    def captures(self) -> list[str]:
        return [self.re.first(self._text)]


_GROUP = re.compile(r"\\g<(\d+)>")


class Expression:
    """One of the detector's expressions, answered by RE2 instead of the detector's engine, which takes
    milliseconds to compile some of them."""

    __slots__ = ("_original", "_re2")

    def __init__(self, compiled: Any, original: Any) -> None:
        self._re2 = compiled
        self._original = original

    def search(self, text: str) -> _Found | None:
        return None if self._re2.search(text.encode()) is None else _Found(self, text)

    def first(self, text: str) -> str:
        start, end = self._re2.search(text.encode()).span()
        return text[start:end]

    def sub(self, template: str, text: str) -> str:
        """`text` with each match replaced by the template, whose only marks are \\g<number>."""
        parts = _GROUP.split(template)
        numbers = [int(part) for part in parts[1::2]]
        if any("\\" in part for part in parts[::2]) or any(number > self._re2.groups for number in numbers):
            return str(self._original.sub(template, text))
        made: list[str] = []
        end = 0
        for found in self._re2.finditer(text):
            made.append(text[end : found.start()])
            for place, part in enumerate(parts):
                made.append((found.group(int(part)) or "") if place % 2 else part)
            end = found.end()
        return "".join(made) + text[end:]


class Fragment:
    """A fixed expression of the detector's modules.

    The pass over an agent's text also tells which of them can match; RE2 searches for those where both
    engines read alike."""

    __slots__ = ("_number", "_original", "_re2")

    def __init__(self, compiled: Any, original: Any, number: int) -> None:
        self._re2 = compiled
        self._original = original
        self._number = number

    def search(self, text: str) -> Any:
        held = getattr(_current, "narrowed", None)
        if held is not None and held.user_agent == text and self._number not in held.fragments:
            return None
        return (self._re2 if is_plain(text) else self._original).search(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._original, name)


_fragment_originals: list[Any] = []
"""The fixed expressions by number of their Fragment."""


@cache
def _fragments(module: str) -> dict[str, Fragment]:
    """The fixed expressions of a module of the detector by name, those that RE2 can take over."""
    found: dict[str, Fragment] = {}
    for name, value in vars(sys.modules[module]).items():
        if isinstance(value, RegexLazy):
            options = re2.Options()
            options.log_errors = False
            options.case_sensitive = not object.__getattribute__(value, "flags")
            try:
                compiled = re2.compile(_pattern(value), options)
            except re2.error:
                continue
            found[name] = Fragment(compiled, value, len(_fragment_originals))
            _fragment_originals.append(value)
    return found


def _quicker(module: str) -> dict[str, Any]:
    """What a module of the detector reads and what to read instead, by name."""
    quicker: dict[str, Any] = dict(_fragments(module))
    if vars(sys.modules[module]).get("key_value_pairs") is key_value_pairs:
        # Asked twice for an agent, by the browser's parser and by what follows.
        quicker["key_value_pairs"] = _held_pairs
    return quicker


_held_pairs = lru_cache(maxsize=1)(key_value_pairs)


def _rebound(function: FunctionType) -> FunctionType:
    """`function` reading what is quicker; its module stays as it is."""
    return FunctionType(
        function.__code__,
        {**function.__globals__, **_quicker(function.__module__)},
        function.__name__,
        function.__defaults__,
        function.__closure__,
    )


class Narrowed(NamedTuple):
    """What of the detector's expressions can match an agent."""

    user_agent: str
    model: str
    lists: Mapping[str, list[Entry]]
    """By parser, in the order of its list."""
    fragments: frozenset[int]


_current = threading.local()
"""`narrowed`: what the parsers of the running detection share."""


def _narrowed_for(user_agent: str, model: str) -> Narrowed:
    """The parsers of a detection ask one after the other for the same agent."""
    held: Narrowed | None = getattr(_current, "narrowed", None)
    if held is None or held.user_agent != user_agent or held.model != model:
        held = _current.narrowed = agent_index().narrowed(user_agent, model)
    return held


class PatternFilter:
    """Which of many expressions match a text, in order: a superset."""

    def __init__(self, originals: Sequence[Any]) -> None:
        options = re2.Options()
        options.case_sensitive = False
        options.log_errors = False
        self._filter = re2.Filter()
        self._places: list[int] = []
        self._always: list[int] = []
        self.expressions: list[Any] = list(originals)
        """Those that RE2 takes as they are; the detector's own for the others."""
        exact: list[tuple[int, int]] = []
        for place, original in enumerate(originals):
            pattern = _pattern(original)
            widened = without_look_arounds(pattern)
            try:
                index = self._filter.Add(widened, options)
            except re2.error:
                self._always.append(place)
                continue
            self._places.append(place)
            if widened == pattern:
                exact.append((index, place))
        if self._places:
            self._filter.Compile()
        self._compiled = [self._filter.re(index) for index in range(len(self._places))]
        for index, place in exact:
            self.expressions[place] = Expression(self._compiled[index], originals[place])
        # Expressions without a word that they need are tried on every text, all in one pass. Measured:
        # one after the other they were a third of a detection.
        self._wordless: list[int] = list(self._filter.Match(b"", True) or ()) if self._places else []
        self._is_wordless = frozenset(self._wordless)
        options.max_mem = _MEMORY_OF_WORDLESS
        self._wordless_pass = re2.Set.SearchSet(options)
        for index in self._wordless:
            self._wordless_pass.Add(self._compiled[index].pattern)
        self._wordless_pass.Compile()

    def matching(self, text: str, *, verified: bool = True) -> list[int]:
        """Unverified: those of which the text holds the required words; quicker when few of them count."""
        # Characters that can't be encoded stand for none in an expression.
        lowered = text.lower().encode("utf-8", "replace")
        found: Iterable[int] = (self._filter.Match(lowered, True) or ()) if self._places else ()
        if verified:
            found = [
                index
                for index in found
                if index not in self._is_wordless and self._compiled[index].search(lowered)
            ]
            if self._wordless:
                found.extend(self._wordless[number] for number in self._wordless_pass.Match(lowered) or ())
        return sorted([*(self._places[index] for index in found), *self._always])


class _ModelGroup:
    """The models of some consecutive entries."""

    def __init__(self, entries: Sequence[tuple[Place, Entry]]) -> None:
        self.places = [place for place, entry in entries for _ in entry["models"]]
        self.filter = PatternFilter([model["regex"] for _, entry in entries for model in entry["models"]])
        self.originals: list[Entry] = [model for _, entry in entries for model in entry["models"]]
        self.models: list[Entry] = [
            {**model, "regex": expression}
            for model, expression in zip(self.originals, self.filter.expressions, strict=True)
        ]


class AgentIndex:
    """The detector's lists of expressions by parser, narrowed to a text."""

    def __init__(self) -> None:
        parsers = (*DeviceDetector.CLIENT_PARSERS, *DeviceDetector.DEVICE_PARSERS, OS, Bot)
        # HbbTv reads its list in its own way; a new instance tells it.
        self.lists: dict[str, list[Entry]] = {
            parser.__name__: (
                HbbTv("", None).regex_list if parser is HbbTv else regex_list(tuple(parser.fixture_files))
            )
            for parser in parsers
        }
        self.normalizing: list[Entry] = normalized_regex_list("local/device/normalize.yml")
        self._normalizing_filter = PatternFilter([entry["regex"] for entry in self.normalizing])
        places = [(name, place) for name, entries in self.lists.items() for place in range(len(entries))]
        self._places: list[Place] = sorted(places)
        originals = [self.lists[name][place] for name, place in self._places]
        self._filter = PatternFilter([*(entry["regex"] for entry in originals), *_fragment_originals])
        self._entries: dict[Place, Entry] = {
            place: {**entry, "regex": expression}
            for place, entry, expression in zip(
                self._places, originals, self._filter.expressions[: len(originals)], strict=True
            )
        }
        self._groups: list[list[tuple[Place, Entry]]] = []
        self._group_of: dict[Place, int] = {}
        count = _MODELS_PER_GROUP
        for place, entry in zip(self._places, originals, strict=True):
            if models := entry.get("models"):
                if count + len(models) > _MODELS_PER_GROUP:
                    self._groups.append([])
                    count = 0
                count += len(models)
                self._group_of[place] = len(self._groups) - 1
                self._groups[-1].append((place, entry))
        self._compiled: dict[int, _ModelGroup] = {}
        self._lock = threading.Lock()

    def narrowed(self, user_agent: str, model: str) -> "Narrowed":
        """What of the lists can match the agent, or a client hint's model."""
        whole_agent, whole_model = user_agent, model
        plain = is_plain(user_agent) and is_plain(model)
        if not plain:
            user_agent, model = plain_form(user_agent), plain_form(model)
        found = self._filter.matching(user_agent, verified=plain)
        entries = len(self._places)
        matched = {self._places[index] for index in found if index < entries}
        fragments = frozenset(index - entries for index in found if index >= entries)
        models: dict[Place, dict[int, Entry]] = {place: {} for place in matched if place in self._group_of}
        for number in {self._group_of[place] for place in models}:
            group = self._group(number)
            for index in group.filter.matching(user_agent, verified=False):
                if (place := group.places[index]) in models:
                    models[place][index] = group.models[index] if plain else group.originals[index]
        if model:
            # A device is also told by a hint: by a model of an entry, or by an entry without models.
            for index in self._filter.matching(model, verified=plain):
                told = self._places[index] if index < entries else None
                if told and told[0] == _BY_HINT and told not in self._group_of:
                    matched.add(told)
            for number in range(len(self._groups)):
                group = self._group(number)
                for index in group.filter.matching(model, verified=plain):
                    if (place := group.places[index])[0] == _BY_HINT:
                        matched.add(place)
                        fitting = models.setdefault(place, {})
                        fitting[index] = group.models[index] if plain else group.originals[index]
        lists: dict[str, list[Entry]] = {name: [] for name in self.lists}
        for place in sorted(matched):
            name, position = place
            entry = self._entries[place] if plain else self.lists[name][position]
            if place in models:
                fitting = models[place]
                # An entry without models is another thing to the detector than one of which none fits.
                narrowed = [fitting[index] for index in sorted(fitting)] or entry["models"][:1]
                entry = {**entry, "models": narrowed}
            lists[name].append(entry)
        return Narrowed(whole_agent, whole_model, lists, fragments)

    def narrowed_normalizing(self, user_agent: str) -> list[Entry]:
        plain = is_plain(user_agent)
        text = user_agent if plain else plain_form(user_agent)
        return [self.normalizing[place] for place in self._normalizing_filter.matching(text, verified=plain)]

    def warm_up(self) -> None:
        """Compiles what is else compiled when first needed: about a second."""
        for number in range(len(self._groups)):
            self._group(number)

    def _group(self, number: int) -> _ModelGroup:
        if (group := self._compiled.get(number)) is None:
            with self._lock:
                if (group := self._compiled.get(number)) is None:
                    group = self._compiled[number] = _ModelGroup(self._groups[number])
        return group


@cache
def agent_index() -> AgentIndex:
    """The index of this process, built when first asked for (about half a second)."""
    return AgentIndex()


def _model(client_hints: Any) -> str:
    return (client_hints.model or "") if client_hints else ""


def _narrowing(parser: type[Any]) -> type[Any]:
    """`parser`, going only through the entries that can match. It keeps its name, by which the detector finds
    its word lists."""
    name = parser.__name__

    def narrowed_list(self: Any) -> list[Entry]:
        return _narrowed_for(self.user_agent, _model(self.client_hints)).lists[name]

    unread = {name: _leave_out for name in _UNREAD if hasattr(parser, name)}
    methods = {
        method.__name__: _rebound(method)
        for origin in parser.__mro__[::-1]
        if origin.__module__.startswith("device_detector.")
        for method in vars(origin).values()
        if isinstance(method, FunctionType)
        and _reads(method, _quicker(method.__module__))
        and getattr(parser, method.__name__) is method
    }
    return type(
        name, (parser,), {**methods, **unread, "__slots__": (), "regex_list": property(narrowed_list)}
    )


_UNREAD = ("check_secondary_client_data",)
"""Methods of parsers that add only what no report shows: a browser's second name takes a quarter of a
detection to find."""


def _leave_out(_parser: Any) -> None:
    """In the place of a method whose result nobody reads."""


def _reads(function: FunctionType, names: Iterable[str]) -> bool:
    return not frozenset(names).isdisjoint(function.__code__.co_names)


_NarrowOS = _narrowing(OS)
_NarrowBot = _narrowing(Bot)


def _needs_a_match(parser: type[Any]) -> bool:
    """Without a match in its list the parser says nothing: it leaves the detector's way of parsing alone."""
    return bool(parser.fixture_files) and all(
        getattr(parser, name) is getattr(base, name)
        for base, names in (
            (Parser, ("parse", "_parse", "extract_version")),
            (
                BaseClientParser if issubclass(parser, BaseClientParser) else BaseDeviceParser,
                ("set_details",),
            ),
        )
        for name in names
    )


class _Choice:
    """Parsers in the detector's order; which of them have to be asked depends on the agent."""

    def __init__(self, parsers: Iterable[type[Any]]) -> None:
        self.all = tuple(_narrowing(parser) for parser in parsers)
        self._skippable = frozenset(parser.__name__ for parser in parsers if _needs_a_match(parser))

    def worth_asking(self, lists: Mapping[str, list[Entry]]) -> tuple[type[Any], ...]:
        return tuple(
            parser for parser in self.all if parser.__name__ not in self._skippable or lists[parser.__name__]
        )


_CLIENTS = _Choice(DeviceDetector.CLIENT_PARSERS)
_DEVICES = _Choice(DeviceDetector.DEVICE_PARSERS)


class NarrowDetector(DeviceDetector):  # type: ignore[misc]  # the detector is not typed
    """The device detector with the same answers in a fraction of the time, but for `secondary_client`, which
    no report shows."""

    bot: Any
    os: Any

    def __new__(cls, user_agent: str, headers: dict[str, Any] | None = None) -> Self:  # noqa: ARG004
        # The detector's own would answer from a cache of its own class.
        return object.__new__(cls)

    def __init__(self, user_agent: str, headers: dict[str, Any] | None = None) -> None:
        super().__init__(user_agent, headers=headers, check_cache=False)
        self._normalized_regex_list = agent_index().narrowed_normalizing(self.user_agent)
        self._lists = _narrowed_for(self.user_agent, _model(self.client_hints)).lists
        self.CLIENT_PARSERS = _CLIENTS.worth_asking(self._lists)
        self.DEVICE_PARSERS = _DEVICES.worth_asking(self._lists)

    def extract_app_id(self) -> None:
        # Of a client that is told otherwise it is part of the second name.
        if not self.client:
            super().extract_app_id()

    def parse_bot(self) -> None:
        if not self.skip_bot_detection and not self.bot:
            self.bot = _NarrowBot(self.user_agent, self.client_hints)
            if self._lists["Bot"]:
                self.bot.parse()
            self.all_details["bot"] = self.bot.ua_data

    def parse_os(self) -> None:
        if not self.os:
            self.os = _NarrowOS(self.user_agent, self.client_hints).parse()
            self.all_details["os"] = self.os.ua_data
