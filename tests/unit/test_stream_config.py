"""Following the configuration on a log, now and at any earlier offset."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.config import (
    Config,
    ConfigEvent,
    Dimension,
    Goal,
    Privacy,
    Site,
    StoredSegment,
    Tracking,
    encode_config_event,
)
from stream.config import ConfigFollower, ConfigWriter, apply_events
from stream.embedded import EmbeddedLog
from stream.protocol import LogError, LogInUseError

ids = st.integers(1, 3)
events = st.one_of(
    st.builds(lambda i, n: ConfigEvent(at=0, site=Site(site_id=i, name=n)), ids, st.text(max_size=2)),
    st.builds(lambda i, g: ConfigEvent(at=0, goal=Goal(site_id=i, goal_id=g, name="g")), ids, ids),
    st.builds(
        lambda i, d: ConfigEvent(
            at=0, dimension=Dimension(site_id=i, dimension_id=d, index=1, scope="visit", name="d")
        ),
        ids,
        ids,
    ),
    st.builds(lambda i: ConfigEvent(at=0, segment=StoredSegment(segment_id=i, name="s", definition="")), ids),
    st.builds(lambda n: ConfigEvent(at=0, tracking=Tracking(visit_standard_length=n)), ids),
    st.builds(lambda n: ConfigEvent(at=0, privacy=Privacy(ip_mask_bytes=n)), ids),
)


@pytest.fixture
def log(tmp_path):
    return EmbeddedLog(tmp_path / "log")


@pytest.fixture
def writer(log):
    writer = ConfigWriter(log)
    yield writer
    writer.close()


def named(number, name):
    return ConfigEvent(at=0, site=Site(site_id=number, name=name))


@settings(deadline=None)
@given(st.lists(events, max_size=12), st.integers(0, 12))
def test_applying_events_at_once_equals_one_by_one(history, cut):
    steps = [Config()]
    for event in history:
        steps.append(steps[-1].with_event(event))
    cut = min(cut, len(history))
    numbered = list(enumerate(history))
    assert apply_events(steps[cut], numbered[cut:], len(history)) == steps[-1]
    assert steps[cut] == apply_events(Config(), numbered[:cut], cut), "the earlier value is untouched"


def test_a_write_returns_the_configuration_that_contains_it(writer):
    assert writer.write(named(1, "first")).sites[1].name == "first"
    changed = writer.write(named(1, "second"))
    assert (changed.offset, changed.sites[1].name) == (2, "second")
    assert writer.current == changed


def test_a_follower_sees_what_is_written_after_it_was_opened(log, writer):
    follower = ConfigFollower(log)
    assert follower.current == Config()
    written = writer.write(named(1, "site"))
    assert follower.current == Config(), "only refresh changes it"
    assert follower.refresh() == written == follower.current
    follower.close()


def test_the_configuration_at_every_offset_is_found_in_any_order(log, writer):
    steps = [Config()] + [writer.write(named(n % 3 + 1, str(n))) for n in range(100)]
    follower = ConfigFollower(log)
    for offset in [*range(100, -1, -1), *range(0, 101, 7), 50, 0, 100]:
        assert follower.at(offset) == steps[offset]
    follower.close()


def test_an_offset_that_the_follower_has_not_seen_yet_is_read(log, writer):
    follower = ConfigFollower(log)
    first = writer.write(named(1, "a"))
    second = writer.write(named(1, "b"))
    assert follower.at(1) == first
    assert follower.at(2) == second
    follower.close()


def test_an_offset_that_never_comes_is_an_error_not_a_hang(log, writer):
    writer.write(named(1, "a"))
    follower = ConfigFollower(log)
    with pytest.raises(LogError, match="offset 9"):
        follower.at(9, timeout=0.05)
    follower.close()


def test_fields_of_a_newer_version_are_ignored(log):
    appender = log.appender("config")
    event = encode_config_event(named(1, "a"))
    appender.append([(0, b"", event[:-1] + b',"invented":{"x":1}}')])
    appender.close()
    follower = ConfigFollower(log)
    assert follower.current.sites[1].name == "a"
    follower.close()


def test_one_process_writes_the_configuration(log, writer):
    with pytest.raises(LogInUseError):
        ConfigWriter(log)
