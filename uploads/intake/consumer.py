"""The upload WebSocket as a Channels consumer: it only passes on; `session.py` does the talking."""

import asyncio
import contextlib
import json
from typing import Any

from channels.consumer import AsyncConsumer
from channels.exceptions import StopConsumer
from django.db import DatabaseError, InterfaceError
from django.utils import translation

from uploads import hints, links
from uploads.errors import UploadError
from uploads.intake import protocol
from uploads.intake.events import ConnectionLost
from uploads.intake.faults import internal
from uploads.intake.handshake import come_in, comes_from_a_foreign_page
from uploads.intake.session import UploadSession
from uploads.language import language_of
from uploads.waiting import rest_after

SEND_SECONDS = 30.0


class UploadConsumer(AsyncConsumer):
    """One upload connection.

    Channels closes old database connections before every message it dispatches, which costs a thread hop; binary
    frames are far more frequent than that is worth, so that they are taken before it (`_only_control`).
    """

    channel_layer_alias = hints.NO_CHANNEL_LAYER
    session: UploadSession | None = None
    task: asyncio.Task[None] | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self._receive = receive
        try:
            await super().__call__(scope, self._only_control, send)
        finally:
            await self._end(1006)

    async def _only_control(self) -> Any:
        while True:
            message = await self._receive()
            if message["type"] != "websocket.receive" or message.get("bytes") is None:
                return message
            if self.session is not None:
                self.session.frame(message["bytes"])

    async def websocket_connect(self, message: Any) -> None:
        if comes_from_a_foreign_page(self.scope):
            await self.send({"type": "websocket.close"})  # before accept: 403
            raise StopConsumer
        self.language = language_of(self.scope)
        await self.send({"type": "websocket.accept"})
        socket = Socket(self)
        try:
            persons = await come_in(self.scope)
        except (UploadError, DatabaseError, InterfaceError) as error:
            refusal = error if isinstance(error, UploadError) else internal(error)
            rest_after(refusal, self.scope)
            await self._turn_away(socket, refusal)
            return
        self.session = UploadSession(self.scope["url_route"]["kwargs"]["file_id"], socket, persons)
        self.task = asyncio.create_task(self.session.run())

    async def _turn_away(self, socket: "Socket", error: UploadError) -> None:
        """What the client still sends is dropped, until it has closed as well."""
        with contextlib.suppress(ConnectionLost):
            await socket.send_error(error)
            await socket.close(error.close_code or 1008, error.code)

    async def websocket_receive(self, message: Any) -> None:
        if self.session is not None and message.get("text") is not None:
            self.session.text(message["text"])

    async def websocket_disconnect(self, message: Any) -> None:
        await self._end(message.get("code") or 1006)
        raise StopConsumer

    async def _end(self, code: int) -> None:
        if self.task is not None and self.session is not None and not self.task.done():
            self.session.lost(code)
            await asyncio.wait({self.task})


class Socket:
    """The `Connection` of a consumer. A peer that does not take a message for 30 s is given up on."""

    def __init__(self, consumer: UploadConsumer) -> None:
        self._consumer = consumer

    async def send(self, message: dict[str, Any]) -> None:
        await self._pass_on({"type": "websocket.send", "text": json.dumps(message, separators=(",", ":"))})

    async def send_error(self, error: UploadError) -> None:
        with translation.override(self._consumer.language):
            message = protocol.error_message(error)
        await self.send(message)

    async def close(self, code: int, reason: str) -> None:
        await self._pass_on({"type": "websocket.close", "code": code, "reason": reason})

    def links(self, file_id: str) -> dict[str, str]:
        origin = links.origin_of_scope(self._consumer.scope)
        return {"value": links.download_path(file_id), "share_url": links.share_url(origin, file_id)}

    async def _pass_on(self, message: dict[str, Any]) -> None:
        try:
            async with asyncio.timeout(SEND_SECONDS):
                await self._consumer.send(message)
        except (OSError, RuntimeError, TimeoutError) as error:
            # uvicorn raises an OSError, daphne nothing, for a peer that is gone; RuntimeError: closed already.
            raise ConnectionLost(1006) from error
