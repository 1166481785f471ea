"""Whose turn it is, and what a turn is of."""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from directdrivex.turns import LARGE_BYTES, HandshakesInTurn, InTurn
from uploads.delivery.lasting import end_turn
from uploads.time_shares import Share
from uploads.turns import Turns, WithRests


class Line:
    """People who want turns, each by a letter; `order` has those who got one, in their order."""

    def __init__(self, turns: Turns) -> None:
        self.turns, self.order = turns, ""
        self.tasks: list[asyncio.Task[None]] = []

    async def want(self, persons: str) -> None:
        for person in persons:
            self.tasks.append(asyncio.create_task(self._take(person)))
        await settled()

    async def _take(self, person: str) -> None:
        await self.turns.take(person)
        self.order += person

    async def give_back(self, persons: str) -> None:
        for person in persons:
            self.turns.give_back(person)
        await settled()


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_who_wants_more_than_their_share_waits_while_others_come_in() -> None:
    line = Line(Turns(at_once=5, each=3))
    await line.want("aaaaaaab")
    assert line.order == "aaab"


async def test_a_free_turn_goes_to_another_person_who_waits_and_not_to_who_asked_most() -> None:
    line = Line(Turns(at_once=2, each=2))
    await line.want("aaaaaabcb")
    assert line.order == "aa"
    await line.give_back("aa")
    assert line.order == "aabc"
    await line.give_back("bc")
    assert line.order == "aabcab"
    await line.give_back("ab")
    assert line.order == "aabcabaa"


async def test_who_goes_away_in_the_line_leaves_no_turn_taken() -> None:
    turns = Turns(at_once=1, each=1)
    line = Line(turns)
    await line.want("abc")
    line.tasks[1].cancel()
    await line.give_back("a")
    line.tasks[2].cancel()
    assert line.order == "ac"
    await line.give_back("c")
    await line.want("d")
    assert line.order == "acd"


async def test_who_goes_away_just_when_it_is_their_turn_leaves_it_to_the_next() -> None:
    line = Line(Turns(at_once=1, each=1))
    await line.want("abc")
    line.turns.give_back("a")
    line.tasks[1].cancel()
    await settled()
    assert line.order == "ac"


# --- A share of the time ---


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def a_share(clock: Clock, *, others: bool = True) -> Share:
    return Share(lambda person: others, part=0.25, ahead=0.1, clock=clock)


def test_who_keeps_to_their_share_never_waits() -> None:
    share = a_share(clock := Clock())
    for _ in range(1000):
        share.take("a", 0.02)
        clock.now += 0.081
        assert share.wait("a") == 0.0


def test_who_takes_more_waits_until_they_are_even_and_nobody_else_does() -> None:
    share = a_share(clock := Clock())
    for _ in range(10):
        share.take("a", 0.1)
    assert share.wait("a") == pytest.approx(10 * 0.1 / 0.25 - 0.1 / 0.25)
    assert share.wait("b") == 0.0
    clock.now += 3.7
    assert share.wait("a") == 0.0


def test_who_is_alone_may_have_all_of_it() -> None:
    share = a_share(Clock(), others=False)
    share.take("a", 100)
    assert share.wait("a") == 0.0


def test_who_took_more_waits_no_longer_than_others_need_it() -> None:
    others = True
    share = Share(lambda person: others, part=0.25, ahead=0.1, clock=Clock())
    for _ in range(10):
        share.take("a", 0.1)
    assert share.wait("a") > 1.0
    others = False
    assert share.wait("a") == 0.0


def test_what_took_long_was_not_work_alone() -> None:
    """Whose request waited a second for Drive, or half a minute for a locked database, need not wait for the next."""
    share = a_share(Clock())
    share.take("a", 30.0)
    assert share.wait("a") == 0.0
    share.take("a", 30.0)
    assert 0.0 < share.wait("a") < 1.0


def test_whoever_is_even_again_is_forgotten() -> None:
    share = a_share(clock := Clock())
    for person in range(1000):
        share.take(str(person), 0.01)
        clock.now += 0.01
    assert len(share) < 10


