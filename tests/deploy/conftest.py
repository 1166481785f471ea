"""The program behind the nginx that `deploy/` has."""

from collections.abc import Callable, Iterator, Sequence

import pytest

from devtools.nginx import PrivateNginx


@pytest.fixture
def start_nginx() -> Iterator[Callable[[Sequence[int]], PrivateNginx]]:
    """Starts nginx in front of the instances on these ports."""
    started: list[PrivateNginx] = []

    def start(ports: Sequence[int]) -> PrivateNginx:
        started.append(PrivateNginx(ports))
        return started[-1]

    yield start
    for nginx in started:
        nginx.stop()
