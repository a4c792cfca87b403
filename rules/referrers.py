"""Where a visit came from (tracking semantics, section 6): campaign, own site, AI assistant, search engine,
social network or website."""

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple
from urllib.parse import quote_plus, unquote_plus, unquote_to_bytes

from rules.lists import read_list
from rules.prepared import (
    AI_ASSISTANT,
    CAMPAIGN,
    DIRECT,
    SEARCH_ENGINE,
    SOCIAL_NETWORK,
    WEBSITE,
    Referrer,
)
from schemas.config import Site, Tracking

MAX_TEXT = 255
MAX_URL = 1500


class Address(NamedTuple):
    """The parts of a referrer's or page's URL; host in lower case without user and port."""

    host: str
    path: str
    query: str
    fragment: str


_NOWHERE = Address("", "", "", "")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:")


def split_address(url: str) -> Address:
    """The parts of `url`; all of them empty when it isn't an absolute URL. Never raises."""
    before, slashes, rest = url.partition("//")
    if not slashes or (before and not _SCHEME.fullmatch(before)):
        return _NOWHERE
    rest, _, fragment = rest.partition("#")
    rest, _, query = rest.partition("?")
    authority, slash, path = rest.partition("/")
    host = authority.rpartition("@")[2]
    host = host.partition("]")[0] + "]" if host.startswith("[") else host.partition(":")[0]
    return Address(host.lower().rstrip("."), slash + path, query, fragment)


# --- Known hosts -----------------------------------------------------------------------------------


class SearchPattern(NamedTuple):
    """How the addresses of one group of a search engine's hosts carry the keyword."""

    name: str
    parameters: tuple[str, ...]
    paths: tuple[re.Pattern[str], ...]
    hidden_exact: frozenset[str]
    hidden: tuple[re.Pattern[str], ...]
    charsets: tuple[str, ...]


def _search_pattern(name: str, group: Mapping[str, Any]) -> SearchPattern:
    hidden: list[str] = group.get("hidden", [])
    return SearchPattern(
        name=name,
        parameters=tuple(group.get("parameters", ())),
        paths=tuple(re.compile(path) for path in group.get("paths", ())),
        hidden_exact=frozenset(pattern[1:] for pattern in hidden if pattern[0] == "="),
        hidden=tuple(re.compile(pattern[1:]) for pattern in hidden if pattern[0] == "~"),
        charsets=tuple(group.get("charsets", ())),
    )


_ENGINES: dict[str, list[dict[str, Any]]] = read_list("search_engines.json")
_SEARCH_HOSTS: dict[str, SearchPattern] = {}
for _name, _groups in _ENGINES.items():
    for _group in _groups:
        _pattern = _search_pattern(_name, _group)
        for _host in _group["hosts"]:
            _SEARCH_HOSTS.setdefault(_host, _pattern)

_SOCIALS: dict[str, list[str]] = read_list("social_networks.json")
_SOCIAL_HOSTS: dict[str, str] = {host: name for name, hosts in _SOCIALS.items() for host in hosts}

_ASSISTANTS: dict[str, list[str]] = read_list("ai_assistants.json")
_ASSISTANT_HOSTS: dict[str, list[tuple[str, str]]] = {}
"""Host -> (path, name), longest path first."""
for _name, _hosts in _ASSISTANTS.items():
    for _host in _hosts:
        _bare, _slash, _path = _host.partition("/")
        _ASSISTANT_HOSTS.setdefault(_bare, []).append((_slash + _path, _name))
for _places in _ASSISTANT_HOSTS.values():
    _places.sort(key=lambda place: -len(place[0]))

# A host's country shows as a two-letter label; the labels that may stand before it in a country's domain.
_SECOND_LEVEL = frozenset({"com", "org", "net", "co", "it", "edu"})
_GENERIC_FIRST = re.compile(r"w+[0-9]*|search")


