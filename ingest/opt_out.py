"""The page and the script by which visitors choose not to be counted.

`index.php?module=CoreAdminHome&action=optOut` is shown in a frame of a site; it sets the cookie
`matomo_ignore` of this instance's own address. `action=optOutJS` is a script that a site loads; it sets
`mtm_consent_removed` on the site itself, which tells the tracker there to send nothing more. Hits that come
with either cookie are only counted (schemas.outcomes.COUNTED_ONLY).
"""

import html
import json
import re
from collections.abc import Collection, Mapping

from aiohttp import hdrs, web

from schemas.config import Privacy

IGNORE_COOKIE = "matomo_ignore"
COOKIE_SECONDS = 30 * 365 * 86400

_COLOUR = re.compile(r"#?(?:[0-9a-fA-F]{3}|[0-9a-fA-F]{6})")
_SIZE = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,2})?(?:px|pt|em|rem|%)")
_FONT = re.compile(r"[A-Za-z0-9 ,'-]{1,60}")
_DIV = re.compile(r"[A-Za-z0-9_-]{1,60}")

_WORDS = {
    "en": {
        "title": "Your visit statistics",
        "counted": "Your visits to this website are counted in its statistics.",
        "ignored": "Your visits are not counted; the choice is kept in a cookie of this browser.",
        "asked": "Your browser asks not to be tracked, and your visits are not counted.",
        "stop": "Do not count my visits",
        "again": "Count my visits again",
    },
    "de": {
        "title": "Ihre Besuche in der Statistik",
        "counted": "Ihre Besuche auf dieser Website werden in ihrer Statistik gezählt.",
        "ignored": "Ihre Besuche werden nicht gezählt; die Wahl liegt in einem Cookie dieses Browsers.",
        "asked": "Ihr Browser bittet, nicht verfolgt zu werden; Ihre Besuche werden nicht gezählt.",
        "stop": "Meine Besuche nicht zählen",
        "again": "Meine Besuche wieder zählen",
    },
    "fr": {
        "title": "Vos visites dans les statistiques",
        "counted": "Vos visites sur ce site sont comptées dans ses statistiques.",
        "ignored": "Vos visites ne sont pas comptées ; ce choix est gardé dans un cookie de ce navigateur.",
        "asked": "Votre navigateur demande de ne pas être suivi ; vos visites ne sont pas comptées.",
        "stop": "Ne pas compter mes visites",
        "again": "Compter de nouveau mes visites",
    },
}  # fmt: skip


def is_opt_out(query: Mapping[str, str]) -> bool:
    """Whether a request of index.php asks for the page or the script."""
    return query.get("module") == "CoreAdminHome" and query.get("action") in ("optOut", "optOutJS")


def honoured_headers(privacy: Privacy) -> tuple[str, ...]:
    """The headers whose `1` keeps a hit from being counted."""
    return (
        *(("DNT", "X-Do-Not-Track") if privacy.honour_do_not_track else ()),
        *(("Sec-GPC",) if privacy.honour_global_privacy_control else ()),
    )


async def answer_opt_out(request: web.Request, *, honoured: Collection[str]) -> web.Response:
    """The page or the script; a POST of the page's own form changes the choice.

    `honoured`: the headers by which a browser asks not to be tracked and that the instance obeys."""
    words = _WORDS.get(request.query.get("language", "en")[:2].lower(), _WORDS["en"])
    if request.query.get("action") == "optOutJS":
        return web.Response(
            text=script(request.query, words),
            content_type="application/javascript",
            headers={"Cache-Control": "no-store"},
        )
    ignored = IGNORE_COOKIE in request.cookies
    changed: bool | None = None
    if request.method == "POST":
        if not _is_own_form(request):
            return web.Response(status=403, text="The choice can only be made on this page.\n")
        changed = (await request.post()).get("choice") == "stop"
        ignored = changed
    asked = any(request.headers.get(name, "")[:1] == "1" for name in honoured)
    response = web.Response(
        text=page(request.query, words, ignored=ignored, asked=asked),
        content_type="text/html",
        charset="utf-8",
        headers={
            "Cache-Control": "no-store",
            "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'",
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "same-origin",
        },
    )
    if changed is not None:
        secure = request.headers.get("X-Forwarded-Proto", request.scheme) == "https"
        # In a frame of another site only such a cookie is kept, and browsers take it over https only.
        rest = "Path=/; HttpOnly; " + ("SameSite=None; Secure" if secure else "SameSite=Lax")
        value = f"{IGNORE_COOKIE}=1; Max-Age={COOKIE_SECONDS}" if changed else f"{IGNORE_COOKIE}=; Max-Age=0"
        response.headers.add(hdrs.SET_COOKIE, f"{value}; {rest}")
    return response


