"""Who a hit belongs to: one test per rule of tracking semantics section 1."""

from collections.abc import Callable
from itertools import count

import pytest

from ingest.identity import Claim, Identity, id_from_any_hex, visitor_id_from_hex, visitor_id_of_user
from schemas.hit import format_visitor_id

SITE = 1
NOON = 1_789_034_400
HOME, OFFICE = 0xF00D, 0xBEEF
A, B = 0xAAAAAAAAAAAAAAA1, 0xBBBBBBBBBBBBBBB2
ALICE, BOB = visitor_id_of_user("alice"), visitor_id_of_user("bob")


def an_identity(**changes: int) -> Identity:
    numbers = count(1000)
    values = {"window": 1800, "visit_length": 1800, "max_entries": 100_000} | changes
    return Identity(**values, random_id=lambda: next(numbers))


def by_id(
    identity: Identity, visitor_id: int, at: int, fingerprint: int = HOME, **more: bool
) -> tuple[int, int]:
    return identity.decide(SITE, NOON + at, visitor_id, Claim.COOKIE, fingerprint, "", **more)


def without_id(identity: Identity, at: int, fingerprint: int = HOME, **more: bool) -> tuple[int, int]:
    return identity.decide(SITE, NOON + at, 0, Claim.NONE, fingerprint, "", **more)


def as_user(identity: Identity, user: str, at: int, fingerprint: int = HOME) -> tuple[int, int]:
    return identity.decide(SITE, NOON + at, visitor_id_of_user(user), Claim.USER, fingerprint, user)


def forced(identity: Identity, visitor_id: int, at: int, fingerprint: int = HOME) -> tuple[int, int]:
    return identity.decide(SITE, NOON + at, visitor_id, Claim.FORCED, fingerprint, "")


def test_the_first_hit_of_an_id_is_owned_by_that_id() -> None:
    assert by_id(an_identity(), A, 0) == (A, A)


def test_an_id_is_found_whatever_its_fingerprint() -> None:
    identity = an_identity()
    by_id(identity, A, 0, HOME)
    assert by_id(identity, A, 300, OFFICE) == (A, A)


def test_another_id_with_an_active_fingerprint_joins_its_owner_and_is_shown() -> None:
    identity = an_identity()
    by_id(identity, A, 0)
    assert by_id(identity, B, 1799) == (A, B)


def test_another_id_after_the_window_is_an_owner_of_its_own() -> None:
    identity = an_identity()
    by_id(identity, A, 0)
    assert by_id(identity, B, 2400) == (B, B)


def test_two_ids_that_swap_fingerprints_stay_two_owners() -> None:
    identity = an_identity()
    by_id(identity, A, 0, HOME)
    by_id(identity, B, 60, OFFICE)
    assert by_id(identity, A, 120, OFFICE) == (A, A)
    assert by_id(identity, B, 180, HOME) == (B, B)


@pytest.mark.parametrize(("gap", "same"), [(1799, True), (1800, True), (1801, False)])
def test_a_hit_without_id_follows_its_fingerprint_for_exactly_the_window(gap: int, same: bool) -> None:
    identity = an_identity()
    first = without_id(identity, 0)
    assert (without_id(identity, gap) == first) is same


@pytest.mark.parametrize(("before", "same"), [(1800, True), (1801, False)])
def test_a_late_hit_without_id_joins_up_to_the_window_before(before: int, same: bool) -> None:
    identity = an_identity()
    first = without_id(identity, 0)
    assert (without_id(identity, -before) == first) is same


def test_a_late_hit_inside_a_long_visit_joins_it() -> None:
    identity = an_identity()
    first = without_id(identity, 0)
    for at in range(0, 7200, 1200):
        without_id(identity, at)
    assert without_id(identity, 60) == first


def test_the_window_looks_back_further_when_the_configuration_says_so() -> None:
    identity = an_identity(window=7200)
    first = without_id(identity, 0)
    assert without_id(identity, 7200) == first


