"""Which bytes a request asks for (RFC 9110)."""

import pytest

from uploads.delivery.ranges import ByteRange, RangeError, matches, parse_range, range_still_holds


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


def test_if_none_match_compares_weakly_and_in_lists() -> None:
    assert matches('"a"', '"a"')
    assert matches('W/"a"', '"a"')
    assert matches('"b", "a"', '"a"')
    assert matches("*", '"a"')
    assert not matches('"b"', '"a"')
    assert not matches(None, '"a"')


def test_a_range_holds_only_for_the_same_representation() -> None:
    date = "Mon, 23 Nov 2026 10:00:00 GMT"
    assert range_still_holds(None, '"a"', date)
    assert range_still_holds('"a"', '"a"', date)
    assert range_still_holds(date, '"a"', date)
    assert not range_still_holds('"b"', '"a"', date)
    assert not range_still_holds('W/"a"', '"a"', date), "If-Range compares strongly"