def _is_own_form(request: web.Request) -> bool:
    """No other site may choose for a visitor."""
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site == "same-origin"
    origin = request.headers.get(hdrs.ORIGIN)
    host = request.headers.get("X-Forwarded-Host") or request.host
    return origin is None or origin.partition("://")[2] == host


def _style(query: Mapping[str, str]) -> str:
    """What a site may say of the page's looks; anything else is left out."""
    parts = []
    for name, rule, allowed in (
        ("fontColor", "color", _COLOUR), ("backgroundColor", "background", _COLOUR),
        ("fontSize", "font-size", _SIZE), ("fontFamily", "font-family", _FONT),
    ):  # fmt: skip
        value = query.get(name, "")
        if value and allowed.fullmatch(value):
            parts.append(f"{rule}: {'#' + value.lstrip('#') if allowed is _COLOUR else value}")
    return "; ".join(parts)


def page(query: Mapping[str, str], words: Mapping[str, str], *, ignored: bool, asked: bool) -> str:
    """HTML with one button."""
    said = words["asked"] if asked else words["ignored" if ignored else "counted"]
    button = ""
    if not asked:
        choice, label = ("count", words["again"]) if ignored else ("stop", words["stop"])
        button = (
            f'<form method="post"><button name="choice" value="{choice}">{html.escape(label)}</button></form>'
        )
    intro = "" if query.get("showIntro") == "0" else f"<h1>{html.escape(words['title'])}</h1>"
    return (
        '<!doctype html><html><head><meta charset="utf-8"><meta name="robots" content="noindex">'
        f"<title>{html.escape(words['title'])}</title><style>body {{ font-family: sans-serif; margin: 0;"
        f" {html.escape(_style(query), quote=False)} }} h1 {{ font-size: 1.2em }}</style></head>"
        f"<body>{intro}<p>{html.escape(said)}</p>{button}</body></html>\n"
    )


def script(query: Mapping[str, str], words: Mapping[str, str]) -> str:
    """Fills the element `divId` of the site's own page with the choice, kept in the site's own cookie."""
    wanted = query.get("divId", "")
    div = wanted if _DIV.fullmatch(wanted) else "matomo-opt-out"
    shown = {name: words[name] for name in ("counted", "ignored", "stop", "again")}
    settings = json.dumps(
        {"div": div, "words": shown, "intro": words["title"] if query.get("showIntro") != "0" else ""}
    ).replace("<", "\\u003c")
    return _SCRIPT.replace("SETTINGS", settings)


_SCRIPT = """(function () {
  var settings = SETTINGS;
  var place = document.getElementById(settings.div);
  if (!place) { return; }
  function stopped() { return /(^|;\\s*)mtm_consent_removed=/.test(document.cookie); }
  function keep(stop) {
    var secure = location.protocol === 'https:' ? '; Secure' : '';
    document.cookie = stop
      ? 'mtm_consent_removed=' + Date.now() + '; Max-Age=946080000; Path=/; SameSite=Lax' + secure
      : 'mtm_consent_removed=; Max-Age=0; Path=/; SameSite=Lax' + secure;
    window._paq = window._paq || [];
    window._paq.push([stop ? 'optUserOut' : 'forgetUserOptOut']);
  }
  function show() {
    while (place.firstChild) { place.removeChild(place.firstChild); }
    if (settings.intro) {
      var title = document.createElement('h1');
      title.textContent = settings.intro;
      place.appendChild(title);
    }
    var said = document.createElement('p');
    said.textContent = stopped() ? settings.words.ignored : settings.words.counted;
    place.appendChild(said);
    var button = document.createElement('button');
    button.type = 'button';
    button.textContent = stopped() ? settings.words.again : settings.words.stop;
    button.onclick = function () { keep(!stopped()); show(); };
    place.appendChild(button);
  }
  show();
})();
"""
