"""What is asked of processors about the past is carried out in few steps."""

from processors.history import RepairRequest, encode_request
from processors.service import OWNERS_AT_ONCE, first_step, joined
from stream.protocol import Batch, Message


def a_batch(topic: str, partition: int, *offsets: int) -> Batch:
    messages = [Message(offset, b"", b"%d" % offset) for offset in offsets]
    return Batch(topic, partition, messages, offsets[-1] + 1)


def requests(*late: bool) -> Batch:
    """About an owner each, on one partition."""
    messages = [
        Message(at, b"", encode_request(RepairRequest(1, at, late=is_late)))
        for at, is_late in enumerate(late)
    ]
    return Batch("repairs", 0, messages, len(messages))


def test_batches_of_one_partition_are_joined_in_their_order() -> None:
    found = joined(
        [
            a_batch("repairs", 0, 1, 2),
            a_batch("repairs", 1, 7),
            a_batch("history", 0, 3),
            a_batch("repairs", 0, 5),
        ]
    )
    assert [(one.topic, one.partition, [m.offset for m in one.messages]) for one in found] == [
        ("repairs", 0, [1, 2, 5]),
        ("repairs", 1, [7]),
        ("history", 0, [3]),
    ]
    assert [one.next_offset for one in found] == [6, 8, 4]


def test_joined_batches_are_still_carried_out_in_steps_of_some_owners() -> None:
    batch = joined([requests(*[False] * OWNERS_AT_ONCE), requests(False)])
    assert len(batch) == 1
    step, rest = first_step(batch[0])
    assert len(step.messages) == OWNERS_AT_ONCE
    assert rest is not None
    assert len(rest.messages) == 1


def test_a_step_ends_behind_as_many_owners_with_late_hits_as_it_may_have() -> None:
    batch = requests(True, False, True, False, True)
    step, rest = first_step(batch, 2)
    assert [one.offset for one in step.messages] == [0, 1, 2]
    assert step.next_offset == 3
    assert rest is not None
    assert [one.offset for one in rest.messages] == [3, 4]
    assert first_step(batch, 3) == (batch, None)
