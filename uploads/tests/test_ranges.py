"""Which bytes a request asks for (RFC 9110)."""

import pytest

from uploads.delivery.ranges import ByteRange, Outcome, RangeError, conditions, parse_range, range_still_holds

ETAG, OTHER = '"a"', '"b"'
MODIFIED = 1795428000
AT_THAT_SECOND = "Mon, 23 Nov 2026 10:00:00 GMT"
A_SECOND_BEFORE, A_SECOND_AFTER = "Mon, 23 Nov 2026 09:59:59 GMT", "Mon, 23 Nov 2026 10:00:01 GMT"


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes=0-0", ByteRange(0, 0)),
        ("bytes=0-99", ByteRange(0, 99)),
        ("bytes=10-", ByteRange(10, 99)),
        ("bytes=99-", ByteRange(99, 99)),
        ("bytes=90-1000", ByteRange(90, 99)),
        ("bytes=-10", ByteRange(90, 99)),
        ("bytes=-1000", ByteRange(0, 99)),
        ("BYTES=5-6", ByteRange(5, 6)),
        (" bytes= 5-6 ", ByteRange(5, 6)),
        ("bytes=0-99999999999999999999999999", ByteRange(0, 99)),
        ("bytes=" + "0" * 30 + "5-" + "0" * 30 + "7", ByteRange(5, 7)),
        ("bytes=-" + "0" * 30 + "1", ByteRange(99, 99)),
    ],
)
def test_a_single_range_is_cut_to_the_file(header: str, expected: ByteRange) -> None:
    assert parse_range(header, 100) == expected


@pytest.mark.parametrize(
    "header",
    [None, "", "bytes", "bytes=", "bytes=-", "bytes=a-b", "bytes=5-3", "items=0-5", "bytes=0-1,5-6", "bytes=--5"],
)
def test_what_is_no_single_range_asks_for_the_whole_file(header: str | None) -> None:
    assert parse_range(header, 100) is None


@pytest.mark.parametrize("header", ["bytes=100-", "bytes=100-200", "bytes=-0", "bytes=99999999999999999999999-"])
def test_a_range_outside_the_file_is_an_error(header: str) -> None:
    with pytest.raises(RangeError):
        parse_range(header, 100)


@pytest.mark.parametrize("header", ["bytes=0-", "bytes=0-0", "bytes=-1"])
def test_an_empty_file_has_no_range(header: str) -> None:
    with pytest.raises(RangeError):
        parse_range(header, 0)


PERFORM, NOT_MODIFIED, FAILED = Outcome.PERFORM, Outcome.NOT_MODIFIED, Outcome.FAILED


@pytest.mark.parametrize(
    ("header", "outcome"),
    [
        (ETAG, NOT_MODIFIED),
        (f"W/{ETAG}", NOT_MODIFIED),
        (f"{OTHER}, {ETAG}", NOT_MODIFIED),
        (f'"a,\u00e9",{ETAG}', NOT_MODIFIED),
        ("*", NOT_MODIFIED),
        (OTHER, PERFORM),
        ("a", PERFORM),
        ("", PERFORM),
    ],
)
def test_if_none_match_compares_weakly_and_in_lists(header: str, outcome: Outcome) -> None:
    assert conditions({"If-None-Match": header}, ETAG, MODIFIED) is outcome


@pytest.mark.parametrize(
    ("header", "outcome"),
    [
        (ETAG, PERFORM),
        (f"{OTHER} , {ETAG}", PERFORM),
        ("*", PERFORM),
        (f"W/{ETAG}", FAILED),
        (OTHER, FAILED),
        ("nonsense", FAILED),
    ],
)
def test_if_match_compares_strongly(header: str, outcome: Outcome) -> None:
    assert conditions({"If-Match": header}, ETAG, MODIFIED) is outcome


@pytest.mark.parametrize(
    ("date", "unmodified", "modified"),
    [
        (AT_THAT_SECOND, PERFORM, NOT_MODIFIED),
        ("Monday, 23-Nov-26 10:00:00 GMT", PERFORM, NOT_MODIFIED),
        ("Mon Nov 23 10:00:00 2026", PERFORM, NOT_MODIFIED),
        (A_SECOND_AFTER, PERFORM, NOT_MODIFIED),
        (A_SECOND_BEFORE, FAILED, PERFORM),
        ("not a date", PERFORM, PERFORM),
        ("", PERFORM, PERFORM),
    ],
)
def test_dates_are_compared_to_the_second_and_ignored_where_they_are_none(
    date: str, unmodified: Outcome, modified: Outcome
) -> None:
    assert conditions({"If-Unmodified-Since": date}, ETAG, MODIFIED) is unmodified
    assert conditions({"If-Modified-Since": date}, ETAG, MODIFIED) is modified


@pytest.mark.parametrize(
    ("headers", "outcome"),
    [
        ({"If-Match": ETAG, "If-Unmodified-Since": A_SECOND_BEFORE}, PERFORM),
        ({"If-Match": OTHER, "If-None-Match": ETAG}, FAILED),
        ({"If-Unmodified-Since": A_SECOND_BEFORE, "If-None-Match": ETAG}, FAILED),
        ({"If-Match": ETAG, "If-None-Match": ETAG}, NOT_MODIFIED),
        ({"If-None-Match": OTHER, "If-Modified-Since": AT_THAT_SECOND}, PERFORM),
        ({}, PERFORM),
    ],
)
def test_conditions_go_before_each_other_as_in_rfc_9110(headers: dict[str, str], outcome: Outcome) -> None:
    assert conditions(headers, ETAG, MODIFIED) is outcome


def test_what_has_no_date_is_compared_with_none() -> None:
    for name in ("If-Unmodified-Since", "If-Modified-Since"):
        assert conditions({name: A_SECOND_BEFORE}, ETAG, None) is PERFORM
    assert not range_still_holds(AT_THAT_SECOND, ETAG, None)


@pytest.mark.parametrize(
    ("if_range", "holds"),
    [
        (None, True),
        (ETAG, True),
        (f" {ETAG} ", True),
        (AT_THAT_SECOND, True),
        ("Monday, 23-Nov-26 10:00:00 GMT", True),
        (A_SECOND_AFTER, False),
        (OTHER, False),
        (f"W/{ETAG}", False),
        ("nonsense", False),
        ("", False),
    ],
)
def test_a_range_holds_only_for_the_same_representation(if_range: str | None, holds: bool) -> None:
    assert range_still_holds(if_range, ETAG, MODIFIED) is holds
