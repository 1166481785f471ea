"""A Google Drive for one machine: what this project and its peers need of Drive, with faults on request.

docs/emulator.md says what it promises. `__main__` starts it; `server` has the routes; `world` is all that it knows.
"""