def _is_country(label: str) -> bool:
    return len(label) == 2 and label.isascii() and label.isalpha()


def country_pattern(host: str) -> str:
    """`host` without www, search and m, its country as `{}`: www.google.co.uk -> google.{},
    de.bing.com -> {}.bing.com."""
    labels = host.split(".")
    if len(labels) > 2 and _GENERIC_FIRST.fullmatch(labels[0]):
        del labels[0]
    if len(labels) > 2:
        labels = [label for label in labels if label != "m"]
    if len(labels) > 1 and _is_country(labels[-1]):
        labels[-1] = "{}"
        if len(labels) > 2 and labels[-2] in _SECOND_LEVEL:
            del labels[-2]
    if len(labels) > 2 and _is_country(labels[0]):
        labels[0] = "{}"
    return ".".join(labels)


def _suffixes(host: str) -> Iterable[str]:
    """`host` and its parent domains."""
    while True:
        yield host
        _, dot, host = host.partition(".")
        if not dot:
            return


def social_network(host: str) -> str:
    """The name of the network that `host` or a parent domain of it belongs to, else empty."""
    for suffix in _suffixes(host):
        if name := _SOCIAL_HOSTS.get(suffix):
            return name
    return ""


def ai_assistant(host: str, path: str) -> str:
    """The name of the assistant at that address, else empty."""
    for suffix in _suffixes(host):
        for prefix, name in _ASSISTANT_HOSTS.get(suffix, ()):
            if not prefix or path == prefix or path.startswith((prefix + "/", prefix + "?")):
                return name
    return ""


# --- Search engines --------------------------------------------------------------------------------


def parse_query(text: str) -> dict[str, str]:
    """Raw values (still encoded) by decoded name; the last of several wins."""
    values: dict[str, str] = {}
    for part in text.split("&"):
        name, equals, value = part.partition("=")
        if equals:
            values[unquote_plus(name) if "%" in name or "+" in name else name] = value
    return values


def decode_keyword(text: str, charsets: tuple[str, ...]) -> str:
    """A percent-encoded keyword as trimmed lower-case text.

    Valid UTF-8 is UTF-8 whatever the engine declares, since engines moved to it; else the declared charsets
    are tried in order."""
    raw = unquote_to_bytes(text.replace("+", " "))
    for charset in ("utf-8", *charsets):
        try:
            return raw.decode(charset).strip().lower()
        except (UnicodeDecodeError, LookupError):
            continue
    return raw.decode("latin-1" if not charsets else "utf-8", "replace").strip().lower()


# Google's reports on kinds of results and its advanced form, which no list of parameters can express.
_GOOGLE_KINDS = {"isch": "Google Images", "vid": "Google Video", "shop": "Google Shopping"}
_GOOGLE_ADVANCED = (("as_q", "{}"), ("as_oq", "{}"), ("as_epq", '"{}"'), ("as_eq", "-{}"))


def _google_advanced(values: Mapping[str, str]) -> str:
    parts = []
    for name, form in _GOOGLE_ADVANCED:
        if word := decode_keyword(values.get(name, ""), ()):
            if name == "as_oq":
                word = " or ".join(word.split())
            parts.append(form.format(word))
    return " ".join(parts)


def _search_hosts(address: Address) -> SearchPattern | None:
    host, path = address.host, address.path
    pattern = country_pattern(host)
    return (
        _SEARCH_HOSTS.get(host + path)
        or _SEARCH_HOSTS.get(pattern + path)
        or _SEARCH_HOSTS.get(host)
        or _SEARCH_HOSTS.get(pattern)
    )


