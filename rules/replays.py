"""Under which configuration a hit is folded, once the past was replayed.

A hit is folded under the configuration that ingest had applied (Hit.config_offset). A replay is an event on
`config`: hits of its sites and times that were accepted before it are folded under the configuration at its
own offset from then on. The last replay that covers a hit counts; a hit accepted after it is not covered.

Whoever folds knows how far replays have been applied: `level`, the config offset before which they count.
"""

from collections.abc import Iterable, Mapping

from schemas.config import Replay


class Replays:
    """The replays before one level, by site."""

    def __init__(self, replays: Iterable[tuple[int, Replay]], level: int) -> None:
        """`replays`: (offset of the event, replay), in the order of the log."""
        by_site: dict[int, list[tuple[int, int, int]]] = {}
        for offset, replay in replays:
            if offset < level:
                for site_id in replay.site_ids:
                    by_site.setdefault(site_id, []).append((offset, replay.begin, replay.end))
        self._newest_first: Mapping[int, list[tuple[int, int, int]]] = {
            site_id: found[::-1] for site_id, found in by_site.items()
        }

    def config_offset(self, site_id: int, time: int, config_offset: int) -> int:
        """The offset of the configuration for a hit at unix second `time`, accepted under `config_offset`."""
        for offset, begin, end in self._newest_first.get(site_id, ()):
            if offset < config_offset:
                break
            if begin <= time < end:
                return offset
        return config_offset
