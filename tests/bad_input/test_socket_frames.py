"""Handshakes and frames that break the rules of WebSocket itself, and binary frames that break ours."""

import struct
from collections.abc import Callable

import pytest

from devtools.client import Client
from devtools.raw_socket import BINARY, CLOSE, CONTINUATION, KEY, PING, PONG, TEXT, Ending, Socket, frame
from devtools.server_process import ServerProcess
from tests.bad_input.conftest import Treasure, slots_are_free
from tests.bad_input.matrix import SOCKETS_AT_ONCE, all_cells
from tests.bad_input.sockets import DATA, Scene, brought_to

MIB = 1024 * 1024
CANCEL = b'{"type": "cancel"}'

# What the server answers with its close code; nothing of it reaches the upload.
BROKEN_FRAMES: dict[str, tuple[bytes, int]] = {
    "a text without a mask": (frame(TEXT, CANCEL, masked=False), 1002),
    "bytes without a mask": (frame(BINARY, DATA, masked=False), 1002),
    **{f"reserved bits {bits:03b}": (frame(TEXT, CANCEL, reserved=bits), 1002) for bits in range(1, 8)},
    **{f"opcode {code}": (frame(code, b"x"), 1002) for code in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)},
    "a ping in parts": (frame(PING, b"x", final=False), 1002),
    "a close in parts": (frame(CLOSE, b"", final=False), 1002),
    "a ping of 126 bytes": (frame(PING, b"x" * 126), 1002),
    "a pong of 126 bytes": (frame(PONG, b"x" * 126), 1002),
    "a close of 126 bytes": (frame(CLOSE, struct.pack("!H", 1000) + b"x" * 124), 1002),
    "a part of nothing": (frame(CONTINUATION, b"x"), 1002),
    "a text within a text": (frame(TEXT, b"{", final=False) + frame(TEXT, b"}"), 1002),
    "bytes within a text": (frame(TEXT, b"{", final=False) + frame(BINARY, DATA), 1002),
    "a length with its highest bit": (frame(BINARY, b"x", length=b"\x7f" + b"\xff" * 8), 1009),
    "a length of 2^62": (frame(BINARY, b"x", length=b"\x7f" + struct.pack("!Q", 2**62)), 1009),
    "a length of 2^32": (frame(BINARY, b"x", length=b"\x7f" + struct.pack("!Q", 2**32)), 1009),
    "a byte more than a chunk": (frame(BINARY, bytes(MIB + 1)), 1009),
    "more than a chunk in parts": (frame(BINARY, bytes(MIB), final=False) + frame(CONTINUATION, b"xx"), 1009),
    "Latin-1 as text": (frame(TEXT, b'{"type": "\xe9"}'), 1007),
    "a surrogate as text": (frame(TEXT, b"\xed\xa0\x80"), 1007),
    "an overlong slash as text": (frame(TEXT, b"\xc0\xaf"), 1007),
    "above Unicode as text": (frame(TEXT, b"\xf5\x80\x80\x80"), 1007),
    "half a character as text": (frame(TEXT, "é".encode()[:1]), 1007),
    "UTF-16 as text": (frame(TEXT, CANCEL.decode().encode("utf-16")), 1007),
    "a close of one byte": (frame(CLOSE, b"\x03"), 1002),
    **{
        f"a close with {code}": (frame(CLOSE, struct.pack("!H", code)), 1002)
        for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 2000, 2999, 5000, 65535)
    },
    "a close whose reason is no text": (frame(CLOSE, struct.pack("!H", 1000) + b"\xff\xfe"), 1007),
}
ALLOWED: dict[str, bytes] = {
    "a ping": frame(PING, b"x" * 125),
    "a pong that nobody asked for": frame(PONG, b"x"),
    "no bytes": frame(BINARY),
    "no bytes, in a hundred parts": (
        frame(BINARY, final=False) + frame(CONTINUATION, final=False) * 99 + frame(CONTINUATION)
    ),
    "a ping between the parts": frame(BINARY, final=False) + frame(PING, b"x") + frame(CONTINUATION, b""),
    "a long length for little": frame(PING, b"x", length=b"\x7e\x00\x01"),
}
STAGES = ["before `start`", "at `ready`", "half sent", "all sent"]


async def goes_on(scene: Scene) -> str | None:
    await scene.socket.send(frame(BINARY, DATA[scene.stored :]))
    await scene.socket.say(type="finish")
    heard = await scene.socket.until("success")
    return None if not isinstance(heard, Ending) and heard["type"] == "success" else f"did not go on: {heard}"