def search(url: str, address: Address) -> tuple[str, str] | None:
    """(engine, keyword) when `url` is a page of search results; the keyword is empty when it is hidden."""
    pattern = _search_hosts(address)
    if pattern is None:
        return None
    name = pattern.name
    # Some engines hold the newest keyword in the fragment.
    values = parse_query(address.query + "&" + address.fragment)
    keyword = ""
    if name.startswith("Google"):
        name = _GOOGLE_KINDS.get(values.get("tbm", ""), name)
        if name == "Google Images" and "prev" in values:
            values = parse_query(unquote_plus(values["prev"]).partition("?")[2]) | values
        if any(key.startswith("as_") for key in values):
            keyword = _google_advanced(values)
    if not keyword:
        keyword = _keyword(url, values, pattern)
    if not keyword and not _is_hidden(address, pattern):
        return None
    return name, keyword


def _keyword(url: str, values: Mapping[str, str], pattern: SearchPattern) -> str:
    for path in pattern.paths:
        if (found := path.search(url)) and (keyword := decode_keyword(found[1], pattern.charsets)):
            return keyword
    for parameter in pattern.parameters:
        if (raw := values.get(parameter)) and (keyword := decode_keyword(raw, pattern.charsets)):
            return keyword
    return ""


def _is_hidden(address: Address, pattern: SearchPattern) -> bool:
    place = address.path
    if address.query:
        place += "?" + address.query
    if address.fragment:
        place += "#" + address.fragment
    return place in pattern.hidden_exact or any(hidden.search(place) for hidden in pattern.hidden)


# --- Classification --------------------------------------------------------------------------------


class Origin(NamedTuple):
    """What the referrer's URL alone says."""

    type: int
    name: str
    keyword: str
    host: str


_UNKNOWN = Origin(DIRECT, "", "", "")


@lru_cache(maxsize=20_000)
def classify(url: str, ai_assistants: bool) -> Origin:
    """Search engine, social network, AI assistant (when asked for) or website; DIRECT when `url` is not an
    absolute URL. Sites and campaigns are not looked at."""
    address = split_address(url)
    host = address.host
    if not host:
        return _UNKNOWN
    if ai_assistants and (name := ai_assistant(host, address.path)):
        return Origin(AI_ASSISTANT, name[:MAX_TEXT], "", host)
    if found := search(url, address):
        return Origin(SEARCH_ENGINE, found[0][:MAX_TEXT], found[1][:MAX_TEXT], host)
    if name := social_network(host):
        return Origin(SOCIAL_NETWORK, name[:MAX_TEXT], "", host)
    return Origin(WEBSITE, host[:MAX_TEXT], "", host)


def canonical_host(host: str) -> str:
    """`host` without www: the site's addresses are compared so."""
    return host.removeprefix("www.")


@lru_cache(maxsize=1_000)
def _own_hosts(urls: tuple[str, ...]) -> frozenset[str]:
    """Site URLs may come without a scheme."""
    addresses = (split_address(url if "//" in url else "//" + url) for url in urls)
    return frozenset(canonical_host(address.host) for address in addresses if address.host)


class _Exclusion(NamedTuple):
    host: str
    subdomains: bool
    path: str


@lru_cache(maxsize=1_000)
def _exclusions(entries: tuple[str, ...]) -> tuple[_Exclusion, ...]:
    made = []
    for entry in entries:
        address = split_address(entry if "//" in entry else "//" + entry.strip())
        if host := address.host.lstrip("."):
            made.append(_Exclusion(host, address.host.startswith("."), address.path.rstrip("/")))
    return tuple(made)


def is_excluded_referrer(url: str, site: Site, tracking: Tracking) -> bool:
    """Whether an entry of the site's or the instance's list names the referrer: a host with an optional path;
    a host with a leading dot stands for its subdomains too."""
    if not site.excluded_referrers and not tracking.excluded_referrers:
        return False
    address = split_address(url)
    for entries in (site.excluded_referrers, tracking.excluded_referrers):
        for exclusion in _exclusions(entries):
            if canonical_host(address.host) != canonical_host(exclusion.host) and not (
                exclusion.subdomains and address.host.endswith("." + exclusion.host)
            ):
                continue
            if not exclusion.path or address.path.startswith(exclusion.path):
                return True
    return False


