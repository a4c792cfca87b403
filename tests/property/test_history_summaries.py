"""A summary of the facts of topic `history` says all that they said, wherever it is written and they end."""

from hypothesis import given
from hypothesis import strategies as st

from hitstream.known_facts import KnownFacts
from schemas.history import (
    Erasure,
    ErasureDone,
    HistoryFact,
    OwnerRefold,
    ReplayAsked,
    ReplayLevel,
    Rewrite,
    decode_fact,
    encode_fact,
)

small = st.integers(0, 9)
facts = st.one_of(
    st.builds(ReplayLevel, small),
    st.builds(ReplayAsked, small),
    st.builds(OwnerRefold, small, small, small),
    st.builds(lambda number, at: Erasure(1, 1, [7, 8], [at, -1], number), small, small),
    st.builds(lambda number, at: Rewrite(1, 1, [at, at + 1], number), small, small),
    st.builds(ErasureDone, small),
)


def known(messages: list[tuple[int, bytes]], first: int = 0) -> KnownFacts:
    found = KnownFacts()
    for offset, value in messages:
        if offset >= first:
            found.take(decode_fact(value))
    return found


def said(found: KnownFacts, oldest: int) -> object:
    """All that a reader asks; which summary said it does not matter."""
    offsets = {offset for offset in found.offsets if offset >= oldest}
    return found.asked, offsets, found.newest, dict(found.unfinished)


@given(
    st.lists(st.tuples(facts, st.sampled_from(("", "", "", "sum up", "trim")))),
    st.integers(0, 5),
    st.booleans(),
)
def test_what_is_left_after_summaries_says_what_all_facts_said(
    steps: list[tuple[HistoryFact, str]], oldest: int, dies_between: bool
) -> None:
    whole = KnownFacts()
    topic: list[tuple[int, bytes]] = []
    end = first = 0

    def append(fact: HistoryFact) -> None:
        nonlocal end
        topic.append((end, encode_fact(fact)))
        end += 1

    for fact, then in steps:
        whole.take(fact)
        append(fact)
        now = known(topic, first)
        if then == "sum up" and not now.unfinished:
            summaries = now.summaries(end, oldest)
            for summary in summaries[:-1] if dies_between else summaries:
                append(summary)
        elif then == "trim":
            first = max(first, now.covers)
        assert said(known(topic, first), oldest) == said(whole, oldest)
