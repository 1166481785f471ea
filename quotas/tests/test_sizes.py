import pytest
from hypothesis import given
from hypothesis import strategies as st

from quotas.rules import MOST_BYTES
from quotas.sizes import exact_size, parse_size, short_size


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("1048576", 1024**2),
        ("2 GiB", 2 * 1024**3),
        ("2gib", 2 * 1024**3),
        ("  1.5 TiB ", 3 * 1024**4 // 2),
        ("500 MB", 500 * 1000**2),
        ("7 kB", 7000),
        ("3G", 3 * 1024**3),
        ("12 b", 12),
        ("0.1 KiB", 102),
        ("२ GiB", 2 * 1024**3),
    ],
)
def test_a_size_is_read_as_people_write_it(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text",
    [
        "",
        "GiB",
        "much",
        "-1",
        "-1 GiB",
        "+5",
        "2 GiB and more",
        "1,500 MB",
        "1,5 GiB",
        "2 000 000",
        "1.5",
        "1.5 B",
        "1e400 GiB",
        "inf",
        "nan",
        "0x10",
        "2 GiBs",
        "1.2.3 GiB",
        ".5 GiB",
        "9" * 5000,
    ],
)
def test_nonsense_is_no_size(text: str) -> None:
    with pytest.raises(ValueError, match="is no size"):
        parse_size(text)


@given(
    st.integers(0, MOST_BYTES) | st.builds(lambda n, power: n * 1024**power, st.integers(0, 5000), st.integers(0, 4))
)
def test_an_exact_size_is_read_back_as_the_same_number(size: int) -> None:
    assert parse_size(exact_size(size)) == size


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0"),
        (1000, "1 kB"),
        (1024, "1 KiB"),
        (512 * 1024**2, "512 MiB"),
        (3 * 1024**3 // 2, "1.5 GiB"),
        (2_000_000_000, "2 GB"),
        (3_624_892_618, "3624892618"),
    ],
)
def test_an_exact_size_is_short_where_it_can_be(size: int, text: str) -> None:
    assert exact_size(size) == text


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1 KiB"),
        (3_624_892_618, "3.38 GiB"),
        (15 * 1024**2, "15 MiB"),
        (150 * 1024**2 + 1, "150 MiB"),
        (5 * 1024**4, "5 TiB"),
        (1024**2 - 1, "1 MiB"),
        (1024**3 * 9 // 8, "1.13 GiB"),
        (9999, "9.76 KiB"),
        (10235, "10 KiB"),
        (4_000_000, "3.81 MiB"),
    ],
)
def test_a_short_size_has_about_three_figures(size: int, text: str) -> None:
    assert short_size(size) == text
