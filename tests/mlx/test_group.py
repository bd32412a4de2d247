"""A model divided over two ranks of this machine, through the real daemon: real launcher, real server, real ring.

Each start of a group takes seconds, so most tests share one daemon, and leave it able to answer.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from routerd_client import Client, Delta, InterruptedAnswerError, RequestFailedError
from routerd_client.protocol import Event
from routerd_client.records import FailureKind
from tests.support.daemon import Standalone, ctl, standalone_daemon
from tests.support.wait import until_blocking

LONG = 1900
GROUP_S = 60.0
"""A start of a group on a busy machine."""


def routes(model: Path, hosts: str = "127.0.0.1, 127.0.0.1", rest: str = "") -> str:
    return (
        "version: 1\nbackends:\n"
        f"  both: {{mlx: {{model: {model}, hosts: [{hosts}]{rest}}}}}\n"
        f"  one: {{mlx: {{model: {model}}}}}\n"
        "default: both\n"
    )


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory, tiny_folder: Path) -> Iterator[Standalone]:
    with standalone_daemon(tmp_path_factory.mktemp("group"), routes(tiny_folder)) as running:
        yield running


@pytest.fixture
def client(daemon: Standalone) -> Iterator[Client]:
    with daemon.client() as client:
        yield client


def group(daemon: Standalone) -> int:
    """The pid of the worker that has the ranks, which leads their process group."""
    with daemon.client() as client:
        (pid,) = [model.pid for model in client.status().models if model.backend == "both" and model.pid]
    return pid


def members(group: int, what: str = "") -> list[int]:
    """The living processes of ``group`` whose command line has ``what`` in it, oldest first."""
    table = subprocess.check_output(["ps", "-A", "-ww", "-o", "pgid=,pid=,stat=,args="], text=True)
    rows = [line.split(None, 3) for line in table.splitlines()]
    return sorted(int(row[1]) for row in rows if row[0] == str(group) and row[2][0] != "Z" and what in row[3])


def begin(client: Client, **options: object) -> Iterator[Event]:
    """A long answer of which the first text has come."""
    stream = client.stream("tell me everything", max_tokens=LONG, **options)
    for event in stream:
        if isinstance(event, Delta) and event.text:
            return stream
    pytest.fail("the answer ended before it began")


def test_it_answers_as_one_process_does(client: Client) -> None:
    for prompt in ("the quick brown fox", "one two three", "a model routes"):
        divided = client.chat(prompt, model="both", max_tokens=32, temperature=0)
        whole = client.chat(prompt, model="one", max_tokens=32, temperature=0)

        assert divided.text == whole.text
        assert divided.finish_reason == whole.finish_reason
        assert divided.usage.prompt_tokens == whole.usage.prompt_tokens
        assert divided.usage.completion_tokens == 32


def test_its_group_is_one_worker_one_launcher_and_two_ranks(daemon: Standalone, client: Client) -> None:
    client.chat("hello", max_tokens=1)
    worker = group(daemon)

    assert len(members(worker)) == 4
    assert len(members(worker, "mlx_lm server")) == 3, "the launcher has their command line in its own"
    memory = next(model.memory_bytes for model in client.status().models if model.backend == "both")
    assert memory
    assert memory > 100_000_000, "three interpreters with mlx"


def test_it_streams(client: Client) -> None:
    pieces = [e.text for e in client.stream("hello", max_tokens=24, temperature=0) if isinstance(e, Delta) and e.text]

    assert len(pieces) > 1
    assert "".join(pieces) == client.chat("hello", max_tokens=24, temperature=0).text


def test_a_prompt_that_comes_again_is_not_computed_again(client: Client) -> None:
    client.chat("the same words twice", max_tokens=4)

    assert client.chat("the same words twice", max_tokens=4).usage.cached_tokens > 10


def test_it_stops_at_a_stop_string(client: Client) -> None:
    whole = client.chat("the quick brown fox", max_tokens=32, temperature=0).text
    cut = whole[6:9]
    done = client.chat("the quick brown fox", max_tokens=32, temperature=0, stop=[cut])

    assert done.text == whole[: whole.index(cut)]
    assert done.finish_reason.value == "stop"


def test_one_left_alone_stops_and_leaves_the_others_room(client: Client) -> None:
    stream = begin(client)
    stream.close()  # type: ignore[attr-defined]

    until_blocking(
        lambda: all(model.in_flight == 0 for model in client.status().models), "the cancelled answer has ended"
    )
    assert client.chat("hello", max_tokens=4).usage.completion_tokens == 4


def test_many_at_once_are_all_answered(daemon: Standalone) -> None:
    clients = [daemon.client() for _ in range(4)]
    streams = [client.stream(f"number {n}", max_tokens=16) for n, client in enumerate(clients)]
    for stream in streams:
        next(iter(stream))

    assert [list(stream)[-1].usage.completion_tokens for stream in streams] == [16] * 4  # type: ignore[union-attr]
    for client in clients:
        client.close()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"top_k": 10**9, "temperature": 1.0}, "top_k"),
        ({"stop": [""]}, "stop string"),
        ({"temperature": -1.0}, "temperature"),
        ({"logit_bias": {10**9: 1.0}}, "logit_bias"),
        ({"seed": 7, "temperature": 1.0}, "without seeds"),
        ({"logprobs": True}, "log probabilities"),
        ({"response_format": {"type": "json_object"}}, "json_object"),
        ({"template_args": {"tokenize": False}}, "template_args"),
        ({"template_args": {"refuse": True}}, "refused"),
    ],
)
def test_what_the_server_cannot_do_or_would_die_of_is_refused(
    client: Client, options: dict[str, object], words: str
) -> None:
    with pytest.raises(RequestFailedError, match=words) as refused:
        client.chat("hello", max_tokens=4, **options)

    assert refused.value.attempts[-1].failure is FailureKind.BAD_REQUEST
    assert client.chat("hello", max_tokens=2).usage.completion_tokens == 2


def test_a_prompt_over_the_context_is_refused(client: Client) -> None:
    with pytest.raises(RequestFailedError, match="context of 2048 tokens"):
        client.chat("word " * 4000, max_tokens=4)


def test_a_lost_rank_fails_the_answer_and_the_next_one_gets_a_new_group(daemon: Standalone, client: Client) -> None:
    stream = begin(client)
    worker = group(daemon)
    os.kill(members(worker, "mlx_lm server")[-1], signal.SIGKILL)

    with pytest.raises(InterruptedAnswerError, match=r"rank \d on 127\.0\.0\.1 was killed by signal 9"):
        list(stream)
    until_blocking(lambda: not members(worker), "the whole group ends")
    until_blocking(lambda: answers(client), "another group answers", deadline=GROUP_S)
    assert group(daemon) != worker


def answers(client: Client) -> bool:
    """Whether the model answers; a model that has crashed may first wait for its next try."""
    try:
        return client.chat("hello", max_tokens=4).usage.completion_tokens == 4
    except RequestFailedError as error:
        if error.retryable:
            return False
        raise


def first_rank_stuck(worker: int) -> None:
    os.kill(members(worker, "mlx_lm server")[-1], signal.SIGSTOP)


def nothing(_worker: int) -> None:
    """The ranks are as they should be."""


@pytest.mark.parametrize("before", [nothing, first_rank_stuck])
def test_a_killed_daemon_takes_launcher_and_ranks_along(
    tmp_path: Path, tiny_folder: Path, before: Callable[[int], None]
) -> None:
    with standalone_daemon(tmp_path, routes(tiny_folder)) as daemon, daemon.client() as client:
        begin(client)
        worker = group(daemon)
        before(worker)
        daemon.signal(signal.SIGKILL)
        daemon.wait()

        until_blocking(lambda: not members(worker), "worker, launcher and ranks end", deadline=2.0)


def test_a_killed_worker_takes_launcher_and_ranks_along_without_the_daemon(tmp_path: Path, tiny_folder: Path) -> None:
    with standalone_daemon(tmp_path, routes(tiny_folder)) as daemon, daemon.client() as client:
        begin(client)
        worker = group(daemon)
        daemon.signal(signal.SIGSTOP)  # so that it is not the daemon that kills the group
        os.kill(worker, signal.SIGKILL)

        until_blocking(lambda: not members(worker), "launcher and ranks end", deadline=2.0)
        daemon.signal(signal.SIGCONT)


def test_a_stuck_rank_is_found_by_the_watchdog(tmp_path: Path, tiny_folder: Path) -> None:
    text = routes(tiny_folder, rest=", stall_timeout: 2s")
    with standalone_daemon(tmp_path, text) as daemon, daemon.client() as client:
        stream = begin(client)
        worker = group(daemon)
        first_rank_stuck(worker)

        with pytest.raises(InterruptedAnswerError, match="stall_timeout"):
            list(stream)
        until_blocking(lambda: not members(worker), "the whole group ends")


@pytest.mark.parametrize(
    ("hosts", "words"),
    [
        ("127.0.0.1, no-such-machine.invalid", r"no-such-machine\.invalid has no address"),
        ("192.0.2.1, 127.0.0.1", r"192\.0\.2\.1 .*is another machine"),
        ("127.0.0.1, 192.0.2.1", r"127\.0\.0\.1 .*cannot be reached from the other machines"),
        ("127.0.0.1, 127.0.0.1, 127.0.0.1", "its 4 attention heads do not come out even on 3 ranks"),
    ],
)
def test_hosts_that_cannot_work_fail_the_load_with_one_clear_message(
    tmp_path: Path, tiny_folder: Path, hosts: str, words: str
) -> None:
    with standalone_daemon(tmp_path, routes(tiny_folder, hosts)) as daemon, daemon.client() as client:
        with pytest.raises(RequestFailedError, match=words) as failed:
            client.chat("hello")

        assert failed.value.attempts[-1].failure is FailureKind.LOAD_FAILED
        assert "Traceback" not in str(failed.value)


def test_a_machine_that_ssh_does_not_reach_fails_the_load(tmp_path: Path, tiny_folder: Path) -> None:
    ssh = tmp_path / "ssh"
    ssh.write_text("#!/bin/sh\nexit 255\n")
    ssh.chmod(0o755)
    text = routes(tiny_folder, f"{own_address()}, 240.0.0.1")
    path = f"PATH={tmp_path}:{os.environ['PATH']}"
    with standalone_daemon(tmp_path, text, prefix=["env", path]) as daemon, daemon.client() as client:
        with pytest.raises(RequestFailedError, match=r"rank 1 on 240\.0\.0\.1 exited with code 255: ssh") as failed:
            client.chat("hello")

        assert failed.value.attempts[-1].failure is FailureKind.LOAD_FAILED


def own_address() -> str:
    """An address of this machine that is no loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("240.0.0.1", 9))  # sends nothing
        return str(probe.getsockname()[0])


@pytest.mark.parametrize(
    ("mlx", "words"),
    [
        ("hosts: [a.local]", "at least two are needed"),
        ("hosts: [a.local, '-oProxyCommand=x']", "is no machine"),
        ("hosts: [a.local, '']", "is no machine"),
        ("hosts: [a.local, b.local], adapter: ./tuned", "none over several machines"),
    ],
)
def test_check_finds_hosts_that_cannot_be_meant(tmp_path: Path, mlx: str, words: str) -> None:
    file = tmp_path / "routes.yaml"
    file.write_text(f"version: 1\nbackends: {{both: {{mlx: {{model: demo, {mlx}}}}}}}\ndefault: both\n")
    checked = ctl("check", str(file))

    assert checked.returncode != 0
    assert words in checked.stdout + checked.stderr
    assert f"{file}:2:" in checked.stdout + checked.stderr