# --- Campaigns -------------------------------------------------------------------------------------


@lru_cache(maxsize=100)
def _any_of(names: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("[?&#/!](?:" + "|".join(map(re.escape, names)) + ")=" if names else r"(?!)")


def _first(values: Mapping[str, str], names: tuple[str, ...], *, encoded: bool) -> str:
    for name in names:
        if value := values.get(name, ""):
            if encoded and ("%" in value or "+" in value):
                value = unquote_plus(value)
            if value := value.strip():
                return value.lower()[:MAX_TEXT]
    return ""


def campaign(params: Mapping[str, str], page_url: str, tracking: Tracking) -> tuple[str, str] | None:
    """(name, keyword) from the page's query, then its fragment, then the tracking parameters; names and
    keywords are lower-cased, the first non-empty in the order of the settings wins."""
    names, keywords = tracking.campaign_names, tracking.campaign_keywords
    name = keyword = ""
    if ("?" in page_url or "#" in page_url) and _any_of(names).search(page_url):
        front, _, fragment = page_url.partition("#")
        # A fragment may be a whole address of its own: #/page?mtm_campaign=x
        for section in (front.partition("?")[2], fragment.rpartition("?")[2].lstrip("/!")):
            if section:
                values = parse_query(section)
                name = name or _first(values, names, encoded=True)
                keyword = keyword or _first(values, keywords, encoded=True)
    if not name and not params.keys().isdisjoint(names):
        name = _first(params, names, encoded=False)
        keyword = keyword or _first(params, keywords, encoded=False)
    return (name, keyword) if name else None


_IGNORE = re.compile(r"[?&#]ignore_refer(?:r)?er=1(?:[&#]|$)")


def ignores_referrer(page_url: str) -> bool:
    """The page's URL asks for a visit without referrer."""
    return "ignore_refer" in page_url and _IGNORE.search(page_url) is not None


# --- The referrer of a hit -------------------------------------------------------------------------


def is_own_site(origin_host: str, page_url: str, site: Site) -> bool:
    """The referrer's host is one of the site's or the page's own."""
    if canonical_host(origin_host) in _own_hosts(site.urls):
        return True
    # A host is a part of its URL's text, but for letters that are lowered by what stands beside them and for
    # an address in brackets that doesn't end: to look for it takes 0.15 us, all parts of the URL 0.9 us.
    if page_url.isascii() and origin_host[-1:] != "]" and origin_host not in page_url.lower():
        return False
    return origin_host == split_address(page_url).host


def visit_referrer(
    params: Mapping[str, str],
    page_url: str,
    referrer_url: str,
    site: Site,
    tracking: Tracking,
    decided: Origin | None = None,
) -> Referrer:
    """Where a visit that began with this hit came from. `params` are decoded; `page_url` is as tracked,
    with its campaign parameters; `decided` is what ingest read from the address before it shortened it."""
    if ignores_referrer(page_url):
        return Referrer()
    referrer_url = referrer_url.strip() if referrer_url else ""
    if referrer_url and is_excluded_referrer(referrer_url, site, tracking):
        referrer_url = ""
    origin = decided
    if origin is None:
        origin = classify(referrer_url, tracking.ai_assistants) if referrer_url else _UNKNOWN
    url = referrer_url[:MAX_URL] if origin.host else ""
    if found := campaign(params, page_url, tracking):
        name, keyword = found
        return Referrer(CAMPAIGN, name, keyword or origin.keyword or origin.host[:MAX_TEXT], url)
    if decided is not None:
        return Referrer(decided.type, decided.name, "", url)
    if not origin.host:
        return Referrer()
    if is_own_site(origin.host, page_url, site):
        return Referrer(DIRECT, "", "", url)
    return Referrer(origin.type, origin.name, origin.keyword, url)


def attribution_from_cookie(params: Mapping[str, str]) -> Referrer | None:
    """The campaign that the visitor's cookie remembers (_rcn, _rck): it wins over the visit's referrer."""
    name = params.get("_rcn", "")
    if not name or not (name := _decoded_again(name)):
        return None
    return Referrer(CAMPAIGN, name, _decoded_again(params.get("_rck", "")), "")


def _decoded_again(text: str) -> str:
    """Trackers encode the cookie's value once more."""
    return unquote_plus(text).strip().lower()[:MAX_TEXT]


def attribution_from_ref(
    params: Mapping[str, str], site: Site, tracking: Tracking, decided: Origin | None = None
) -> Referrer | None:
    """The referrer that the visitor's cookie remembers (_ref), unless it is the site itself."""
    url = params.get("_ref", "").strip()
    if decided is not None:
        return None if decided.type == DIRECT else Referrer(decided.type, decided.name, "", url[:MAX_URL])
    if not url or is_excluded_referrer(url, site, tracking):
        return None
    origin = classify(url, tracking.ai_assistants)
    if origin.type == DIRECT or canonical_host(origin.host) in _own_hosts(site.urls):
        return None
    return Referrer(origin.type, origin.name, origin.keyword, url[:MAX_URL])


# --- Referrers that privacy settings shorten --------------------------------------------------------


ORIGIN_PARAMETERS = {"urlref": "urlref_origin", "_ref": "_ref_origin"}
"""Parameters with a referrer -> the one that ingest adds to the query of a hit. What a client sends under
these names is only looked at where ingest replaced it."""


def origin_text(url: str, page_url: str, site: Site, tracking: Tracking, *, with_host: bool) -> str:
    """`type:name` of a referrer, for the query of a hit whose referrer is shortened: the type is that of the
    whole address, the keyword is lost. `with_host`: whether the name of a website, its host, may be kept."""
    url = url.strip()
    origin = _UNKNOWN if is_excluded_referrer(url, site, tracking) else classify(url, tracking.ai_assistants)
    if origin.type == DIRECT or is_own_site(origin.host, page_url, site):
        return f"{DIRECT}:"
    return f"{origin.type}:{origin.name if with_host or origin.type != WEBSITE else ''}"


def read_origin(text: str, url: str) -> Origin:
    """What origin_text wrote; `url` is the shortened address. Text of another form is DIRECT."""
    kind, _, name = text.partition(":")
    known = kind in _KINDS
    return Origin(
        _KINDS[kind] if known else DIRECT, name[:MAX_TEXT] if known else "", "", split_address(url).host
    )


_KINDS = {str(kind): kind for kind in (SEARCH_ENGINE, WEBSITE, SOCIAL_NETWORK, AI_ASSISTANT)}


# --- For reports -----------------------------------------------------------------------------------


def search_engine_url(name: str) -> str:
    """The main address of a search engine, such as http://google.com; empty when the name is unknown."""
    groups = _ENGINES.get(name)
    if not groups:
        return ""
    host: str = groups[0]["hosts"][0]
    return "http://" + host.replace("{}", "com")


def search_results_url(name: str, keyword: str) -> str:
    """The address of the engine's results for `keyword`; empty when it is not known how to ask for them."""
    groups = _ENGINES.get(name)
    if not groups or not keyword or not (form := groups[0].get("backlink", "")):
        return ""
    return search_engine_url(name) + "/" + str(form).replace("{k}", quote_plus(keyword))


def social_network_host(name: str) -> str:
    """The main host of a social network, such as facebook.com; empty when the name is unknown."""
    hosts = _SOCIALS.get(name)
    return hosts[0] if hosts else ""


def ai_assistant_host(name: str) -> str:
    """The main host of an AI assistant; empty when the name is unknown."""
    hosts = _ASSISTANTS.get(name)
    return hosts[0] if hosts else ""
