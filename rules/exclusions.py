"""Which hits are left out of all reports, and why (tracking semantics section 9).

Ingest sees the request and the whole address, this module the configuration and the device; the reason that
comes first in the order of that section is the one that counts.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from rules.patterns import compile_delimited, matches
from rules.prepared import Agent
from rules.query import is_set, read_leading_number
from rules.spam import is_referrer_spam
from rules.urls import host_and_path
from schemas.config import Site, Tracking
from schemas.hit import Hit
from schemas.outcomes import Exclusion

Params = Mapping[str, str]

LONGEST_COMPARED_URL = 1024
"""Characters of a page URL that are compared with the site's: what is kept of it in a cache is bounded."""

ORDER = (
    Exclusion.BOT,
    Exclusion.BOT_IP,
    Exclusion.NOT_RECORDED,
    Exclusion.DO_NOT_TRACK,
    Exclusion.EXCLUDED_REQUEST,
    Exclusion.IGNORE_COOKIE,
    Exclusion.OPT_OUT,
    Exclusion.NO_CONSENT,
    Exclusion.EXCLUDED_IP,
    Exclusion.EXCLUDED_USER_AGENT,
    Exclusion.REFERRER_SPAM,
    Exclusion.UNKNOWN_URL,
    Exclusion.PREFETCH,
)
_RANK = {str(reason): rank for rank, reason in enumerate(ORDER)}
_LAST = len(ORDER)
_NOT_RECORDED = _RANK[Exclusion.NOT_RECORDED]
_EXCLUDED_REQUEST = _RANK[Exclusion.EXCLUDED_REQUEST]
_EXCLUDED_USER_AGENT = _RANK[Exclusion.EXCLUDED_USER_AGENT]
_REFERRER_SPAM = _RANK[Exclusion.REFERRER_SPAM]
_UNKNOWN_URL = _RANK[Exclusion.UNKNOWN_URL]


@dataclass(frozen=True, slots=True)
class RequestRule:
    """One condition of exclude_requests: a parameter compared with a value."""

    parameter: str
    operator: str
    value: str


@dataclass(frozen=True, eq=False)
class ExclusionRules:
    requests: tuple[RequestRule, ...]
    user_agents: tuple[Callable[[str], bool], ...]
    referrer_spam: bool
    known_urls: tuple[tuple[str, str], ...] | None
    """(host, path) that page URLs must begin with; None when every URL is welcome."""


def exclusion_rules(site: Site, tracking: Tracking) -> ExclusionRules:
    known = [host_and_path(url if "//" in url else "http://" + url) for url in site.urls]
    return ExclusionRules(
        requests=parse_request_rules(tracking.exclude_requests),
        user_agents=_user_agent_rules((*tracking.excluded_user_agents, *site.excluded_user_agents)),
        referrer_spam=tracking.exclude_referrer_spam,
        known_urls=tuple(known) if site.exclude_unknown_urls else None,
    )


def exclusion(
    hit: Hit, params: Params, raw_url: str, agent: Agent, rules: ExclusionRules
) -> Exclusion | None:
    """The first reason to leave the hit out, of those ingest found and those found here."""
    decided = _RANK.get(hit.exclusion, _LAST) if hit.exclusion else _LAST
    if agent.is_bot and not is_set(params, "bots"):
        return Exclusion.BOT
    if decided > _NOT_RECORDED and not is_set(params, "rec"):
        return Exclusion.NOT_RECORDED
    if rules.requests and decided > _EXCLUDED_REQUEST and _request_excluded(params, rules):
        return Exclusion.EXCLUDED_REQUEST
    if (
        rules.user_agents
        and decided > _EXCLUDED_USER_AGENT
        and any(excludes(hit.user_agent) for excludes in rules.user_agents)
    ):
        return Exclusion.EXCLUDED_USER_AGENT
    if rules.referrer_spam and decided > _REFERRER_SPAM:
        referrer = params.get("urlref")
        if referrer and is_referrer_spam(referrer):
            return Exclusion.REFERRER_SPAM
    if (
        rules.known_urls is not None
        and decided > _UNKNOWN_URL
        and not is_known_url(raw_url, rules.known_urls)
    ):
        return Exclusion.UNKNOWN_URL
    if not hit.exclusion:
        return None
    try:
        return Exclusion(hit.exclusion)
    except ValueError as unknown:
        raise ValueError(
            f"hit {hit.hit_id} is excluded for {hit.exclusion!r}, expected one of {list(Exclusion)}"
        ) from unknown


def is_known_url(raw_url: str, known: tuple[tuple[str, str], ...]) -> bool:
    """Whether the URL belongs to one of the site's: same host (`www.` and port apart), below its path."""
    host, path = host_and_path(raw_url[:LONGEST_COMPARED_URL])
    folder = path.rstrip("/") + "/"
    return host != "" and any(
        host == own_host and folder.startswith(own_path.rstrip("/") + "/") for own_host, own_path in known
    )


def _user_agent_rules(entries: Iterable[str]) -> tuple[Callable[[str], bool], ...]:
    """Each entry is a part of the user agent, in any case, or a regular expression written /like this/."""
    rules = (_user_agent_rule(entry.strip()) for entry in entries)
    return tuple(rule for rule in rules if rule is not None)


def _user_agent_rule(entry: str) -> Callable[[str], bool] | None:
    if not entry:
        return None
    pattern: Any = compile_delimited(entry)
    if pattern is not None:
        return partial(matches, pattern)
    lowered = entry.lower()
    return lambda agent: lowered in agent.lower()


_OPERATORS = ("==", "!=", "<=", ">=", "=@", "!@", "=^", "=$", "<", ">")


def parse_request_rules(text: str) -> tuple[RequestRule, ...]:
    """Conditions `parameter operator value`, separated by commas; any of them excludes a request.

    Operators: == != < <= > >= and =@ contains, !@ contains not, =^ begins with, =$ ends with.
    What is no condition is left out.
    """
    rules: list[RequestRule] = []
    for condition in text.split(","):
        places = [(condition.find(op), -len(op), op) for op in _OPERATORS if op in condition]
        if not places:
            continue
        place, _, operator = min(places)
        parameter = condition[:place].strip()
        if parameter:
            rules.append(RequestRule(parameter, operator, condition[place + len(operator) :].strip()))
    return tuple(rules)


def _request_excluded(params: Params, rules: ExclusionRules) -> bool:
    return any(_holds(rule, params) for rule in rules.requests)


def _holds(rule: RequestRule, params: Params) -> bool:
    """A parameter that the request does not have fulfils no condition."""
    actual = params.get(rule.parameter)
    if actual is None:
        return False
    match rule.operator:
        case "==":
            return actual == rule.value
        case "!=":
            return actual != rule.value
        case "=@":
            return rule.value.lower() in actual.lower()
        case "!@":
            return rule.value.lower() not in actual.lower()
        case "=^":
            return actual.lower().startswith(rule.value.lower())
        case "=$":
            return actual.lower().endswith(rule.value.lower())
        case "<":
            return read_leading_number(actual) < read_leading_number(rule.value)
        case "<=":
            return read_leading_number(actual) <= read_leading_number(rule.value)
        case ">":
            return read_leading_number(actual) > read_leading_number(rule.value)
        case _:
            return read_leading_number(actual) >= read_leading_number(rule.value)
