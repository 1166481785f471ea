"""What the workers know of each other: each says every second what it runs (`report.py`, `board.py`).

`get_fleet()` gives what this process goes by: a board in Redis where there is one, else itself alone.
"""
