"""Files on local disk: a store that survives a killed process and a reboot with every byte that it told as stored."""

from uploads.storage.local.layout import SyncMark
from uploads.storage.local.partial import LocalPartial
from uploads.storage.local.store import LocalStore

__all__ = ["LocalPartial", "LocalStore", "SyncMark"]