@pytest.mark.parametrize("stage", STAGES)
async def test_a_broken_frame_ends_the_connection_and_not_the_upload(
    server: ServerProcess, client: Client, treasure: Treasure, stage: str
) -> None:
    async def fault_of(cell: tuple[bytes, int]) -> str | None:
        data, code = cell
        async with brought_to(stage, server, client) as scene:
            await scene.socket.send(data)
            while not isinstance(heard := await scene.socket.hear(), Ending):
                pass
            # The frame's close may be lost with what of it was not read (wire.md, "Errors").
            if heard.code not in (code, 1006 if len(data) > MIB else code):
                return f"closed with {heard}"
            return await scene.is_stored_as_before()

    await all_cells("frames", BROKEN_FRAMES.items(), fault_of, at_once=SOCKETS_AT_ONCE)


async def test_an_odd_frame_that_is_allowed_changes_nothing(
    server: ServerProcess, client: Client, treasure: Treasure
) -> None:
    async def fault_of(data: bytes) -> str | None:
        async with brought_to("half sent", server, client) as scene:
            await scene.socket.send(data)
            return await goes_on(scene)

    await all_cells("frames", ALLOWED.items(), fault_of, at_once=SOCKETS_AT_ONCE)


# --- binary frames that are whole, and wrong ---

EARLY = {"one byte": b"x", "no bytes": b"", "a whole chunk": bytes(MIB), "a message as bytes": CANCEL}
Cell = tuple[str, bytes, str]


async def test_bytes_at_the_wrong_time_or_too_many_of_them(
    server: ServerProcess, client: Client, treasure: Treasure
) -> None:
    cells: dict[str, Cell] = {
        **{f"{name} before the start": ("before `start`", data, "invalid_request") for name, data in EARLY.items()},
        "a byte too many": ("at `ready`", DATA + b"x", "size_exceeded"),
        "a byte after the last": ("all sent", b"x", "size_exceeded"),
        "a whole chunk after the last": ("all sent", bytes(MIB), "size_exceeded"),
        "a message as bytes": ("all sent", CANCEL, "size_exceeded"),
        "three bytes for two": ("half sent", b"xyz", "size_exceeded"),
    }

    async def fault_of(cell: Cell) -> str | None:
        stage, data, code = cell
        async with brought_to(stage, server, client) as scene:
            await scene.socket.send(frame(BINARY, data))
            return await scene.refused_with(code) or await scene.is_as_it_was()

    await all_cells("frames", cells.items(), fault_of, at_once=SOCKETS_AT_ONCE)


async def test_text_for_bytes_is_refused_and_stored_as_nothing(
    server: ServerProcess, client: Client, treasure: Treasure
) -> None:
    async def fault_of(text: bytes) -> str | None:
        async with brought_to("half sent", server, client) as scene:
            await scene.socket.send(frame(TEXT, text))
            return await scene.refused_with("invalid_request") or await scene.is_as_it_was()

    texts = [DATA, b"45", b"x" * 1000, b"NDU=", b"\x00\x01"]
    await all_cells("frames", ((repr(text[:20]), text) for text in texts), fault_of, at_once=SOCKETS_AT_ONCE)


async def test_a_file_of_one_byte_frames_and_parts_ends_equal(
    server: ServerProcess, client: Client, treasure: Treasure
) -> None:
    async with brought_to("at `ready`", server, client) as scene:
        for byte in DATA[:3]:
            await scene.socket.send(frame(BINARY, bytes([byte])))
        await scene.socket.send(frame(BINARY, DATA[3:4], final=False) + frame(CONTINUATION, DATA[4:]))
        await scene.socket.say(type="finish")
        heard = await scene.socket.until("success")
        assert not isinstance(heard, Ending)
        assert heard["type"] == "success"


# --- handshakes ---


def handshake(path: str, *lines: str, method: str = "GET", version: str = "HTTP/1.1", host: str = "127.0.0.1") -> str:
    usual = {
        "host": f"Host: {host}",
        "upgrade": "Upgrade: websocket",
        "connection": "Connection: Upgrade",
        "sec-websocket-key": f"Sec-WebSocket-Key: {KEY}",
        "sec-websocket-version": "Sec-WebSocket-Version: 13",
    }
    usual |= {line.partition(":")[0].lower(): line for line in lines}
    return "\r\n".join([f"{method} {path} {version}", *(line for line in usual.values() if ":" in line)]) + "\r\n"