def test_unknown_visitors_get_ids_of_their_own() -> None:
    identity = an_identity()
    owner, visitor_id = without_id(identity, 0, HOME)
    assert owner == visitor_id
    assert without_id(identity, 0, OFFICE) != (owner, visitor_id)


def test_a_hit_without_id_shows_the_id_of_the_visitor_it_joins() -> None:
    identity = an_identity()
    by_id(identity, A, 0)
    assert without_id(identity, 60) == (A, A)


def test_a_login_in_mid_visit_keeps_the_owner_and_shows_the_users_id() -> None:
    identity = an_identity()
    by_id(identity, A, 0)
    assert as_user(identity, "alice", 60) == (A, ALICE)
    assert by_id(identity, A, 120) == (A, A)


def test_a_second_device_of_the_user_reaches_the_same_owner() -> None:
    identity = an_identity()
    by_id(identity, A, 0, HOME)
    as_user(identity, "alice", 60, HOME)
    assert as_user(identity, "alice", 120, OFFICE) == (A, ALICE)


def test_a_logout_goes_back_to_the_id_and_stays_with_the_owner() -> None:
    identity = an_identity()
    as_user(identity, "alice", 0)
    assert by_id(identity, A, 60) == (ALICE, A)


def test_a_device_that_logs_in_late_leaves_its_anonymous_visit_for_the_users() -> None:
    identity = an_identity()
    as_user(identity, "alice", 0, HOME)
    assert by_id(identity, B, 300, OFFICE) == (B, B)
    assert as_user(identity, "alice", 360, OFFICE) == (ALICE, ALICE)
    assert by_id(identity, B, 420, OFFICE) == (B, B)


def test_another_user_on_the_same_device_is_another_owner() -> None:
    identity = an_identity()
    as_user(identity, "alice", 0)
    assert as_user(identity, "bob", 60) == (BOB, BOB)
    assert as_user(identity, "alice", 120) == (ALICE, ALICE)


def test_user_ids_compare_without_case_inside_a_visit_but_their_hash_does_not() -> None:
    identity = an_identity()
    upper = visitor_id_of_user("Bob")
    assert as_user(identity, "Bob", 0, HOME) == (upper, upper)
    assert as_user(identity, "bob", 60, HOME) == (upper, BOB)
    shouting = visitor_id_of_user("BOB")
    assert as_user(identity, "BOB", 120, OFFICE) == (shouting, shouting)


def test_a_user_id_with_blanks_is_another_user() -> None:
    identity = an_identity()
    as_user(identity, "Alice", 0)
    blank = visitor_id_of_user(" Alice ")
    assert as_user(identity, " Alice ", 60) == (blank, blank)


def test_a_user_of_a_past_visit_does_not_keep_another_from_the_device() -> None:
    identity = an_identity()
    as_user(identity, "alice", 0)
    by_id(identity, A, 60)
    assert by_id(identity, A, 60 + 1800) == (ALICE, A)
    assert as_user(identity, "bob", 1900) == (ALICE, BOB)


def test_a_forced_id_is_looked_up_by_id_only() -> None:
    identity = an_identity()
    by_id(identity, A, 0)
    assert forced(identity, B, 60) == (B, B)
    assert by_id(identity, A, 120) == (A, A)


def test_trusted_ids_are_not_looked_up_by_fingerprint() -> None:
    identity = an_identity()
    by_id(identity, A, 0, ids_only=True)
    assert by_id(identity, B, 60, ids_only=True) == (B, B)


def test_with_trusted_ids_a_hit_without_one_still_follows_its_fingerprint() -> None:
    identity = an_identity()
    by_id(identity, A, 0, ids_only=True)
    assert without_id(identity, 60, ids_only=True) == (A, A)


def test_a_ping_makes_nobody_active_and_does_not_prolong() -> None:
    identity = an_identity()
    assert by_id(identity, A, 0, is_ping=True) == (A, A)
    assert by_id(identity, B, 60) == (B, B)
    without_id(identity, 1500, is_ping=True)
    assert by_id(identity, A, 60 + 1801) == (A, A)


