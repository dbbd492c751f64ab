"""A Dask cluster: the same numbers as here with one of its workers killed on the way, and clusters that are refused."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from xarray.backends.locks import get_dask_scheduler

from analysis.running import cluster
from analysis.running.cluster import Cluster, connected, fingerprint
from models.errors import InputError
from tests.analysis.small_project import Project, small_project

pytest.importorskip("distributed")

PARTS = {f"{question}/x{i}" for question in ("apples", "pears") for i in range(4)}


@dataclass
class Started:
    """A scheduler and its workers, as processes of their own."""

    project: Project
    scheduler: subprocess.Popen[str]
    address: str
    workers: list[subprocess.Popen[str]] = field(default_factory=list)

    def add_worker(self, project: Project | None = None) -> subprocess.Popen[str]:
        """Start a worker that computes slowly, and writes what it computes to the file ``far`` of the project."""
        arguments = (self.address, "--nthreads", "1", "--no-nanny", "--no-dashboard", "--local-directory", str(self.project.root / "dask"))  # fmt: skip
        far = str(self.project.root / "far")
        worker = (project or self.project).popen(
            *arguments, module="distributed.cli.dask_worker", SMALL_DASK="1", SMALL_SLEEP="0.3", SMALL_LOG=far
        )
        self.workers.append(worker)
        return worker

    def computed(self) -> list[str]:
        """What workers have begun."""
        path = self.project.root / "far"
        return path.read_text().split() if path.exists() else []

    def end(self) -> None:
        for process in (*self.workers, self.scheduler):
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return small_project(tmp_path_factory.mktemp("cluster"))


@pytest.fixture
def started(project: Project) -> Iterator[Started]:
    file = project.root / "scheduler.json"
    file.unlink(missing_ok=True)
    arguments = ("--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(file))
    process = project.popen(*arguments, module="distributed.cli.dask_scheduler", SMALL_DASK="1")
    deadline = time.monotonic() + 60
    address = ""
    while not address:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
        try:
            address = json.loads(file.read_text())["address"]
        except (OSError, ValueError):
            continue
    found = Started(project, process, address)
    yield found
    found.end()


@pytest.mark.exhaustive
def test_a_cluster_that_loses_a_worker_gives_the_same_numbers(started: Started) -> None:
    project = started.project
    assert project.report("--format", "html,md").status == 0
    here = project.built()
    shutil.rmtree(project.output)
    project.clear_log()
    first, second = (started.add_worker() for _ in range(2))
    command = ("report", "--output", str(project.output), "--format", "html,md", "--scheduler", started.address)
    process = project.popen(*command, SMALL_DASK="1")
    while len(started.computed()) < 3:
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    first.kill()
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert second.poll() is None
    assert set(started.computed()) == PARTS
    assert len(started.computed()) > len(PARTS) - 1
    assert project.log == []  # nothing was computed here
    assert project.built() == here
    assert out.split() == [str(project.output / name) for name in ("index.html", "README.md")]
    assert len([line for line in err.splitlines() if line.startswith("[")]) == 10


def test_a_cluster_of_other_sources_is_refused(started: Started, tmp_path: Path) -> None:
    other = small_project(tmp_path)
    (tmp_path / "models" / "changed.py").write_text("CHANGED = 1\n")
    started.add_worker(other)
    ended = started.project.report("--scheduler", started.address, SMALL_DASK="1")
    assert ended.status == 2, ended
    assert ended.err.count("\n") == 1
    for words in ("worker tcp://127.0.0.1", "other versions: duality ", "(here ", "install the same"):
        assert words in ended.err


# --- refused ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "_PATIENCE", 0.3)


def closed_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def test_nobody_answers(impatient: None) -> None:
    address = f"tcp://127.0.0.1:{closed_port()}"
    with pytest.raises(InputError, match=f"no Dask scheduler answers at '{address}' within 0.3 s"), connected(address, []):  # fmt: skip
        pass


@pytest.mark.parametrize("greeting", [b"", b"SSH-2.0-OpenSSH_9.2\r\n"], ids=["silent", "another protocol"])
def test_who_answers_is_no_scheduler(impatient: None, greeting: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as thread:
        port = listener.getsockname()[1]
        answered = thread.submit(listener.accept)
        with pytest.raises(InputError, match="no Dask scheduler answers at"), connected(f"tcp://127.0.0.1:{port}", []):
            answered.result()[0].sendall(greeting)
        answered.result()[0].close()


@pytest.mark.parametrize("address", ["nowhere.invalid:8786", "htp://127.0.0.1:1"])
def test_an_address_that_is_none(impatient: None, address: str) -> None:
    with pytest.raises(InputError, match="no Dask scheduler answers at"), connected(address, []):
        pass
    assert get_dask_scheduler() == "threaded"  # else the next file that xarray writes asks a client that is not there


def test_the_command_says_that_nobody_answers_in_one_line(project: Project) -> None:
    ended = project.report("--scheduler", "tcp://127.0.0.1:words", SMALL_DASK="1")
    assert ended.status == 2
    assert ended.err.count("\n") == 1
    assert "dask scheduler" in ended.err


class Client:
    """A client of a cluster whose workers say what they are told to say."""

    def __init__(self, said: dict[str, Any], threads: int = 2) -> None:
        self.said = said
        self.threads = threads

    def wait_for_workers(self, number: int, **_: float) -> None:
        if len(self.said) < number:
            raise TimeoutError

    def run(self, function: Any, *_: Any, on_error: str) -> dict[str, Any]:
        assert function is fingerprint
        assert on_error == "return"
        return self.said

    def nthreads(self) -> dict[str, int]:
        return dict.fromkeys(self.said, self.threads)

    def get_executor(self, pure: bool) -> None:
        assert not pure


QUESTIONS = ["kl_properties"]


def test_workers_of_the_same_versions_are_taken() -> None:
    cluster._check(Client({"a": fingerprint(QUESTIONS), "b": fingerprint(QUESTIONS)}), "tcp://there", QUESTIONS)


@pytest.mark.parametrize("name", ["python", "pymc", "pytensor", "numpy", "duality"])
def test_every_version_that_differs_is_named(name: str) -> None:
    here = fingerprint(QUESTIONS)
    client = Client({"tcp://w:1": here, "tcp://w:2": here | {name: "0.1"}})
    with pytest.raises(InputError, match=rf"worker tcp://w:2 has other versions: {name} 0.1 \(here {here[name]}\);"):
        cluster._check(client, "tcp://there", QUESTIONS)


def test_a_library_that_is_not_there_is_named() -> None:
    there = {name: value for name, value in fingerprint(QUESTIONS).items() if name != "numba"}
    with pytest.raises(InputError, match="numba none"):
        cluster._check(Client({"a": there}), "tcp://there", QUESTIONS)


def test_workers_without_the_project_are_named() -> None:
    client = Client({"tcp://w:1": ModuleNotFoundError("No module named 'analysis'")})
    with pytest.raises(InputError, match=r"worker tcp://w:1 cannot import this project .*'analysis'"):
        cluster._check(client, "tcp://there", QUESTIONS)


def test_a_scheduler_without_workers_is_refused() -> None:
    with pytest.raises(InputError, match="has no workers; start some with 'dask worker tcp://there --nthreads 1'"):
        cluster._check(Client({}), "tcp://there", QUESTIONS)


def test_the_fingerprint_is_that_of_the_questions_asked() -> None:
    assert fingerprint(["kl_properties"]) == fingerprint(["kl_properties"])
    assert fingerprint(["kl_properties"])["duality"] != fingerprint(["two_families"])["duality"]


def test_jobs_under_way_follow_the_number_of_threads() -> None:
    client = Client({"a": {}, "b": {}})
    workers = Cluster(client)
    assert workers.capacity() == 5
    client.said["c"] = {}
    assert workers.capacity() == 7
