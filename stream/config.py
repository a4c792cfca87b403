"""Configuration on the log: follow topic `config`, look it up at an offset, write events to it."""

import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace

from schemas.config import (
    Annotation,
    Config,
    ConfigEvent,
    Dimension,
    Goal,
    ScheduledReport,
    Site,
    StoredSegment,
    decode_config_event,
    encode_config_event,
)
from schemas.topics import CONFIG
from stream.protocol import Log, LogError

READ_MESSAGES = 1000
REMEMBERED_CONFIGS = 64


def apply_events(config: Config, events: Sequence[tuple[int, ConfigEvent]], next_offset: int) -> Config:
    """The configuration before `next_offset`, from one before it and the events (offset, event) between.

    The same as `Config.with_event` for each, but copies every mapping once instead of once per event."""
    sites: dict[int, Site] = dict(config.sites)
    goals: dict[int, dict[int, Goal]] = {site: dict(of_site) for site, of_site in config.goals.items()}
    dimensions: dict[int, dict[int, Dimension]] = {
        site: dict(of_site) for site, of_site in config.dimensions.items()
    }
    segments: dict[int, StoredSegment] = dict(config.segments)
    annotations: dict[int, Annotation] = dict(config.annotations)
    scheduled: dict[int, ScheduledReport] = dict(config.scheduled_reports)
    tracking, privacy = config.tracking, config.privacy
    replays = list(config.replays)
    for offset, event in events:
        if event.site is not None:
            sites[event.site.site_id] = event.site
        if event.goal is not None:
            goals.setdefault(event.goal.site_id, {})[event.goal.goal_id] = event.goal
        if event.dimension is not None:
            of_site = dimensions.setdefault(event.dimension.site_id, {})
            of_site[event.dimension.dimension_id] = event.dimension
        if event.segment is not None:
            segments[event.segment.segment_id] = event.segment
        if event.annotation is not None:
            annotations[event.annotation.annotation_id] = event.annotation
        if event.scheduled_report is not None:
            scheduled[event.scheduled_report.report_id] = event.scheduled_report
        tracking = event.tracking or tracking
        privacy = event.privacy or privacy
        if event.replay is not None:
            replays.append((offset, event.replay))
    return replace(
        config,
        offset=next_offset,
        sites=sites,
        goals=goals,
        dimensions=dimensions,
        segments=segments,
        annotations=annotations,
        scheduled_reports=scheduled,
        tracking=tracking,
        privacy=privacy,
        replays=tuple(replays),
    )


class ConfigFollower:
    """Knows the configuration now and at every earlier offset. To be used by one thread at a time."""

    def __init__(self, log: Log) -> None:
        self._reader = log.reader()
        self._events: list[tuple[int, ConfigEvent]] = []
        self._current = Config()
        self._remembered: OrderedDict[int, Config] = OrderedDict()
        self.refresh()

    @property
    def current(self) -> Config:
        """As of the last `refresh`."""
        return self._current

    def refresh(self) -> Config:
        """Reads what is new; microseconds when nothing is. Raises LogError."""
        end = self._reader.end_offsets(CONFIG.name)[0]
        events: list[tuple[int, ConfigEvent]] = []
        following = self._current.offset
        while following < end:
            batch = self._reader.read(CONFIG.name, 0, following, READ_MESSAGES)
            if batch is None:
                following = end
                break
            events += [(message.offset, decode_config_event(message.value)) for message in batch.messages]
            following = batch.next_offset
        if following > self._current.offset:
            self._current = apply_events(self._current, events, following)
            self._events += events
        return self._current

    def at(self, offset: int, timeout: float = 30.0) -> Config:
        """The configuration before `offset` (the `config_offset` of a hit). Waits until the log has it, since
        another process may have seen it first; raises LogError when it doesn't come in `timeout` seconds."""
        if offset == self._current.offset:
            return self._current
        if offset > self._current.offset:
            self._wait_for(offset, timeout)
            if offset == self._current.offset:
                return self._current
        found = self._remembered.get(offset)
        if found is None:
            base = max(
                (c for c in self._remembered.values() if c.offset < offset), key=_offset, default=Config()
            )
            events = [event for event in self._events if base.offset <= event[0] < offset]
            found = self._remembered[offset] = apply_events(base, events, offset)
            if len(self._remembered) > REMEMBERED_CONFIGS:
                self._remembered.popitem(last=False)
        self._remembered.move_to_end(offset)
        return found

    def _wait_for(self, offset: int, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        pause = 0.001
        while self.refresh().offset < offset:
            if time.monotonic() >= deadline:
                raise LogError(
                    f"topic config ends at offset {self._current.offset}, but offset {offset} was expected"
                    f" and did not come within {timeout:g} s"
                )
            time.sleep(pause)
            pause = min(pause * 2, 0.05)

    def close(self) -> None:
        self._reader.close()


def _offset(config: Config) -> int:
    return config.offset


class ConfigWriter:
    """Appends events; there is one for a log, in the process that answers the API.

    Raises LogInUseError when another process has it. To be used by one thread at a time."""

    def __init__(self, log: Log) -> None:
        self._appender = log.appender(CONFIG.name)
        self._follower = ConfigFollower(log)

    @property
    def current(self) -> Config:
        """Complete: nobody else writes."""
        return self._follower.refresh()

    @property
    def known(self) -> Config:
        """As of the last call of the others; asks nobody."""
        return self._follower.current

    def write(self, event: ConfigEvent) -> Config:
        """Appends one event and returns the configuration right after it, read back from the log."""
        (offset,) = self._appender.append([(0, b"", encode_config_event(event))])
        return self._follower.at(offset + 1)

    def close(self) -> None:
        self._follower.close()
        self._appender.close()
