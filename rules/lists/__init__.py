"""Lists of known referrers in our own form, made by `hitstream refresh-lists` from public-domain lists; and
codes of regions that were renumbered, from ISO 3166-2 as of 2018 and now."""

import json
from importlib import resources
from typing import Any

FILES = ("search_engines.json", "social_networks.json", "ai_assistants.json", "spam.json")


def read_list(name: str) -> Any:
    """The content of a list; the shapes of FILES are described in hitstream.refresh_lists."""
    return json.loads(resources.files(__name__).joinpath(name).read_text(encoding="utf-8"))
