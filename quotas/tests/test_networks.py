import ipaddress
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quotas.networks import ByPerson, canonical_network, containing, containing_person, guesser
from quotas.rules import address_person

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)


@pytest.mark.parametrize(
    ("written", "stored"),
    [
        ("192.0.2.7", "192.0.2.7"),
        (" 192.0.2.7 ", "192.0.2.7"),
        ("192.0.2.7/32", "192.0.2.7"),
        ("192.0.2.7/24", "192.0.2.0/24"),
        ("192.0.2.0/255.255.255.0", "192.0.2.0/24"),
        ("0.0.0.0/0", "0.0.0.0/0"),
        ("2001:DB8:0:0::1", "2001:db8::/64"),
        ("2001:db8::1/127", "2001:db8::/64"),
        ("2001:db8::/64", "2001:db8::/64"),
        ("2001:db8:1::/48", "2001:db8:1::/48"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.0/120", "192.0.2.0/24"),
    ],
)
def test_an_address_or_network_is_written_in_one_way(written: str, stored: str) -> None:
    assert canonical_network(written) == stored
    assert canonical_network(stored) == stored


@pytest.mark.parametrize(
    "written", ["", "somewhere", "192.0.2.256", "192.0.2.0/33", "3221225985", "2001:db8::/129", "fe80::1%eth0", "1.2.3"]
)
def test_what_is_no_network_is_refused(written: str) -> None:
    with pytest.raises(ValueError):
        canonical_network(written)


@pytest.mark.parametrize(
    ("person", "counted_as"),
    [
        ("address:2001:db8:1:2ff::/64", "address:2001:db8:1:200::/56"),
        ("address:2001:db8:1:200::/64", "address:2001:db8:1:200::/56"),
        ("address:2001:db8:1:300::/64", "address:2001:db8:1:300::/56"),
        ("address:192.0.2.7", "address:192.0.2.7"),
        ("address:unknown", "address:unknown"),
        ("account:7", "account:7"),
    ],
)
def test_who_guesses_from_all_networks_of_a_household_is_one(person: str, counted_as: str) -> None:
    assert guesser(person) == counted_as


@given(st.ip_addresses())
def test_a_persons_key_is_the_canonical_network_of_their_address(address: ipaddress.IPv4Address) -> None:
    key = address_person(str(address)).key
    assert key == f"address:{canonical_network(str(address))}"
    assert containing_person(key)[0] == key.removeprefix("address:")


def test_every_wider_network_is_named_and_the_most_specific_first() -> None:
    wider = containing("192.0.2.7")
    assert (wider[0], wider[8], wider[-1], len(wider)) == ("192.0.2.7", "192.0.2.0/24", "0.0.0.0/0", 33)
    wider = containing("2001:db8::/64")
    assert (wider[0], wider[16], wider[-1], len(wider)) == ("2001:db8::/64", "2001:db8::/48", "::/0", 65)
    assert containing_person("address:unknown") == ()


def said(*entries: tuple[str, str]) -> ByPerson[str]:
    return ByPerson((key, None, value) for key, value in entries)


def test_of_several_networks_the_most_specific_one_wins() -> None:
    table = said(("address:0.0.0.0/0", "all"), ("address:192.0.2.0/24", "net"), ("address:192.0.2.7", "one"))
    assert table.find("address:192.0.2.7", NOW) == "one"
    assert table.find("address:192.0.2.8", NOW) == "net"
    assert table.find("address:198.51.100.1", NOW) == "all"
    assert table.find("address:2001:db8::/64", NOW) is None, "the other family's network of everything is not meant"


def test_a_network_of_ipv6_covers_every_64_in_it() -> None:
    table = said(("address:2001:db8::/47", "net"))
    assert table.find(address_person("2001:db8:1:ffff::9").key, NOW) == "net"
    assert table.find(address_person("2001:db8:2::9").key, NOW) is None


def test_accounts_and_addresses_are_different_persons() -> None:
    table = said(("account:7", "account"), ("address:0.0.0.0/0", "anybody"))
    assert table.find("account:7", NOW) == "account"
    assert table.find("account:77", NOW) is None
    assert table.find("address:unknown", NOW) is None
    assert table.has_accounts
    assert not said(("address:192.0.2.7", "one")).has_accounts


def test_an_entry_counts_until_its_end_and_no_longer() -> None:
    table = ByPerson([("account:7", NOW, "so far"), ("address:192.0.2.7", NOW, "so far")])
    for key in ("account:7", "address:192.0.2.7"):
        assert table.find(key, NOW - SECOND) == "so far"
        assert table.find(key, NOW) is None, "the end is exclusive"


def test_where_the_specific_one_is_over_the_wider_one_counts_again() -> None:
    table = ByPerson([("address:192.0.2.7", NOW, "one"), ("address:192.0.2.0/24", None, "net")])
    assert table.find("address:192.0.2.7", NOW - SECOND) == "one"
    assert table.find("address:192.0.2.7", NOW) == "net"


@given(
    st.lists(st.tuples(st.ip_addresses(), st.integers(0, 128)), max_size=20),
    st.ip_addresses(),
)
def test_finding_agrees_with_looking_at_every_network(networks: list[tuple[str, int]], address: str) -> None:
    names = {
        canonical_network(f"{base}/{length}")
        for base, length in networks
        if length <= base.max_prefixlen and getattr(base, "ipv4_mapped", None) is None
    }
    own = ipaddress.ip_network(address_person(str(address)).key.removeprefix("address:"))
    around = [n for n in map(ipaddress.ip_network, names) if n.version == own.version and own.subnet_of(n)]
    expected = max(around, key=lambda network: network.prefixlen, default=None)
    found = said(*((f"address:{name}", name) for name in names)).find(f"address:{own}", NOW)
    assert (found and ipaddress.ip_network(found)) == expected