async def test_who_used_their_share_up_gets_their_next_turn_later_and_others_get_theirs_at_once() -> None:
    line = Line(Turns(at_once=5, each=2, share=Share(lambda person: person == "a", part=0.25, ahead=0.0)))
    await line.want("aa")
    await asyncio.sleep(0.1)  # for which they wait four times as long
    await line.give_back("aa")
    await line.want("aaabb")
    assert line.order == "aabb"
    async with asyncio.timeout(5):
        while line.order != "aabbaa":
            await asyncio.sleep(0.01)


async def test_who_goes_away_while_their_share_is_used_up_leaves_their_turn_to_who_comes_next() -> None:
    line = Line(Turns(at_once=5, each=1, share=Share(lambda person: True, part=0.25, ahead=0.0)))
    await line.want("a")
    await asyncio.sleep(0.01)
    await line.give_back("a")
    await line.want("aa")
    line.tasks[1].cancel()
    async with asyncio.timeout(5):
        await line.tasks[2]
    assert line.order == "aa"


# --- Requests ---


class Request:
    """A request of one client: `parts` of its body come as they are let, and it goes away when it is told to."""

    def __init__(self, client: str = "192.0.2.1", path: str = "/") -> None:
        self.scope: dict[str, Any] = {"type": "http", "client": (client, 1), "path": path, "headers": []}
        self.incoming: asyncio.Queue[Any] = asyncio.Queue()
        self.sent: list[str] = []
        self.task: asyncio.Task[None] | None = None

    async def ask(self, application: Any, *parts: bytes, ends: bool = True) -> "Request":
        self.task = asyncio.create_task(application(self.scope, self.incoming.get, self.send))
        await self.part(*(parts or (b"",)), ends=ends)
        return self

    async def part(self, *parts: bytes, ends: bool = True) -> None:
        for number, part in enumerate(parts):
            more = not ends or number < len(parts) - 1
            self.incoming.put_nowait({"type": "http.request", "body": part, "more_body": more})
        await settled()

    async def go_away(self) -> None:
        self.incoming.put_nowait({"type": "http.disconnect"})
        await settled()

    async def send(self, message: Any) -> None:
        self.sent.append(message["type"])


