"""Where files rest. `get_store()` gives the store that the settings name; everything else asks the port in `base`."""

from functools import cache

from uploads.storage.base import Store


@cache
def get_store() -> Store:
    """The one store of this process."""
    from django.conf import settings

    from uploads.storage.local import LocalStore

    return LocalStore(settings.DATA_DIR / "storage", settings.LOCAL_FREE_SPACE_FLOOR_BYTES)
