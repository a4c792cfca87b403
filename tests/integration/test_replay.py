"""A replay folds hits of the past under today's configuration, and gives what that would have given."""

import random
from pathlib import Path

import msgspec
import pytest

from schemas.config import ConfigEvent, Dimension, Extraction, Goal, Replay, Site, Tracking
from schemas.history import Erasure, OwnerRefold, ReplayLevel
from schemas.hit import Hit, decode_hit
from schemas.outcomes import Exclusion, Outcome
from schemas.rows import Action, Conversion, Visit
from schemas.topics import partition_of
from stream.protocol import Log
from tests.builders import NOON, a_hit, config_events
from tests.pipeline import Pipeline

SITE = Site(site_id=1, name="Example", urls=("http://example.org/",))
GOAL = Goal(site_id=1, goal_id=1, name="Signed up", match_attribute="url", pattern="thanks", revenue=3.0)
DIMENSION = Dimension(
    site_id=1, dimension_id=1, index=1, scope="action", name="Part",
    extractions=(Extraction("url", "/([a-z]+)"),),
)  # fmt: skip
LATER = (
    ConfigEvent(at=1, goal=GOAL),
    ConfigEvent(at=1, dimension=DIMENSION),
    ConfigEvent(at=1, tracking=Tracking(campaign_names=("promo",), excluded_user_agents=("BadBot",))),
)
"""What is configured after the first hits came."""
OWNERS = (0xA1, 0xB2, 0xC3, 0xD4)
FOR_EVER = 1 << 40


def some_hits(seed: int = 1, count: int = 60) -> list[Hit]:
    source = random.Random(seed)
    hits = []
    for number in range(count):
        owner = source.choice(OWNERS)
        query = {"url": f"http://example.org/{source.choice(('thanks', 'shop', 'blog'))}/{number % 5}"}
        if source.random() < 0.2:
            query["url"] += f"?promo=spring{number % 2}"
        if source.random() < 0.2:
            query |= {"idgoal": "0", "revenue": "9", "ec_id": f"order-{number % 4}"}
        agent = {"user_agent": "BadBot/1.0"} if source.random() < 0.15 else {}
        at = NOON + source.randrange(0, 40_000)
        hits.append(a_hit(at, owner=owner, visitor_id=owner, **query, **agent))
    return hits


def replay(pipeline: Pipeline, begin: int = 0, end: int = FOR_EVER) -> int:
    """As hitstream.replay does it: the fact, then the level, then the owners. Returns the level."""
    level = pipeline.configure(ConfigEvent(at=2, replay=Replay(site_ids=(1,), begin=begin, end=end)))
    for partition in range(pipeline.log.partitions):
        pipeline.tell(partition, ReplayLevel(level))
    pipeline.process_with_history()
    for owner in OWNERS:
        if pipeline.stored_hits(owner):
            pipeline.tell(partition_of(owner, pipeline.log.partitions), OwnerRefold(1, owner, level))
    return level


def stopped_and_replayed(
    directory: Path, hits: list[Hit], later: tuple[ConfigEvent, ...] = LATER
) -> Pipeline:
    """What an instance has whose configuration was that of today from the start."""
    pipeline = Pipeline(directory, [*config_events(ecommerce=True), *LATER])
    pipeline.send(*hits)
    pipeline.process()
    return pipeline


def kafka_log(address: str, prefix: str, directory: Path) -> Log:
    from stream.kafka import KafkaLog, make_log  # an optional dependency
    from stream.kafka_client import Connection
    from stream.kafka_topics import TopicPlan

    connection = Connection(address, {})
    make_log(connection, prefix, TopicPlan(partitions=2))
    return KafkaLog(connection, directory, 2, prefix=prefix)


def test_on_kafka_a_replay_and_an_erasure_give_what_they_give_on_the_embedded_log(
    kafka: str, tmp_path: Path
) -> None:
    hits = some_hits(9, 30)
    log = kafka_log(kafka, "replay", tmp_path / "kafka")
    pipeline = Pipeline(tmp_path, config_events(ecommerce=True), log=log)
    pipeline.send(*hits[:20])
    pipeline.process()
    pipeline.configure(*LATER)
    pipeline.send(*hits[20:])
    replay(pipeline)
    pipeline.process_with_history()
    expected = stopped_and_replayed(tmp_path / "expected", hits)
    assert pipeline.rows(Conversion)
    assert pipeline.tables() == expected.tables()
    # Forgotten: one owner of the four.
    gone = pipeline.stored_hits(0xA1)
    numbers = [decode_hit(value).hit_id for _, value in gone]
    place = partition_of(0xA1, log.partitions)
    pipeline.tell(place, Erasure(1, 0xA1, numbers, [offset for offset, _ in gone], 1))
    assert pipeline.process_with_history() == 1
    without = stopped_and_replayed(tmp_path / "without", [hit for hit in hits if hit.owner != 0xA1])
    assert pipeline.tables() == without.tables()
    assert pipeline.worker.scrub(place)
    for one in (pipeline, expected, without):
        one.close()


