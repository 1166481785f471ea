"""What the database keeps sealed, and how the key is changed."""

import pytest

from uploads.secrets import UnsealError, reseal, seal, unseal

SECRET = "1//refresh-token गुप्त"


@pytest.fixture(autouse=True)
def first_key(settings) -> None:
    settings.SECRETS_KEYS = ["the first key"]


def test_a_sealed_secret_is_read_with_its_key_and_shows_nothing_of_it() -> None:
    sealed = seal(SECRET)
    assert "refresh" not in sealed
    assert sealed.isascii()
    assert unseal(sealed) == SECRET
    assert seal(SECRET) != sealed


def test_another_key_reads_nothing_and_the_error_tells_nothing(settings) -> None:
    sealed = seal(SECRET)
    settings.SECRETS_KEYS = ["another key"]
    with pytest.raises(UnsealError) as refused:
        unseal(sealed)
    assert "SECRETS_KEY" in str(refused.value)
    assert sealed not in repr(refused.value)
    assert refused.value.__cause__ is None


@pytest.mark.parametrize("damaged", ["", "no token", "gAAAAA", "é"])
def test_what_was_never_sealed_is_refused(damaged: str) -> None:
    with pytest.raises(UnsealError):
        unseal(damaged)


def test_a_damaged_secret_is_refused() -> None:
    sealed = seal(SECRET)
    with pytest.raises(UnsealError):
        unseal(sealed[:-8] + ("AAAAAAAA" if not sealed.endswith("AAAAAAAA") else "BBBBBBBB"))


def test_while_two_keys_are_named_the_newer_seals_and_both_unseal(settings) -> None:
    old = seal(SECRET)
    settings.SECRETS_KEYS = ["the second key", "the first key"]
    new = seal(SECRET)
    assert unseal(old) == unseal(new) == SECRET
    settings.SECRETS_KEYS = ["the second key"]
    assert unseal(new) == SECRET
    with pytest.raises(UnsealError):
        unseal(old)


def test_what_is_sealed_again_no_longer_needs_the_old_key(settings) -> None:
    old = seal(SECRET)
    settings.SECRETS_KEYS = ["the second key", "the first key"]
    again = reseal(old)
    settings.SECRETS_KEYS = ["the second key"]
    assert unseal(again) == SECRET
    with pytest.raises(UnsealError):
        reseal(old)
