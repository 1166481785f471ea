"""Frames received in place are, to the last bit, those that websockets' own reader gives."""

import os
import random
import struct
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from websockets.server import ServerProtocol
from websockets.utils import apply_mask

from directdrivex import frames
from directdrivex.frames import Inlet, read_large_frames

KIB = 1024
LIMIT = 512 * KIB
HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10


def open_connection() -> ServerProtocol:
    connection = ServerProtocol(max_size=LIMIT)
    connection.receive_data(HANDSHAKE)
    return accepted(connection)


def accepted(connection: ServerProtocol) -> ServerProtocol:
    (request,) = connection.events_received()
    connection.send_response(connection.accept(request))  # type: ignore[arg-type]
    connection.data_to_send()
    return connection


def seen(connection: ServerProtocol) -> list[Any]:
    """All that a server can learn of a connection."""
    events = [(e.opcode, bytes(e.data), e.fin, e.rsv1, e.rsv2, e.rsv3) for e in connection.events_received()]  # type: ignore[union-attr]
    sent = b"".join(connection.data_to_send())
    return [events, sent, connection.state, repr(connection.parser_exc), connection.close_sent, connection.close_rcvd]


class Ours:
    """A connection with our reader, fed through the inlet, as uvicorn's protocol would be."""

    def __init__(self) -> None:
        self.connection = ServerProtocol(max_size=LIMIT)
        self.inlet = Inlet(self, read_large_frames(self.connection))  # type: ignore[arg-type]
        self.connection.receive_data(HANDSHAKE)
        accepted(self.connection)

    def data_received(self, data: bytes) -> None:
        self.connection.receive_data(data)

    def take(self, data: bytes) -> None:
        """As a transport does: as much at a time as the buffer has room for."""
        while data:
            room = self.inlet.get_buffer(-1)
            count = min(len(room), len(data))
            room[:count] = data[:count]
            self.inlet.buffer_updated(count)
            data = data[count:]


def frame(first: int, payload: bytes, *, masked: bool = True, length: int | None = None) -> bytes:
    length = len(payload) if length is None else length
    mask = 0x80 if masked else 0
    if length < 126:
        head = struct.pack("!BB", first, mask | length)
    elif length < 65536:
        head = struct.pack("!BBH", first, mask | 126, length)
    else:
        head = struct.pack("!BBQ", first, mask | 127, length)
    key = os.urandom(4)
    return head + (key + apply_mask(payload, key) if masked else payload)


def sizes(dice: random.Random) -> int:
    return dice.choice(
        [
            0,
            1,
            125,
            126,
            4000,
            65535,
            65536,
            65537,
            70_000,
            LIMIT - 1,
            LIMIT,
            dice.randrange(200),
            dice.randrange(LIMIT),
        ]
    )


def conversation(dice: random.Random) -> Iterator[bytes]:
    """Frames in any order, right ones more often than wrong ones."""
    for _ in range(dice.randrange(1, 9)):
        kind = dice.random()
        if kind < 0.5:
            yield frame(0x80 | BINARY, dice.randbytes(sizes(dice)))
        elif kind < 0.6:
            yield frame(0x80 | dice.choice([PING, PONG]), dice.randbytes(dice.choice([0, 4, 125])))
        elif kind < 0.7:
            yield frame(0x80 | TEXT, b"x" * sizes(dice))
        elif kind < 0.85:
            yield frame(BINARY, dice.randbytes(sizes(dice)))
            yield frame(0x80 | PING, b"between")
            yield frame(0x80 | CONTINUATION, dice.randbytes(sizes(dice) // 2))
        elif kind < 0.9:
            yield frame(0x80 | CLOSE, struct.pack("!H", dice.choice([1000, 1001, 999, 4000])) + b"bye")
        else:
            yield dice.choice(
                [
                    frame(0x80 | BINARY, dice.randbytes(80_000), masked=False),
                    frame(0x80 | BINARY, b"", length=LIMIT + 1),
                    frame(0x80 | BINARY, b"", length=2**63),
                    frame(0xC0 | BINARY, dice.randbytes(80_000)),
                    frame(0x80 | 3, dice.randbytes(80_000)),
                    frame(0x80 | PING, dice.randbytes(80_000)),
                    frame(PONG, b""),
                    frame(0x80 | CONTINUATION, dice.randbytes(80_000)),
                    frame(0x80 | CLOSE, dice.randbytes(80_000)),
                    dice.randbytes(80_000),
                ]
            )


def cut(data: bytes, dice: random.Random) -> Iterator[bytes]:
    largest = (
        dice.choice([3, 700, 66_000, 256_000, len(data) + 1]) if len(data) < 2000 else dice.choice([66_000, 256_000])
    )
    while data:
        count = dice.randrange(1, largest + 1)
        yield data[:count]
        data = data[count:]


@pytest.mark.parametrize("seed", range(150))
def test_any_conversation_cut_anywhere_is_understood_as_the_library_does(seed: int) -> None:
    dice = random.Random(seed)
    theirs, ours = open_connection(), Ours()
    for piece in cut(b"".join(conversation(dice)), dice):
        theirs.receive_data(piece)
        feed: Callable[[bytes], None] = dice.choice([ours.take, ours.data_received])
        feed(piece)
        assert seen(ours.connection) == seen(theirs)
        if theirs.state.name == "OPEN" and dice.random() < 0.02:
            for connection in (theirs, ours.connection):
                connection.send_close(1008, "enough")
    theirs.receive_eof()
    ours.connection.receive_eof()
    assert seen(ours.connection) == seen(theirs)


def test_the_payloads_of_two_connections_that_come_in_turns_are_kept_apart() -> None:
    payloads = [os.urandom(LIMIT), os.urandom(LIMIT)]
    connections = [Ours(), Ours()]
    parts = [list(cut(frame(0x80 | BINARY, payload) * 6, random.Random(1))) for payload in payloads]
    got: list[list[bytes]] = [[], []]
    for pair in zip(*parts, strict=True):
        for number, part in enumerate(pair):
            connections[number].take(part)
            got[number] += [bytes(event.data) for event in connections[number].connection.events_received()]  # type: ignore[union-attr]
    assert got == [[payloads[0]] * 6, [payloads[1]] * 6]


def test_a_kept_payload_is_not_overwritten_by_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "_spare", [])
    ours = Ours()
    payloads = [os.urandom(LIMIT) for _ in range(4)]
    for payload in payloads:
        ours.take(frame(0x80 | BINARY, payload))
    assert [event.data for event in ours.connection.events_received()] == payloads  # type: ignore[union-attr]
    assert len(frames._spare) == 1, "one place was enough for all of them"