@pytest.mark.parametrize("seed", range(4))
def test_a_replay_beside_running_hits_equals_a_fold_under_todays_configuration(
    tmp_path: Path, seed: int
) -> None:
    hits = some_hits(seed)
    pipeline = Pipeline(tmp_path / "replayed", config_events(ecommerce=True))
    pipeline.send(*hits[:30])
    pipeline.process()
    pipeline.configure(*LATER)
    # Accepted before the replay and processed after its level is known: they belong to the past as well.
    pipeline.send(*hits[30:40])
    level = replay(pipeline)
    pipeline.send(*hits[40:45])
    pipeline.config_offset = level
    pipeline.send(*hits[45:])
    pipeline.process_with_history(7)
    expected = stopped_and_replayed(tmp_path / "expected", hits)
    assert pipeline.rows(Conversion)
    assert not pipeline.dead()
    assert pipeline.tables() == expected.tables()
    consumed = [tally for tally in pipeline.tallies() if tally.topic == "hits"]
    assert sum(tally.count for tally in consumed) == pipeline.hits_consumed() == len(hits)
    expected.close()
    pipeline.close()


def test_a_late_hit_after_a_replay_refolds_the_owner_under_the_replayed_configuration(
    tmp_path: Path,
) -> None:
    early, late = a_hit(NOON, url="http://example.org/thanks"), a_hit(NOON + 60)
    pipeline = Pipeline(tmp_path / "log", config_events())
    pipeline.send(late, early, a_hit(NOON + 900))
    pipeline.process()
    pipeline.configure(*LATER)
    replay(pipeline)
    pipeline.process_with_history()
    assert len(pipeline.rows(Conversion)) == 1
    pipeline.send(a_hit(NOON - 60, url="http://example.org/thanks/again"))
    pipeline.process_with_history()
    visit = pipeline.rows(Visit)[0]
    assert (visit.first_time, visit.actions) == (NOON - 60, 4)
    # The late hit was accepted before the replay, so its goal counts too, and a visit converts once.
    assert [one.time for one in pipeline.rows(Conversion)] == [NOON - 60]
    assert all(action.dimensions for action in pipeline.rows(Action))
    pipeline.close()


def test_hits_outside_of_the_replayed_time_keep_their_configuration(tmp_path: Path) -> None:
    pipeline = Pipeline(tmp_path / "log", config_events())
    thanks = "http://example.org/thanks"
    pipeline.send(a_hit(NOON, url=thanks), a_hit(NOON + 9000, url=thanks), a_hit(NOON + 18000, url=thanks))
    pipeline.process()
    pipeline.configure(*LATER)
    replay(pipeline, begin=NOON + 9000, end=NOON + 18000)
    pipeline.process_with_history()
    assert [one.time for one in pipeline.rows(Conversion)] == [NOON + 9000]
    pipeline.close()


def test_excluded_hits_come_in_included_ones_go_out_and_the_tallies_say_so(tmp_path: Path) -> None:
    before = ConfigEvent(at=0, tracking=Tracking(excluded_user_agents=("Old",)))
    pipeline = Pipeline(tmp_path / "log", [*config_events(), before])
    pipeline.send(a_hit(NOON + 1, user_agent="New"), a_hit(NOON, user_agent="Old"), a_hit(NOON + 2))
    pipeline.process()
    assert len(pipeline.rows(Action)) == 2
    pipeline.configure(ConfigEvent(at=1, tracking=Tracking(excluded_user_agents=("New",))))
    replay(pipeline)
    pipeline.process_with_history()
    assert [action.time for action in pipeline.rows(Action)] == [NOON, NOON + 2]
    recounts = {(t.outcome, t.reason): t.count for t in pipeline.tallies() if t.topic == "history"}
    agent = Exclusion.EXCLUDED_USER_AGENT
    assert recounts == {(Outcome.STORED, f"{agent}>stored"): 1, (Outcome.EXCLUDED, f"stored>{agent}"): 1}
    # The hit that came in is in the journal now: a late hit needs no repair.
    pipeline.send(a_hit(NOON - 5))
    assert pipeline.process_with_history() == 0
    assert pipeline.rows(Visit)[0].first_time == NOON - 5
    pipeline.close()


