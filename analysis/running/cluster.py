"""A Dask cluster that somebody has started: is it there, does it have what this machine has, and its processes as workers."""

from __future__ import annotations

import gc
import logging
import socket
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

from analysis.running.pool import Workers
from analysis.store import digest_of, source_hash, versions
from models.errors import InputError

__all__ = ["Cluster", "connected", "fingerprint"]

#: Seconds to wait for an answer.
_PATIENCE = 10
_GREETING = 2**20  # bytes of a scheduler's first message, at most


class Cluster:
    """Processes of a Dask cluster; see `analysis.running.pool.Workers`."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._executor = client.get_executor(pure=False)

    def submit(self, call: Callable[[], Any]) -> Future[Any]:
        """Begin something; Dask begins it again elsewhere if the worker is lost."""
        future: Future[Any] = self._executor.submit(call)
        return future

    def capacity(self) -> int:
        """One job more than there are threads, so that none waits for the way there and back; workers come and go."""
        return sum(self._client.nthreads().values()) + 1

    def restart(self) -> None:
        """Do nothing: Dask does that."""


@contextmanager
def connected(address: str, questions: Sequence[str]) -> Iterator[Workers]:
    """Connect to a cluster that can compute these questions.

    Raises
    ------
    InputError
        Dask is not installed; nobody answers; there are no workers; or they have other versions.
    """
    try:
        from distributed import Client
    except ImportError:
        raise InputError("--scheduler needs Dask; install it with: uv sync --extra dask") from None
    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # what went wrong is said in one line, below
    failed = ""
    try:
        _greeted(address)
        # not the default of this process, which a client that failed would stay: xarray asks it for a lock of each file
        client = Client(address, timeout=_PATIENCE, set_as_default=False)
    except (OSError, ValueError, TypeError) as error:
        failed = type(error).__name__
    if failed:
        gc.collect()  # ends the client that failed; at the end of the process it would wait 20 s and complain
        raise InputError(
            f"no Dask scheduler answers at {address!r} within {_PATIENCE} s ({failed}); start one with 'dask scheduler' and "
            "give the address it prints, as tcp://host:8786"
        )
    with client:
        _check(client, address, list(questions))
        yield Cluster(client)


def _greeted(address: str) -> None:
    """Wait for the first bytes of a scheduler, which Dask would do for as long as somebody keeps the line open.

    Raises
    ------
    OSError
        Nobody answers, or with no message of Dask's, which begins with its length.
    ValueError
        The address has no port.
    """
    scheme, _, rest = address.rpartition("://")
    if scheme not in ("", "tcp"):
        return
    host, _, port = rest.rpartition(":")
    if not (host and port.isdigit()):
        raise ValueError("an address is tcp://host:port")
    with socket.create_connection((host.strip("[]"), int(port)), timeout=_PATIENCE) as line:
        line.settimeout(_PATIENCE)
        first = line.recv(8)
    if len(first) < 8 or int.from_bytes(first, "little") > _GREETING:
        raise ConnectionError("what answers is no Dask scheduler")


def _check(client: Any, address: str, questions: list[str]) -> None:
    """Refuse a cluster without workers, or with workers that would compute other numbers."""
    try:
        client.wait_for_workers(1, timeout=_PATIENCE)
    except TimeoutError:
        raise InputError(
            f"the Dask scheduler at {address!r} has no workers; start some with 'dask worker {address} --nthreads 1'"
        ) from None
    here = fingerprint(questions)
    for worker, there in client.run(fingerprint, questions, on_error="return").items():
        if isinstance(there, Exception):
            raise InputError(
                f"worker {worker} cannot import this project ({type(there).__name__}: {there}); start it where the project "
                "is installed"
            )
        differs = [f"{name} {there.get(name, 'none')} (here {value})" for name, value in here.items() if there.get(name) != value]  # fmt: skip
        if differs:
            raise InputError(
                f"worker {worker} has other versions: {', '.join(differs)}; install the same on all machines"
            )


def fingerprint(questions: Sequence[str]) -> dict[str, str]:
    """Versions that the numbers of questions depend on, this project's sources among them."""
    sources = digest_of([source_hash(name, "parts", "run") for name in questions])
    return {**versions(), "duality": sources[:12]}
