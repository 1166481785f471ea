"""Hypothesis talks to an upload socket at random, and a small model of wire.md says what each answer may be.

One upload an example: connections, frames and messages in any order, closes, second connections, cancels over HTTP,
digests right and wrong, bytes that the storage loses. At the end the file is complete and equal, or in the state that
the model names. Used by the tests with few examples and by `make trials` with many.
"""

import asyncio
import hashlib
import json
import os
import struct
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import HealthCheck, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from devtools.client import Client, Refused, Upload
from devtools.raw_socket import BINARY, CLOSE, TEXT, Ending, Socket, frame
from devtools.server_process import ServerProcess

# For the server that is talked to: lost connections keep their slots a while, and no talk is to wait for that.
ENVIRONMENT = {
    "MAX_CONCURRENT_UPLOADS": "300",
    "MAX_CONCURRENT_UPLOADS_PER_USER": "300",
    "UPLOAD_WINDOW_BYTES": str(2 * 1024 * 1024),
    "UPLOAD_IDLE_SECONDS": "600",
}
T = TypeVar("T")
MOVES_BEFORE_AN_END = 4
SIZES = [1000, 65_536, 200_000, 5, 1, 0]
SUPERSEDED = Ending(4409, "superseded")


class Bytes:
    def __init__(self, data: bytes) -> None:
        self.data, self.size = data, len(data)

    def read(self, offset: int, length: int) -> bytes:
        return self.data[offset : offset + length]


