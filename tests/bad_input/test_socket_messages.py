"""Every message of the upload socket and each of its fields, at every stage of an upload."""

import hashlib
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from devtools.client import Client
from devtools.raw_socket import BINARY, TEXT, Ending, Socket, frame
from devtools.server_process import ServerProcess
from tests.bad_input.conftest import Bytes, Treasure, slots_are_free, started
from tests.bad_input.matrix import SOCKETS_AT_ONCE, all_cells
from tests.bad_input.sockets import DATA, STAGES, Scene, brought_to
from tests.bad_input.values import AS_JSON, COLUMNS, NO_JSON, SCALARS, body_with

KIB = 1024
DIGEST, OTHER = hashlib.sha256(DATA).hexdigest(), hashlib.sha256(b"other").hexdigest()

# Stages that any server can bring an upload to; the other two need one of their own.
EVERYWHERE = [stage for stage in STAGES if stage not in ("in line", "verifying")]


@pytest.fixture(scope="module")
def one_slot(prepared_data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server on which everybody but the first waits in line."""
    with started(prepared_data_dir, tmp_path_factory, MAX_CONCURRENT_UPLOADS="1", UPLOAD_IDLE_SECONDS="600") as server:
        yield server


@pytest.fixture
async def in_line(one_slot: ServerProcess) -> AsyncIterator[Client]:
    """A client of that server, while another has the slot."""
    async with Client(one_slot.url) as client, brought_to("at `ready`", one_slot, client):
        yield client


@pytest.fixture(scope="module")
def slow_verifier(prepared_data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    program = ("-m", "tests.servers.slow_verification")
    with started(prepared_data_dir, tmp_path_factory, program=program, VERIFICATION_SECONDS="0.5") as server:
        yield server


# --- what is wrong at any stage ---

TOO_LONG = json.dumps({"type": "cancel", "x": "x" * 64 * KIB})
NO_MESSAGES: dict[str, str] = {
    **{f"{name} as the message": text for name, text in (SCALARS | NO_JSON).items()},
    **{f"{name} as the type": f'{{"type": {text}}}' for name, text in SCALARS.items()},
    **{f"{kind} for a type": json.dumps({"type": kind}) for kind in (
        "Start", "START", " start", "start ", "start\x00", "ready", "queued", "progress", "success", "verifying",
        "error", "rewind",
        "cancelled", "websocket.send", "upload.changed", "__class__", "x" * 1000,
    )},
    "no type": '{"token": "x"}',
    "a type of another case": '{"Type": "start"}',
    "two objects": '{"type": "cancel"}{"type": "cancel"}',
    "a byte order mark": '\ufeff{"type": "cancel"}',
    "64 KiB and more": TOO_LONG,
    "half a MiB": json.dumps({"type": "cancel", "x": "x" * 512 * KIB}),
    "64 KiB in another script": json.dumps({"type": "cancel", "x": "म" * 22 * KIB}, ensure_ascii=False),
    "a type twice, the last is bad": '{"type": "cancel", "type": "x"}',
}  # fmt: skip


async def refusal_of(scene: Scene, data: bytes, code: str) -> str | None:
    await scene.socket.send(data)
    if len(data) > 1024 * KIB:
        code = "frame_too_large"
    return await scene.refused_with(code) or await scene.is_as_it_was()


@pytest.mark.parametrize("stage", EVERYWHERE)
async def test_what_is_no_message_is_refused_at_every_stage(
    server: ServerProcess, client: Client, treasure: Treasure, stage: str
) -> None:
    async def fault_of(text: str) -> str | None:
        async with brought_to(stage, server, client) as scene:
            await scene.socket.send(frame(TEXT, text.encode()))
            return await scene.refused_with("invalid_request") or await scene.is_stored_as_before()

    await all_cells("socket messages", NO_MESSAGES.items(), fault_of, at_once=SOCKETS_AT_ONCE)


async def test_what_is_no_message_is_refused_in_line(one_slot: ServerProcess, in_line: Client) -> None:
    async def fault_of(text: str) -> str | None:
        async with brought_to("in line", one_slot, in_line) as scene:
            await scene.socket.send(frame(TEXT, text.encode()))
            return await scene.refused_with("invalid_request")

    await all_cells("socket messages", NO_MESSAGES.items(), fault_of, at_once=SOCKETS_AT_ONCE)
    slots = (await in_line.call("GET", "system/upload-status"))["concurrency_manager"]
    assert (slots["active_uploads"], slots["queued_uploads"], slots["violations"]) == (1, 0, 0)


async def test_what_is_no_message_is_refused_while_verifying_and_the_file_is_completed(
    slow_verifier: ServerProcess,
) -> None:
    async def fault_of(text: str) -> str | None:
        async with Client(slow_verifier.url) as client, brought_to("verifying", slow_verifier, client) as scene:
            await scene.socket.send(frame(TEXT, text.encode()))
            if fault := await scene.refused_with("invalid_request"):
                return fault
            success = await client.send(scene.upload, None)  # type: ignore[arg-type]  # there is nothing to send
            return None if success["sha256"] == DIGEST else f"ended with {success}"

    await all_cells("socket messages", NO_MESSAGES.items(), fault_of, at_once=SOCKETS_AT_ONCE)


# --- `start` ---


async def test_only_the_right_token_starts(server: ServerProcess, client: Client, treasure: Treasure) -> None:
    async def fault_of(column: str) -> str | None:
        value = COLUMNS[column]
        is_string = value is None or value == "null" or (value.startswith('"') and column not in NO_JSON)
        code = "unauthorized" if is_string and len(value or "") < 64 * KIB else "invalid_request"
        async with brought_to("before `start`", server, client) as scene:
            data = frame(TEXT, body_with({"type": '"start"'}, "token", value))
            return await refusal_of(scene, data, code)

    await all_cells("start", ((column, column) for column in COLUMNS), fault_of, at_once=SOCKETS_AT_ONCE)


async def test_another_uploads_token_starts_nothing(server: ServerProcess, client: Client, treasure: Treasure) -> None:
    wrong = [
        treasure.finished.token, treasure.half.token, treasure.half.token[:-1], treasure.half.token.swapcase(),
        f" {treasure.half.token}",
        f"Bearer {treasure.half.token}", treasure.half.file_id,
    ]  # fmt: skip

    async def fault_of(token: str) -> str | None:
        async with brought_to("before `start`", server, client) as scene:
            await scene.socket.say(type="start", token=token)
            return await scene.refused_with("unauthorized") or await scene.is_as_it_was()

    await all_cells("start", ((token, token) for token in wrong), fault_of, at_once=SOCKETS_AT_ONCE)


IDS = [
    "no-uuid", "%00", "%FF", "%0d%0a", "..", "null", "00000000-0000-4000-8000-000000000000", "a" * 5000,
    "%F0%9F%98%80",
    "' OR 1=1", "%20", "00000000-0000-4000-8000-000000000000%0a", "{00000000-0000-4000-8000-000000000000}", "*", "-1",
    "urn:uuid:00000000-0000-4000-8000-000000000000",
]  # fmt: skip


@pytest.mark.parametrize("path", ["/ws_api/upload_parallel/", "/ws_api/upload/"])
async def test_any_id_is_accepted_and_not_found_after_the_start(
    server: ServerProcess, client: Client, treasure: Treasure, path: str
) -> None:
    async def fault_of(id: str) -> str | None:
        socket = await Socket.open(server.port, path + id.replace(" ", "%20"))
        if socket.status != 101:
            return f"refused with {socket.status}"
        try:
            await socket.say(type="start", token=treasure.half.token)
            return await Scene(server, client, treasure.half, socket).refused_with("not_found")
        finally:
            socket.abort()

    await all_cells("start", ((id[:60], id) for id in IDS), fault_of, at_once=SOCKETS_AT_ONCE)


# --- messages out of their order ---

START, FINISH, CANCEL = '{"type": "start", "token": "x"}', '{"type": "finish"}', '{"type": "cancel"}'
RESUME, RESUME_AT_1 = '{"type": "resume", "offset": 3}', '{"type": "resume", "offset": 1}'
GOES_ON = "goes on"  # nothing is answered, and the upload can be brought to its end on this very connection

ORDER: dict[str, dict[str, str]] = {
    "before `start`": dict.fromkeys([FINISH, CANCEL, RESUME], "invalid_request"),
    "at `ready`": {START: "invalid_request", RESUME: "invalid_request", FINISH: "incomplete", CANCEL: "cancelled"},
    "half sent": {START: "invalid_request", RESUME: "invalid_request", FINISH: "incomplete", CANCEL: "cancelled"},
    "told `incomplete`": {
        START: "invalid_request", RESUME: "invalid_request", FINISH: "incomplete", CANCEL: "cancelled",
    },
    "all sent": {START: "invalid_request", RESUME: "invalid_request", FINISH: "success", CANCEL: "cancelled"},
    "rewound": {
        START: "invalid_request", RESUME: GOES_ON, RESUME_AT_1: GOES_ON, FINISH: GOES_ON, CANCEL: "cancelled",
    },
}  # fmt: skip


async def outcome_fault(scene: Scene, expected: str) -> str | None:
    """What is wrong with what comes now: an error by its code, `success`, `cancelled`, or that it goes on."""
    if expected == GOES_ON:
        return await goes_on(scene)
    if expected == "incomplete":
        return await scene.refused_with(expected) or await goes_on(scene)
    if expected not in ("success", "cancelled"):
        return await scene.refused_with(expected) or await scene.is_as_it_was()
    heard = await scene.socket.until(expected)
    if isinstance(heard, Ending) or heard["type"] != expected:
        return f"answered {heard}"
    ending = await scene.socket.hear()
    return None if isinstance(ending, Ending) and ending.code == 1000 else f"closed with {ending}"


async def goes_on(scene: Scene) -> str | None:
    await scene.socket.say(type="resume", offset=scene.stored) if scene.stored == 1 else None
    await scene.socket.send(frame(BINARY, DATA[scene.stored :]))
    await scene.socket.say(type="finish", sha256=DIGEST)
    heard = await scene.socket.until("success")
    return None if not isinstance(heard, Ending) and heard["type"] == "success" else f"did not go on: {heard}"


async def test_a_message_out_of_its_order_has_the_code_of_its_stage(
    server: ServerProcess, client: Client, treasure: Treasure
) -> None:
    async def fault_of(cell: tuple[str, str]) -> str | None:
        stage, text = cell
        async with brought_to(stage, server, client) as scene:
            await scene.socket.send(frame(TEXT, text.encode()))
            if stage == "rewound" and text == RESUME_AT_1:
                await scene.socket.send(frame(BINARY, DATA[1:]))
                await scene.socket.say(type="finish")
                return await outcome_fault(scene, "success")
            return await outcome_fault(scene, ORDER[stage][text])

    cells = [(f"{stage}: {text}", (stage, text)) for stage, texts in ORDER.items() for text in texts]
    await all_cells("order", cells, fault_of, at_once=SOCKETS_AT_ONCE)


async def test_in_line_only_cancel_is_allowed(one_slot: ServerProcess, in_line: Client) -> None:
    data = {text: frame(TEXT, text.encode()) for text in (START, FINISH, RESUME, CANCEL)}
    data |= {"bytes": frame(BINARY, DATA), "no bytes": frame(BINARY)}

    async def fault_of(what: str) -> str | None:
        async with brought_to("in line", one_slot, in_line) as scene:
            await scene.socket.send(data[what])
            if what != CANCEL:
                return await scene.refused_with("invalid_request")
            return await outcome_fault(scene, "cancelled")

    await all_cells("order", ((what, what) for what in data), fault_of, at_once=SOCKETS_AT_ONCE)
    slots = (await in_line.call("GET", "system/upload-status"))["concurrency_manager"]
    assert (slots["active_uploads"], slots["queued_uploads"], slots["violations"]) == (1, 0, 0)


async def test_while_verifying_nothing_more_can_be_said_but_cancel(slow_verifier: ServerProcess) -> None:
    """What a client sent before it heard of it does no harm; a byte too many, or a second start, is refused."""
    expected = {
        START: "invalid_request",
        FINISH: "success",
        RESUME: "success",
        CANCEL: "cancelled",
        "bytes": "size_exceeded",
    }

    async def fault_of(what: str) -> str | None:
        async with Client(slow_verifier.url) as client, brought_to("verifying", slow_verifier, client) as scene:
            await scene.socket.send(frame(BINARY, b"x") if what == "bytes" else frame(TEXT, what.encode()))
            outcome = expected[what]
            if outcome in ("success", "cancelled"):
                return await outcome_fault(scene, outcome)
            if fault := await scene.refused_with(outcome):
                return fault
            success = await client.send(scene.upload, None)  # type: ignore[arg-type]  # the file is completed
            return None if success["sha256"] == DIGEST else f"ended with {success}"

    await all_cells("order", ((what, what) for what in expected), fault_of, at_once=SOCKETS_AT_ONCE)


async def test_what_follows_a_finish_at_once_changes_nothing_of_a_completed_file(
    server: ServerProcess, client: Client, treasure: Treasure
) -> None:
    """Sent in one piece with the `finish`: each may come before the verification, in it, or too late."""
    after = {
        "another finish": frame(TEXT, FINISH.encode()),
        "a resume": frame(TEXT, b'{"type": "resume", "offset": 5}'),
        "a cancel": frame(TEXT, CANCEL.encode()),
        "a start": frame(TEXT, START.encode()),
        "bytes": frame(BINARY, b"x"),
        "no bytes": frame(BINARY),
        "nonsense": frame(TEXT, b"nonsense"),
    }

    async def fault_of(what: str) -> str | None:
        async with brought_to("all sent", server, client) as scene:
            await scene.socket.send(frame(TEXT, FINISH.encode()) + after[what])
            while not isinstance(await scene.socket.hear(), Ending):
                pass
            status = await client.status(scene.upload)
            if status["status"] == "cancelled":
                return None if what == "a cancel" else "was cancelled"
            success = await client.send(scene.upload, Bytes(DATA))
            return None if success["sha256"] == DIGEST else f"ended with {success}"

    await all_cells("order", ((what, what) for what in after), fault_of, at_once=SOCKETS_AT_ONCE)


# --- fields ---


async def test_an_offset_is_a_whole_number(server: ServerProcess, client: Client, treasure: Treasure) -> None:
    """While a `resume` is waited for, one with another offset than the latest changes nothing."""
    numbers = {column for column, text in AS_JSON.items() if text.lstrip("-").isdigit()}

    async def fault_of(column: str) -> str | None:
        async with brought_to("rewound", server, client) as scene:
            data = frame(TEXT, body_with({"type": '"resume"'}, "offset", COLUMNS[column]))
            if column not in numbers:
                return await refusal_of(scene, data, "invalid_request")
            await scene.socket.send(data)
            return await (goes_on_resumed(scene) if column == "one" else goes_on(scene))

    await all_cells("fields", ((column, column) for column in COLUMNS), fault_of, at_once=SOCKETS_AT_ONCE)


async def goes_on_resumed(scene: Scene) -> str | None:
    await scene.socket.send(frame(BINARY, DATA[1:]))
    await scene.socket.say(type="finish")
    return await outcome_fault(scene, "success")


async def test_a_digest_is_64_lower_case_digits(server: ServerProcess, client: Client, treasure: Treasure) -> None:
    async def fault_of(column: str) -> str | None:
        async with brought_to("all sent", server, client) as scene:
            data = frame(TEXT, body_with({"type": '"finish"'}, "sha256", COLUMNS[column]))
            if column not in ("missing", "null", "64 lower-case digits"):
                return await refusal_of(scene, data, "invalid_request")
            await scene.socket.send(data)
            if column == "64 lower-case digits":
                return await scene.refused_with("checksum_mismatch")
            return await outcome_fault(scene, "success")

    await all_cells("fields", ((column, column) for column in COLUMNS), fault_of, at_once=SOCKETS_AT_ONCE)


async def test_unknown_fields_are_ignored(server: ServerProcess, client: Client, treasure: Treasure) -> None:
    async def fault_of(column: str) -> str | None:
        value = COLUMNS[column]
        if value is not None and len(value) > 60 * KIB:
            value = value[: 60 * KIB] + '"'
        async with brought_to("all sent", server, client) as scene:
            await scene.socket.send(frame(TEXT, body_with({"type": '"finish"'}, "unknown", value)))
            return await outcome_fault(scene, "success")

    await all_cells("fields", ((column, column) for column in AS_JSON), fault_of, at_once=SOCKETS_AT_ONCE)


async def test_no_slot_stays_behind(client: Client, slow_verifier: ServerProcess, treasure: Treasure) -> None:
    async with AsyncExitStack() as stack:
        for talker in (client, await stack.enter_async_context(Client(slow_verifier.url))):
            await slots_are_free(talker)


async def test_after_all_of_it_the_half_upload_goes_on_and_ends_equal(laid_down: Treasure, client: Client) -> None:
    await laid_down.ends_equal(client)