class Application:
    """Notes the bodies that it is given; answers when it is let, and ends when it is let once more."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.answering, self.ending = asyncio.Event(), asyncio.Event()

    async def __call__(self, scope: Any, receive: Callable[[], Any], send: Any) -> None:
        self.bodies.append((await receive())["body"])
        await self.answering.wait()
        await send({"type": "http.response.start"})
        await self.ending.wait()
        await send({"type": "http.response.body"})


async def turned_away(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "turned away"})


def in_turn(application: Any, turns: Turns, most_waiting: int = 1000) -> InTurn:
    return InTurn(application, turns, turned_away, most_waiting)


async def test_a_request_whose_body_is_on_its_way_takes_no_turn() -> None:
    inner = Application()
    outer = in_turn(inner, Turns(at_once=1, each=1))
    slow = await Request().ask(outer, b"ab", ends=False)
    await Request().ask(outer, b"whole")
    assert inner.bodies == [b"whole"]
    inner.answering.set()
    await slow.part(b"c")
    assert inner.bodies == [b"whole", b"abc"]


async def test_a_large_body_is_read_on_when_there_is_room_for_it_and_small_ones_pass() -> None:
    inner = Application()
    outer = in_turn(inner, Turns(at_once=9, each=9))
    outer.large_bodies = Turns(at_once=1, each=1)
    begins = b"x" * (LARGE_BYTES + 1)
    first = await Request("192.0.2.1").ask(outer, begins, ends=False)
    second = await Request("192.0.2.2").ask(outer, begins, b"rest")
    await Request("192.0.2.3").ask(outer, b"small")
    assert inner.bodies == [b"small"]
    assert second.incoming.qsize() == 1, "the rest is not read"
    await first.go_away()
    await settled()
    assert inner.bodies == [b"small", begins + b"rest"]
    third = await Request("192.0.2.4").ask(outer, begins, b"last")
    assert third.incoming.qsize() == 1, "one that is worked on is in memory still"
    inner.answering.set()
    inner.ending.set()
    await settled()
    await settled()
    assert inner.bodies[-1] == begins + b"last"


async def test_so_many_large_bodies_of_one_person_wait_for_room_and_one_more_is_refused() -> None:
    inner = Application()
    outer = in_turn(inner, Turns(at_once=9, each=9))
    outer.large_bodies, outer.most_large_waiting = Turns(at_once=9, each=1), 2
    begins = b"x" * (LARGE_BYTES + 1)
    for _ in range(3):
        await Request().ask(outer, begins, ends=False)
    refused = await Request().ask(outer, begins, ends=False)
    assert refused.sent == ["turned away"]
    await Request("192.0.2.2").ask(outer, begins, b"rest")
    await Request().ask(outer, b"small")
    assert inner.bodies == [begins + b"rest", b"small"]


async def test_an_answer_that_is_being_sent_takes_no_turn() -> None:
    inner = Application()
    outer = in_turn(inner, Turns(at_once=1, each=1))
    first = await Request().ask(outer)
    second = await Request().ask(outer)
    assert len(inner.bodies) == 1
    inner.answering.set()
    await settled()
    assert len(inner.bodies) == 2
    assert first.sent == second.sent == ["http.response.start"]


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", "/static/uploads/css/page.css"])
async def test_whether_the_program_lives_is_told_though_every_turn_is_taken(path: str) -> None:
    inner = Application()
    outer = in_turn(inner, Turns(at_once=1, each=1))
    await Request().ask(outer, b"first")
    await Request().ask(outer, b"waits")
    await Request(path=path).ask(outer, b"lives")
    assert inner.bodies == [b"first", b"lives"]


async def test_who_waits_for_a_turn_and_goes_away_is_never_worked_on() -> None:
    inner = Application()
    outer = in_turn(inner, Turns(at_once=1, each=1))
    await Request().ask(outer, b"first")
    gone = await Request().ask(outer, b"gone")
    await gone.go_away()
    assert gone.task is not None
    assert gone.task.done()
    inner.answering.set()
    await settled()
    await Request("192.0.2.2").ask(outer, b"another")
    assert inner.bodies == [b"first", b"another"]


async def test_an_application_that_fails_gives_its_turn_back() -> None:
    async def fails(scope: Any, receive: Any, send: Any) -> None:
        raise RuntimeError

    outer = in_turn(fails, Turns(at_once=1, each=1))
    for _ in range(2):
        request = await Request().ask(outer)
        assert request.task is not None
        assert isinstance(request.task.exception(), RuntimeError)


async def test_the_application_hears_that_its_client_went_away() -> None:
    heard = []

    async def listens(scope: Any, receive: Any, send: Any) -> None:
        heard.append((await receive())["type"])
        heard.append((await receive())["type"])

    request = await Request().ask(in_turn(listens, Turns(at_once=1, each=1)))
    assert heard == ["http.request"]
    await request.go_away()
    assert heard == ["http.request", "http.disconnect"]


async def refuse(answered: list[str], scope: Any, receive: Any, send: Any) -> None:
    """An application that tells everybody to rest, and notes whom."""
    answered.append(scope["client"][0])
    end_turn(scope, rest=0.05)
    await send({"type": "http.response.start"})


async def test_after_an_answer_to_a_flood_its_sender_rests_and_nobody_else_waits_for_that() -> None:
    answered: list[str] = []
    outer = in_turn(partial(refuse, answered), Turns(at_once=1, each=1))
    flood = [await Request("192.0.2.1").ask(outer) for _ in range(2)]
    await Request("192.0.2.2").ask(outer)
    assert answered == ["192.0.2.1", "192.0.2.2"]
    async with asyncio.timeout(5):
        await asyncio.gather(*(request.task for request in flood if request.task))
    assert answered == ["192.0.2.1", "192.0.2.2", "192.0.2.1"]


async def test_a_large_body_of_a_flood_leaves_no_room_at_once_for_the_next_of_its_sender() -> None:
    answered: list[str] = []
    outer = in_turn(partial(refuse, answered), Turns(at_once=9, each=9))
    outer.large_bodies = Turns(at_once=1, each=1)
    large = b"x" * (LARGE_BYTES + 1)
    flood = [await Request("192.0.2.1").ask(outer, large, b"rest") for _ in range(2)]
    await Request("192.0.2.2").ask(outer, large, b"rest")
    await settled()
    assert answered == ["192.0.2.1", "192.0.2.2"]
    async with asyncio.timeout(5):
        await asyncio.gather(*(request.task for request in flood if request.task))
    assert answered == ["192.0.2.1", "192.0.2.2", "192.0.2.1"]


async def test_who_has_gone_when_their_turn_comes_is_never_worked_on() -> None:
    inner = Application()
    request = Request()
    request.incoming.put_nowait({"type": "http.request", "body": b"gone", "more_body": False})
    request.incoming.put_nowait({"type": "http.disconnect"})
    turns = Turns(at_once=1, each=1)
    await in_turn(inner, turns)(request.scope, request.incoming.get, request.send)
    assert inner.bodies == []
    assert turns.is_free("address:192.0.2.1")


async def test_so_many_requests_of_one_person_wait_and_one_more_is_refused() -> None:
    inner = Application()
    outer = in_turn(inner, Turns(at_once=9, each=1), most_waiting=2)
    for _ in range(3):
        await Request().ask(outer, b"waits")
    refused = await Request().ask(outer, b"refused")
    assert refused.sent == ["turned away"]
    await Request("192.0.2.2").ask(outer, b"another")
    inner.answering.set()
    for _ in range(5):
        await settled()
    assert inner.bodies == [b"waits", b"another", b"waits", b"waits"]


async def test_beside_an_upload_who_floods_what_is_apart_waits_and_the_next_who_asks_does_not() -> None:
    async def works(scope: Any, receive: Any, send: Any) -> None:
        answered.append(scope["client"][0])
        await asyncio.sleep(0.09)
        await send({"type": "http.response.start"})

    answered: list[str] = []
    outer = in_turn(works, Turns(at_once=9, each=9))
    outer.turns_apart = Turns(9, 9, Share(lambda person: True))
    for _ in range(4):
        flood = await Request("192.0.2.1", "/healthz").ask(outer)
        assert flood.task is not None
        await flood.task
    answered.clear()
    await Request("192.0.2.1", "/healthz").ask(outer)
    await Request("192.0.2.2", "/healthz").ask(outer)
    assert answered == ["192.0.2.2"]


# --- Handshakes of sockets ---


class Handshake(Request):
    """A socket that a client wants to open; `heard` is what the application was told."""

    def __init__(self, client: str = "192.0.2.1") -> None:
        super().__init__(client)
        self.scope["type"] = "websocket"

    async def connect(self, application: Any, *texts: str) -> "Handshake":
        self.incoming.put_nowait({"type": "websocket.connect"})
        for text in texts:
            self.incoming.put_nowait({"type": "websocket.receive", "text": text})
        self.task = asyncio.create_task(application(self.scope, self.incoming.get, self.send))
        await settled()
        await settled()
        return self

    async def say(self, text: str) -> None:
        self.incoming.put_nowait({"type": "websocket.receive", "text": text})
        await settled()

    async def leave(self) -> None:
        self.incoming.put_nowait({"type": "websocket.disconnect"})
        await settled()


class Sockets:
    """Judges each handshake when it is let, then hears what comes; `heard` has it all."""

    def __init__(self, rest: float = 0.0) -> None:
        self.judging, self.heard, self.rest = asyncio.Event(), list[str](), rest

    async def __call__(self, scope: Any, receive: Callable[[], Any], send: Any) -> None:
        self.heard.append((await receive())["type"])
        await self.judging.wait()
        await send({"type": "websocket.accept"})
        if self.rest:
            end_turn(scope, rest=self.rest)
        while (message := await receive())["type"] == "websocket.receive":
            self.heard.append(message["text"])
        self.heard.append("gone")


async def test_a_handshake_has_a_turn_until_it_is_judged_and_an_open_socket_has_none() -> None:
    inner = Sockets()
    outer = HandshakesInTurn(inner, Turns(at_once=1, each=1))
    first = await Handshake().connect(outer)
    second = await Handshake().connect(outer)
    assert inner.heard == ["websocket.connect"]
    inner.judging.set()
    await settled()
    await settled()
    assert inner.heard == ["websocket.connect"] * 2
    for number, socket in enumerate((first, second, first)):
        await socket.say(str(number))
    await first.leave()
    assert inner.heard == ["websocket.connect"] * 2 + ["0", "1", "2", "gone"]


async def test_what_a_socket_says_before_its_turn_is_heard_after_it_in_order() -> None:
    inner = Sockets()
    inner.judging.set()
    turns = Turns(at_once=1, each=1)
    outer = HandshakesInTurn(inner, turns)
    await turns.take("address:192.0.2.1")
    socket = await Handshake().connect(outer, "early", "next")
    assert inner.heard == []
    turns.give_back("address:192.0.2.1")
    await settled()
    await settled()
    await socket.say("late")
    assert inner.heard == ["websocket.connect", "early", "next", "late"]


async def test_a_socket_that_leaves_before_its_turn_is_never_worked_on_and_leaves_the_turn_to_others() -> None:
    inner = Sockets()
    outer = HandshakesInTurn(inner, Turns(at_once=1, each=1))
    await Handshake().connect(outer)
    gone = await Handshake().connect(outer)
    await gone.leave()
    assert gone.task is not None
    assert gone.task.done()
    inner.judging.set()
    await settled()
    await Handshake("192.0.2.2").connect(outer)
    assert inner.heard == ["websocket.connect"] * 2


async def test_so_many_handshakes_of_one_person_wait_and_one_more_is_refused() -> None:
    inner = Sockets()
    outer = HandshakesInTurn(inner, Turns(at_once=9, each=1), most_waiting=2)
    waiting = [await Handshake().connect(outer) for _ in range(3)]
    refused = await Handshake().connect(outer)
    assert refused.sent == ["websocket.close"]
    assert refused.task is not None
    assert refused.task.done()
    await Handshake("192.0.2.2").connect(outer)
    inner.judging.set()
    for _ in range(5):
        await settled()
    assert inner.heard == ["websocket.connect"] * 4
    assert [socket.sent for socket in waiting] == [["websocket.accept"]] * 3


async def test_after_a_refused_handshake_its_sender_rests_and_nobody_else_waits_for_that() -> None:
    inner = Sockets(rest=0.05)
    inner.judging.set()
    outer = HandshakesInTurn(inner, Turns(at_once=1, each=1))
    await Handshake().connect(outer)
    again = await Handshake().connect(outer)
    await Handshake("192.0.2.2").connect(outer)
    assert inner.heard == ["websocket.connect"] * 2
    assert again.sent == []
    async with asyncio.timeout(5):
        while again.sent != ["websocket.accept"]:
            await asyncio.sleep(0.01)


# --- Work that would leave nothing to others ---


async def test_after_such_work_comes_a_rest_and_then_somebody_else() -> None:
    work, order = WithRests(), ""
    loop = asyncio.get_running_loop()
    ended = [loop.time()]
    rests = []

    async def do(person: str) -> None:
        nonlocal order
        async with work.turn(person):
            rests.append(loop.time() - ended[-1])
            order += person
            await asyncio.sleep(0.05)
            ended.append(loop.time())

    await asyncio.gather(do("a"), do("a"), do("b"))
    assert order == "aba"
    assert all(rest >= 0.04 for rest in rests[1:])


async def test_work_that_fails_leaves_the_turn_to_the_next() -> None:
    work = WithRests()
    for _ in range(2):
        with pytest.raises(RuntimeError):
            async with work.turn("a"):
                raise RuntimeError