@pytest.mark.parametrize("how", ["erased", "excluded"])
def test_the_next_order_with_an_id_counts_when_the_first_one_goes(tmp_path: Path, how: str) -> None:
    order = {"idgoal": "0", "revenue": "9", "ec_id": "one"}
    pipeline = Pipeline(tmp_path / "log", config_events(ecommerce=True))
    first = a_hit(NOON, owner=0xA1, visitor_id=0xA1, user_agent="BadBot", **order)
    second = a_hit(NOON + 60, owner=0xB2, visitor_id=0xB2, **order)
    third = a_hit(NOON + 120, owner=0xC3, visitor_id=0xC3, **order)
    pipeline.send(third, second, first)
    pipeline.process()
    assert [one.owner for one in pipeline.rows(Conversion)] == [0xA1]
    if how == "erased":
        place = partition_of(0xA1, pipeline.log.partitions)
        ((offset, _),) = pipeline.stored_hits(0xA1)
        pipeline.tell(place, Erasure(1, 0xA1, [first.hit_id], [offset], 1))
    else:
        pipeline.configure(*LATER)
        replay(pipeline)
    pipeline.process_with_history()
    assert [one.owner for one in pipeline.rows(Conversion)] == [0xB2]
    # It comes back.
    if how == "excluded":
        pipeline.configure(ConfigEvent(at=3, tracking=Tracking()))
        replay(pipeline)
        pipeline.process_with_history()
        assert [one.owner for one in pipeline.rows(Conversion)] == [0xA1]
    pipeline.close()


def test_asking_an_owner_twice_for_the_same_replay_refolds_it_once(tmp_path: Path) -> None:
    pipeline = Pipeline(tmp_path / "log", config_events())
    pipeline.send(a_hit(NOON))
    pipeline.process()
    level = replay(pipeline)
    assert pipeline.process_with_history() == 1
    pipeline.tell(partition_of(0xA1, pipeline.log.partitions), OwnerRefold(1, 0xA1, level))
    assert pipeline.process_with_history() == 0
    pipeline.close()


def test_a_replay_emits_only_the_rows_that_differ(tmp_path: Path) -> None:
    order = {"idgoal": "0", "revenue": "9", "ec_id": "one", "ec_items": '[["a","A","x",1,1]]'}
    cart = {"idgoal": "0", "revenue": "5", "ec_items": '[["b","B","x",1,1]]'}
    pipeline = Pipeline(tmp_path / "log", config_events(ecommerce=True))
    pipeline.send(a_hit(NOON), a_hit(NOON + 5, **cart), a_hit(NOON + 10, **order))
    pipeline.send(a_hit(NOON + 9000, url="http://example.org/thanks"), a_hit(NOON + 90_000))
    pipeline.process()

    def emitted() -> dict[str, int]:
        reader = pipeline.log.reader()
        topics = ("visits", "actions", "conversions", "conversion_items")
        found = {topic: sum(reader.end_offsets(topic).values()) for topic in topics}
        reader.close()
        return found

    before = emitted()
    level = replay(pipeline)
    assert pipeline.process_with_history() == 1
    assert emitted() == before
    pipeline.configure(LATER[0])
    level = replay(pipeline)
    assert pipeline.process_with_history() == 1
    assert emitted() == {**before, "visits": before["visits"] + 1, "conversions": before["conversions"] + 1}
    # Asked for all of it, an owner emits all of it.
    pipeline.tell(partition_of(0xA1, pipeline.log.partitions), OwnerRefold(1, 0xA1, level, whole=True))
    pipeline.process_with_history()
    assert emitted()["actions"] == before["actions"] + 3
    pipeline.close()


def test_of_an_owner_of_whom_everything_was_left_out_all_is_counted_anew(tmp_path: Path) -> None:
    before = ConfigEvent(at=0, tracking=Tracking(excluded_user_agents=("Old",)))
    pipeline = Pipeline(tmp_path / "log", [*config_events(), before])
    pipeline.send(a_hit(NOON, owner=OWNERS[1], visitor_id=OWNERS[1], user_agent="Old"))
    pipeline.process()
    pipeline.configure(ConfigEvent(at=1, tracking=Tracking()))
    level = replay(pipeline)
    # A login links a visit to the visitor before its own hits are folded anew.
    login = a_hit(NOON + 60, owner=OWNERS[0], visitor_id=OWNERS[1], user_id="alice", uid="alice")
    pipeline.send(msgspec.structs.replace(login, config_offset=level))
    pipeline.process_with_history()
    assert {action.owner for action in pipeline.rows(Action)} == set(OWNERS[:2])
    recounts = {(t.outcome, t.reason): t.count for t in pipeline.tallies() if t.topic == "history"}
    assert recounts == {(Outcome.STORED, f"{Exclusion.EXCLUDED_USER_AGENT}>stored"): 1}
    pipeline.close()