REFUSED: dict[str, tuple[Callable[[str], str], set[int]]] = {
    "no key": (lambda path: handshake(path, "Sec-WebSocket-Key"), {400}),
    "an empty key": (lambda path: handshake(path, "Sec-WebSocket-Key:"), {400}),
    "a short key": (lambda path: handshake(path, "Sec-WebSocket-Key: YQ=="), {400}),
    "a key that is no base64": (lambda path: handshake(path, "Sec-WebSocket-Key: ????????????????????????"), {400}),
    "two keys": (lambda path: handshake(path, f"Sec-WebSocket-Key: {KEY}", f"X: y\r\nSec-WebSocket-Key: {KEY}"), {400}),
    "no version": (lambda path: handshake(path, "Sec-WebSocket-Version"), {400, 426}),
    "version 8": (lambda path: handshake(path, "Sec-WebSocket-Version: 8"), {400, 426}),
    "version x": (lambda path: handshake(path, "Sec-WebSocket-Version: x"), {400, 426}),
    "no upgrade": (lambda path: handshake(path, "Upgrade"), {404, 426}),
    "another upgrade": (lambda path: handshake(path, "Upgrade: h2c"), {404, 426}),
    "no connection": (lambda path: handshake(path, "Connection"), {404, 426}),
    "a POST": (lambda path: handshake(path, method="POST"), {400, 404, 405}),
    "no host": (lambda path: handshake(path, "Host"), {0, 400}),
    "another site's page": (lambda path: handshake(path, "Origin: https://evil.example"), {403}),
    "no origin in particular": (lambda path: handshake(path, "Origin: null"), {403}),
    "an empty origin": (lambda path: handshake(path, "Origin:"), {403}),
    "an origin that is none": (lambda path: handshake(path, "Origin: nonsense"), {403}),
    "two origins": (lambda path: handshake(path, "Origin: null", "X: y\r\nOrigin: null"), {400, 403}),
    "no such socket": (lambda path: handshake("/ws_api/nothing"), {403, 404}),
    "no such socket, elsewhere": (lambda path: handshake("/"), {403, 404}),
    "the API as a socket": (lambda path: handshake("/api/v1/upload/quota-info"), {403, 404}),
    "the staff's socket": (lambda path: handshake("/ws_api/admin/live"), {403}),
    "a way up": (lambda path: handshake("/ws_api/upload/../../x"), {403, 404}),
    "no id": (lambda path: handshake("/ws_api/upload/"), {403, 404}),
    "a slash behind the id": (lambda path: handshake(path + "/"), {403, 404}),
}
AGREED: dict[str, Callable[[str], str]] = {
    "as it should be": lambda path: handshake(path),
    "with a query": lambda path: handshake(path + "?token=x&%00"),
    "in other case": lambda path: handshake(path, "upgrade: WebSocket", "connection: keep-alive, UPGRADE"),
    "with extensions": lambda path: handshake(path, "Sec-WebSocket-Extensions: permessage-deflate; x=y, nonsense"),
    "with protocols": lambda path: handshake(path, "Sec-WebSocket-Protocol: a, b, c"),
    "with odd cookies": lambda path: handshake(path, 'Cookie: sessionid="\\000"; django_language="\\000"; =; a'),
    "with cookies that take long": lambda path: handshake(path, 'Cookie: sessionid="' + "\\" * 8000 + '"'),
    "with odd languages": lambda path: handshake(path, "Accept-Language: " + "en," * 1000),
    "with a token in a header": lambda path: handshake(path, "Authorization: Bearer x"),
    "with forwarded headers": lambda path: handshake(path, "X-Forwarded-For: 1.2.3.4", "X-Forwarded-Host: evil"),
    "by another name": lambda path: handshake(path, host="evil.example"),  # a program's; its token decides
}


async def test_a_handshake_that_is_wrong_is_refused(server: ServerProcess, client: Client, treasure: Treasure) -> None:
    path = treasure.half.answer["upload_url"]

    async def fault_of(cell: tuple[Callable[[str], str], set[int]]) -> str | None:
        request, allowed = cell
        socket = await Socket.open(server.port, "", request=request(path))
        socket.abort()
        return None if socket.status in allowed else f"answered {socket.status}"

    await all_cells("handshakes", REFUSED.items(), fault_of, at_once=SOCKETS_AT_ONCE)


async def test_an_odd_handshake_that_is_right_is_agreed_to_and_nothing_is_added(
    server: ServerProcess, client: Client, treasure: Treasure
) -> None:
    async def fault_of(request: Callable[[str], str]) -> str | None:
        upload = await client.initiate("odd.bin", len(DATA))
        socket = await Socket.open(server.port, "", request=request(upload.answer["upload_url"]))
        try:
            if socket.status != 101:
                return f"answered {socket.status}"
            if {"sec-websocket-extensions:", "sec-websocket-protocol:"} & set(socket.head.lower().split()):
                return f"agreed to what it does not speak: {socket.head}"
            await socket.say(type="start", token=upload.token)
            heard = await socket.until("ready")
            return None if not isinstance(heard, Ending) and heard["type"] == "ready" else f"said {heard}"
        finally:
            socket.abort()

    await all_cells("handshakes", AGREED.items(), fault_of, at_once=SOCKETS_AT_ONCE)


async def test_no_slot_stays_behind(client: Client, treasure: Treasure) -> None:
    await slots_are_free(client)


async def test_after_all_of_it_the_half_upload_goes_on_and_ends_equal(laid_down: Treasure, client: Client) -> None:
    await laid_down.ends_equal(client)
