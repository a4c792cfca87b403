"""Paths of icons as clients of Matomo know them; Hitstream itself ships none of the pictures."""

_BASE = "plugins/Morpheus/icons/dist"
_UNKNOWN = {
    "flags": "xx", "os": "UNK", "browsers": "UNK", "searchEngines": "xx", "socials": "xx", "brand": "unk",
    "devices": "unknown",
}  # fmt: skip


def icon(kind: str, name: str) -> str:
    """`kind` is a folder of the pack: flags, os, browsers, devices ..."""
    return f"{_BASE}/{kind}/{name or _UNKNOWN.get(kind, '')}.png"