def test_the_fingerprint_of_a_visit_is_that_of_its_first_hit() -> None:
    identity = an_identity()
    by_id(identity, A, 0, HOME)
    by_id(identity, A, 60, OFFICE)
    assert by_id(identity, B, 120, OFFICE) == (B, B)
    assert without_id(identity, 180, HOME)[0] == A


def test_sites_do_not_share_visitors() -> None:
    identity = an_identity()
    first = identity.decide(1, NOON, 0, Claim.NONE, HOME, "")
    assert identity.decide(2, NOON, 0, Claim.NONE, HOME, "") != first


def test_a_visitor_survives_one_rotation_and_not_two_without_a_hit() -> None:
    identity = an_identity()
    first = without_id(identity, 0)
    identity.rotate()
    assert without_id(identity, 60) == first
    identity.rotate()
    assert without_id(identity, 120) == first
    identity.rotate()
    identity.rotate()
    assert without_id(identity, 180) != first


def test_memory_is_bounded_however_many_visitors_come() -> None:
    identity = an_identity(max_entries=1000)
    for number in range(50_000):
        by_id(identity, number + 1, number // 100, fingerprint=number + 1)
    assert len(identity) <= 2 * 1000


def test_one_fingerprint_of_many_visitors_stays_small() -> None:
    identity = an_identity()
    for number in range(1, 5000):
        forced(identity, number, 0)
    assert without_id(identity, 1)[0] in range(1, 5000)
    assert len(identity) == 5000


def test_observed_hits_decide_the_next_ones_as_if_the_process_had_never_ended() -> None:
    before, after = an_identity(), an_identity()
    history = [
        (A, Claim.COOKIE, HOME, "", 0),
        (ALICE, Claim.USER, HOME, "alice", 60),
        (0, Claim.NONE, OFFICE, "", 70),
        (B, Claim.FORCED, HOME, "", 90),
    ]
    for visitor_id, claim, fingerprint, user, at in history:
        owner, shown = before.decide(SITE, NOON + at, visitor_id, claim, fingerprint, user)
        after.observe(SITE, NOON + at, owner, shown, fingerprint, user)
    for question in [
        (ALICE, Claim.USER, 0xCAFE, "alice", 120),
        (A, Claim.COOKIE, HOME, "", 130),
        (0, Claim.NONE, OFFICE, "", 140),
        (BOB, Claim.USER, HOME, "bob", 150),
    ]:
        visitor_id, claim, fingerprint, user, at = question
        assert after.decide(SITE, NOON + at, visitor_id, claim, fingerprint, user) == before.decide(
            SITE, NOON + at, visitor_id, claim, fingerprint, user
        ), question


def test_ids_are_cut_to_16_lowered_and_zero_where_they_are_not_hex() -> None:
    assert format_visitor_id(visitor_id_from_hex("0123456789abcdef0123456789abcdef")) == "0123456789abcdef"
    assert format_visitor_id(visitor_id_from_hex("ABCDEF1234567890")) == "abcdef1234567890"
    assert visitor_id_from_hex("zzzzzzzzzzzzzzzz") == 0
    assert format_visitor_id(visitor_id_from_hex("1z2z3z4z5z6z7z8z")) == "1020304050607080"
    assert visitor_id_from_hex("") == 0


@pytest.mark.parametrize("read", [visitor_id_from_hex, id_from_any_hex])
def test_a_letter_whose_small_form_has_two_characters_is_one_digit_of_an_id(
    read: Callable[[str], int],
) -> None:
    assert format_visitor_id(read("f\u0130" + "f" * 14)) == "f0ffffffffffffff"


def test_the_visitor_id_of_a_user_is_the_first_half_of_a_sha1() -> None:
    assert format_visitor_id(ALICE) == "522b276a356bdf39"
