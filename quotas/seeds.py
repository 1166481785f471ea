"""The limits that a new installation starts with (product.md, "Seed values"), by environment. Needs no Django."""

from quotas.rules import AudienceLimits, Profile

MIB = 1024**2
GIB = 1024**3


def _profile(
    *, enforced: bool, anonymous: int | None, registered: int | None, memory_percent: int, reserved: int
) -> Profile:
    return Profile(
        limits_enforced=enforced,
        max_concurrent_uploads=20,
        max_concurrent_uploads_per_user=5,
        max_queued_uploads=500,
        max_memory_percent=memory_percent,
        reserved_memory_bytes=reserved,
        audiences={
            "anonymous": AudienceLimits(file_bytes=anonymous, daily_bytes=anonymous),
            "registered": AudienceLimits(file_bytes=registered, daily_bytes=registered),
        },
    )


SEEDS: dict[str, Profile] = {
    "development": _profile(enforced=False, anonymous=None, registered=None, memory_percent=100, reserved=0),
    "staging": _profile(
        enforced=True, anonymous=2 * GIB, registered=5 * GIB, memory_percent=85, reserved=GIB + GIB // 2
    ),
    "production": _profile(enforced=True, anonymous=2 * GIB, registered=5 * GIB, memory_percent=80, reserved=512 * MIB),
}