class UploadMachine(RuleBasedStateMachine):
    """The model: `status`, and between `floor` and `ceiling` how many bytes are stored.

    `floor` was told as stored, `ceiling` was sent. On the live connection `sent` is how far the client has come, and
    `rewound` the offset that the server waits for a `resume` with.
    """

    server: ServerProcess

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.client = Client(self.server.url)
        self.run(self.client.__aenter__())
        self.live: Socket | None = None
        self.fresh: Socket | None = None
        self.status = "pending"
        self.floor = self.ceiling = self.sent = 0
        self.rewound: int | None = None
        self.moves = 0  # what moved the upload; before a few of them nothing ends it
        self.asked: set[tuple[str, str, int]] = set()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    @initialize(size=st.sampled_from(SIZES), announced=st.booleans())
    def announce(self, size: int, announced: bool) -> None:
        self.data = hashlib.shake_256(str(size).encode()).digest(size)
        self.digest = hashlib.sha256(self.data).hexdigest()
        more = {"sha256": self.digest} if announced else {}
        self.upload: Upload = self.run(self.client.initiate("model.bin", size, **more))

    # --- connections ---

    @rule()
    def rest(self) -> None:
        """What is left to do where all is said."""

    @precondition(lambda self: self.fresh is None and self.is_new("connect"))
    @rule()
    def connect(self) -> None:
        self.note("connect")
        self.fresh = self.run(Socket.open(self.server.port, self.upload.answer["upload_url"]))
        assert self.fresh.status == 101

    @precondition(lambda self: self.live is None and self.status == "pending")
    @rule()
    def begin(self) -> None:
        if self.fresh is None:
            self.connect()
        self.start("right")

    @precondition(lambda self: self.fresh is not None)
    @rule(token=st.sampled_from(["right"] * 6 + ["wrong", "none"]))
    def start(self, token: str) -> None:
        socket, self.fresh = self.fresh, None
        assert socket is not None
        words = {"right": {"token": self.upload.token}, "wrong": {"token": "x"}, "none": {}}[token]
        self.run(socket.say(type="start", **words))
        if token != "right":
            return self.refused(socket, "unauthorized", 1008)
        if self.status == "completed":
            return self.succeeds(socket)
        if self.status != "pending":
            return self.refused(socket, "gone", 1008)
        self.moves += 1
        older, self.live = self.live, socket
        ready = self.heard(socket, "ready", "queued")
        while ready["type"] == "queued":
            ready = self.heard(socket, "ready", "queued")
        assert self.floor <= ready["offset"] <= self.ceiling, (ready, self.floor, self.ceiling)
        assert (ready["size"], ready["chunk_size"], ready["window"]) == (
            len(self.data), self.upload.answer["chunk_size"], self.upload.answer["window"],
        )  # fmt: skip
        self.sent = self.floor = self.ceiling = ready["offset"]
        self.rewound = None
        if older is not None:
            assert self.ending(older) == SUPERSEDED
        return None

    @precondition(lambda self: self.fresh is not None and self.is_new("early"))
    @rule(what=st.sampled_from(["finish", "cancel", "resume", "bytes", "nonsense"]))
    def speak_before_the_start(self, what: str) -> None:
        self.note("early")
        socket, self.fresh = self.fresh, None
        assert socket is not None
        self.run(socket.send(self.words(what)))
        self.refused(socket, "invalid_request", 1008)

    @precondition(lambda self: self.live is not None)
    @rule(how=st.sampled_from([1000, 1001, "abort"]))
    def leave(self, how: int | str) -> None:
        socket = self.take_live()
        if how == "abort":
            return socket.abort()
        self.run(socket.send(frame(CLOSE, struct.pack("!H", int(how)))))
        ending = self.ending(socket)
        assert ending.code in (how, 1006), ending
        return None

    # --- bytes ---

    @precondition(lambda self: self.live is not None and self.rewound is None)
    @rule(share=st.floats(0, 1), parts=st.integers(1, 4))
    def send(self, share: float, parts: int) -> None:
        """Some of what is left, in so many frames; the server reports all of it in time."""
        assert self.live is not None
        end = self.sent + round((len(self.data) - self.sent) * share)
        step = max(1, (end - self.sent + parts - 1) // parts)
        begin = self.sent
        while self.sent < end:
            self.run(self.live.send(frame(BINARY, self.data[self.sent : min(self.sent + step, end)])))
            self.sent = min(self.sent + step, end)
        self.moves += 1
        self.ceiling = max(self.ceiling, self.sent)
        if end == begin:
            return self.run(self.live.send(frame(BINARY)))
        while (progress := self.heard(self.live, "progress"))["received"] < end:
            assert begin <= progress["stored"] <= progress["received"], progress
        assert progress["received"] == end
        while progress["stored"] < end:
            progress = self.heard(self.live, "progress")
        self.floor = end
        assert progress["value"] == (100 if end == len(self.data) else end * 1000 // len(self.data) / 10)
        return None

    @precondition(lambda self: self.live is not None and self.rewound is None and self.sent < len(self.data))
    @rule(share=st.floats(0.01, 0.5))
    def send_some(self, share: float) -> None:
        """The plain thing, so that it happens most often."""
        self.send(share, 1)

    @precondition(lambda self: self.live is not None and self.rewound is None and self.sent < len(self.data))
    @rule(share=st.floats(0.01, 1), then=st.sampled_from(["abort", "close", "connect"]))
    def send_and_leave(self, share: float, then: str) -> None:
        """Nobody hears how much of it was stored: anything between nothing and all."""
        socket = self.take_live()
        end = self.sent + max(1, round((len(self.data) - self.sent) * share))
        self.run(socket.send(frame(BINARY, self.data[self.sent : end])))
        self.ceiling = end
        if then == "abort":
            socket.abort()
        elif then == "close":
            self.run(socket.send(frame(CLOSE, struct.pack("!H", 1000))))
            assert self.ending(socket).code in (1000, 1006)
        else:
            self.live = socket  # it is still there when the next connection comes
            if self.fresh is None:
                self.connect()
            self.start("right")

    @precondition(lambda self: self.live is not None and self.rewound is None)
    @rule()
    def send_a_byte_too_many(self) -> None:
        socket = self.take_live()
        self.run(socket.send(frame(BINARY, bytes(len(self.data) - self.sent + 1))))
        self.refused(socket, "size_exceeded", 1008)

    @precondition(lambda self: self.live is not None and self.rewound is None and 0 < self.sent < len(self.data))
    @rule(share=st.floats(0, 0.99))
    def lose_bytes(self, share: float) -> None:
        """The storage has less than it was given: the next bytes make it tell the client to go back."""
        assert self.live is not None
        if self.floor != self.sent:
            return
        left = int(self.sent * share)
        [part] = Path(self.server.data_dir).rglob(f"{self.upload.file_id}.part")
        os.truncate(part, left)
        self.run(self.live.send(frame(BINARY, self.data[self.sent : self.sent + 1])))
        rewind = self.heard(self.live, "rewind")
        assert rewind["offset"] == left
        assert rewind["reason"]
        self.sent = self.floor = self.ceiling = self.rewound = left

    @precondition(lambda self: self.live is not None and self.rewound is not None)
    @rule(what=st.sampled_from(["resume", "bytes", "finish", "older resume", "resume"]))
    def answer_a_rewind(self, what: str) -> None:
        """All but the `resume` with the latest offset is dropped."""
        assert self.live is not None
        assert self.rewound is not None
        if what == "bytes":
            self.run(self.live.send(frame(BINARY, b"late")))
        elif what == "finish":
            self.run(self.live.say(type="finish"))
        else:
            offset = self.rewound + (what == "older resume")
            self.run(self.live.say(type="resume", offset=offset))
            if what == "resume":
                self.rewound = None

    # --- messages ---

    @precondition(lambda self: self.live is not None and self.rewound is None)
    @rule(digest=st.sampled_from(["right", "none", "right", "none", "wrong", "short", "null"]))
    def finish(self, digest: str) -> None:
        assert self.live is not None
        if digest == "wrong" and self.moves < MOVES_BEFORE_AN_END:
            digest = "short"
        value = {"right": self.digest, "wrong": "0" * 64, "short": "abc", "null": None, "none": None}[digest]
        self.run(self.live.say(type="finish", **({} if digest == "none" else {"sha256": value})))
        if digest == "short":
            return self.refused(self.take_live(), "invalid_request", 1008)
        if self.sent < len(self.data):
            error = self.heard(self.live, "error")
            assert (error["code"], error["retryable"]) == ("incomplete", True), error
            return None
        self.heard(self.live, "verifying")
        if digest == "wrong":
            self.status = "failed"
            return self.refused(self.take_live(), "checksum_mismatch", 1008)
        self.status = "completed"
        return self.succeeds(self.take_live())

    @precondition(lambda self: self.live is not None and self.moves >= MOVES_BEFORE_AN_END)
    @rule()
    def cancel(self) -> None:
        socket = self.take_live()
        self.run(socket.say(type="cancel"))
        self.heard(socket, "cancelled")
        assert self.ending(socket).code == 1000
        self.status = "cancelled"

    @precondition(lambda self: self.live is not None)
    @rule(what=st.sampled_from(["start", "nonsense", "resume"]))
    def speak_out_of_turn(self, what: str) -> None:
        if what == "resume" and self.rewound is not None:
            return
        socket = self.take_live()
        self.run(socket.send(self.words(what)))
        self.refused(socket, "invalid_request", 1008)

    # --- over HTTP ---

    def is_new(self, what: str) -> bool:
        """Whether this was not asked yet since something changed: an answer that cannot differ teaches nothing."""
        return (what, self.status, self.moves) not in self.asked

    def note(self, what: str) -> None:
        self.asked.add((what, self.status, self.moves))

    @precondition(lambda self: self.moves >= MOVES_BEFORE_AN_END and self.is_new("cancel"))
    @rule(token=st.sampled_from(["right", "wrong"]))
    def cancel_over_http(self, token: str) -> None:
        self.note("cancel")
        code = self.called("POST", f"upload/cancel/{self.upload.file_id}", token)
        if token == "wrong":
            assert code == "unauthorized"
        elif self.status == "pending":
            assert code == "ok"
            self.status = "cancelled"
            if self.live is not None:
                self.refused(self.take_live(), "cancelled", 1000)
        else:
            assert code == {"completed": "wrong_state", "cancelled": "ok"}.get(self.status, "gone")

    @precondition(lambda self: self.is_new("delete"))
    @rule()
    def delete_over_http(self) -> None:
        self.note("delete")
        code = self.called("DELETE", f"files/{self.upload.file_id}", "right")
        if self.status == "completed":
            assert code == "ok"
            self.status = "deleted"
        else:
            assert code == ("gone" if self.status == "deleted" else "wrong_state")

    @precondition(lambda self: self.is_new("status"))
    @rule()
    def ask_for_the_status(self) -> None:
        self.note("status")
        if self.status == "deleted":
            assert self.called("GET", f"upload/status/{self.upload.file_id}", "right") == "gone"
            return
        status = self.run(self.client.status(self.upload))
        shown = {"pending": {"pending", "uploading", "queued"}}.get(self.status, {self.status})
        assert status["status"] in shown, status
        if self.status == "pending":
            assert self.floor <= status["offset"] <= self.ceiling, (status, self.floor, self.ceiling)

    # --- the end ---

    def teardown(self) -> None:
        try:
            if hasattr(self, "upload"):
                self.run(self.comes_to_its_end())
        finally:
            for socket in (self.live, self.fresh):
                if socket is not None:
                    socket.abort()
            self.run(self.client.__aexit__())
            self.runner.close()

    async def comes_to_its_end(self) -> None:
        if self.status == "pending":
            success = await self.client.send(self.upload, Bytes(self.data), sha256=self.digest)
            ready = self.upload.of_type("ready")[0]
            assert self.floor <= ready["offset"] <= self.ceiling, (ready, self.floor, self.ceiling)
            assert success["sha256"] == self.digest
            self.status = "completed"
        if self.status == "completed":
            assert await self.client.digest_of_download(self.upload) == self.digest
            return
        async with self.client.http.get(self.upload.answer["download_url"]) as response:
            assert response.status == 410, (response.status, self.status)
        assert not [path for path in Path(self.server.data_dir).rglob(f"{self.upload.file_id}*") if path.is_file()]

    # --- words ---

    def words(self, what: str) -> bytes:
        if what == "bytes":
            return frame(BINARY, b"x")
        return frame(TEXT, b"nonsense" if what == "nonsense" else json.dumps(MESSAGES[what]).encode())

    def take_live(self) -> Socket:
        socket, self.live = self.live, None
        assert socket is not None
        return socket

    def heard(self, socket: Socket, *kinds: str) -> dict[str, Any]:
        """The next message of these types; progress may come before any."""
        message = self.run(socket.hear())
        while not isinstance(message, Ending) and message["type"] == "progress" and "progress" not in kinds:
            message = self.run(socket.hear())
        assert not isinstance(message, Ending), message
        assert message["type"] in kinds, message
        return message

    def refused(self, socket: Socket, code: str, close: int) -> None:
        error = self.heard(socket, "error")
        assert error["code"] == code, error
        assert self.run(socket.hear()) == Ending(close, code)

    def succeeds(self, socket: Socket) -> None:
        success = self.heard(socket, "success")
        assert (success["sha256"], success["size"]) == (self.digest, len(self.data))
        assert self.ending(socket).code == 1000

    def ending(self, socket: Socket) -> Ending:
        while not isinstance(message := self.run(socket.hear()), Ending):
            assert message["type"] in ("progress", "error", "queued"), message
        return message

    def called(self, method: str, path: str, token: str) -> str:
        """The code of a call's refusal, or `ok`."""
        try:
            self.run(self.client.call(method, path, token=self.upload.token if token == "right" else "x"))
        except Refused as refused:
            return refused.code
        return "ok"


MESSAGES: dict[str, dict[str, Any]] = {
    "start": {"type": "start", "token": "x"},
    "finish": {"type": "finish"},
    "cancel": {"type": "cancel"},
    "resume": {"type": "resume", "offset": 0},
}


def compare(server: ServerProcess, examples: int, steps: int, with_seed: int | None = None) -> None:
    """Talk to the server so many times and hold each answer against the model. Raises `AssertionError`, shrunk.

    Without a seed it is the same talk every time.
    """

    class Machine(UploadMachine):
        pass

    Machine.server = server
    if with_seed is not None:
        seed(with_seed)(Machine)
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            derandomize=with_seed is None,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
