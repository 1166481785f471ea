"""What may stand in a line of the log."""

from directdrivex.logs import MOST_CHARACTERS, within_bounds


def test_what_a_stranger_made_long_is_cut_and_the_rest_stays_as_it_is() -> None:
    event = {"event": "request_started", "request": "GET /" + "x" * 60_000, "code": 404, "user_agent": None}
    cut = within_bounds(None, "info", dict(event))
    assert cut["request"] == event["request"][:MOST_CHARACTERS] + "… (60005 characters)"
    assert {key: value for key, value in cut.items() if key != "request"} == {
        key: value for key, value in event.items() if key != "request"
    }
