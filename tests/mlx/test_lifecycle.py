"""How a worker starts, idles and ends: never as an orphan, never half ready."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import mlx.core as mx
import pytest

from routerd.wire import Loading
from routerd_client.records import FailureKind
from tests.support.random_model import VOCABULARY, make_random_model
from tests.support.tiny_model import make_tiny_model
from tests.support.worker_client import WorkerClient, ask

LAUNCHER = """
import os, subprocess, sys
fd, model = sys.argv[1:]
command = [sys.executable, "-m", "routerd.worker", "serve", "--fd", fd, "--parent", str(os.getpid()), "--model", model]
worker = subprocess.Popen(command, pass_fds=[int(fd)], start_new_session=True)
print(worker.pid, flush=True)
worker.wait()
"""


def test_stop_exits_with_0(tiny_folder: Path) -> None:
    with WorkerClient(tiny_folder) as worker:
        worker.ready()

        assert worker.stop() == 0


def test_stop_while_decoding_exits_with_0(tiny_folder: Path) -> None:
    with WorkerClient(tiny_folder) as worker:
        worker.ready()
        id_ = worker.start(ask(max_tokens=2000))
        worker.wait(lambda: bool(worker.answers[id_].pieces))

        assert worker.stop() == 0


def test_the_end_of_the_socket_ends_a_worker_that_loads(tiny_folder: Path) -> None:
    with WorkerClient(tiny_folder) as worker:
        worker.wait(lambda: any(isinstance(m, Loading) for m in worker.loading))
        assert worker.settled is None, "the imports take longer than this line"
        started = time.monotonic()
        worker.sock.close()

        assert worker.process.wait(5) == 0
        assert time.monotonic() - started < 0.5


def test_ctrl_c_is_the_daemons_affair(tiny_folder: Path) -> None:
    with WorkerClient(tiny_folder) as worker:
        worker.ready()
        worker.process.send_signal(signal.SIGINT)

        assert worker.chat(ask()).finished


def test_sigterm_ends_it(tiny_folder: Path) -> None:
    with WorkerClient(tiny_folder) as worker:
        worker.ready()
        worker.process.terminate()

        assert worker.process.wait(2) == -signal.SIGTERM


def test_a_worker_whose_parent_is_already_gone_leaves(tiny_folder: Path) -> None:
    with WorkerClient(tiny_folder, parent=2**22) as worker:
        assert worker.process.wait(10) == 0


def test_a_killed_parent_takes_its_worker_along(tiny_folder: Path) -> None:
    # This test holds both ends of the socket, so the worker's end of file is not what ends it on Linux.
    ours, theirs = socket.socketpair()
    command = [sys.executable, "-c", LAUNCHER, str(theirs.fileno()), str(tiny_folder)]
    with ours, theirs, subprocess.Popen(command, pass_fds=[theirs.fileno()], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        ours.settimeout(30)
        assert ours.recv(1), "it lives"
        parent.kill()
        if sys.platform != "linux":
            ours.shutdown(socket.SHUT_RDWR)

        wait_until(lambda: not alive(pid), deadline=2)


def test_an_idle_worker_uses_no_processor(tiny_folder: Path) -> None:
    with WorkerClient(tiny_folder) as worker:
        worker.ready()
        worker.chat(ask())
        worker.ping()
        before = cpu_seconds(worker.process.pid)
        time.sleep(1)  # what is measured is a stretch of time itself

        assert cpu_seconds(worker.process.pid) - before <= 0.02


def no_config(folder: Path) -> None:
    (folder / "config.json").unlink()


def no_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def short_weights(folder: Path) -> None:
    file = folder / "model.safetensors"
    os.truncate(file, file.stat().st_size // 2)


def garbage_weights(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"<html>not found</html>")


def broken_config(folder: Path) -> None:
    (folder / "config.json").write_text("{")


def strange_type(folder: Path) -> None:
    change_config(folder, model_type="perceptron_1958")


def other_shape(folder: Path) -> None:
    change_config(folder, hidden_size=128)


def broken_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").write_text('{"version": "1.0"}')


def no_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()


def missing_shard(folder: Path) -> None:
    index = {"weight_map": {"lm_head.weight": "model-00002-of-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def change_config(folder: Path, **changes: object) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (no_config, "config.json"),
        (no_weights, "safetensors"),
        (short_weights, "cut short"),
        (garbage_weights, "no safetensors file"),
        (broken_config, "config.json"),
        (strange_type, "perceptron_1958"),
        (other_shape, "loaded"),
        (broken_tokenizer, "tokenizer"),
        (no_tokenizer, "tokenizer"),
        (missing_shard, "model-00002-of-00002"),
    ],
)
def test_a_damaged_folder_fails_the_load_with_a_reason(
    tmp_path: Path, damage: Callable[[Path], None], words: str
) -> None:
    damage(make_tiny_model(tmp_path))
    with WorkerClient(tmp_path) as worker:
        failed = worker.load_failed()

        assert words in failed.message
        assert failed.hint
        assert worker.process.wait(5) == 3


def test_a_missing_folder_fails_the_load(tmp_path: Path) -> None:
    with WorkerClient(tmp_path / "nowhere") as worker:
        assert "nowhere" in worker.load_failed().message
        assert worker.process.wait(5) == 3


def test_a_model_without_a_chat_template_gets_plain_lines(tmp_path: Path) -> None:
    with WorkerClient(make_tiny_model(tmp_path, template=False)) as worker:
        worker.ready()

        assert worker.chat(ask()).finished


def cpu_seconds(pid: int) -> float:
    """Processor time of a process so far, as ps tells it on every system."""
    if sys.platform == "linux":
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    clock = subprocess.check_output(["ps", "-o", "time=", "-p", str(pid)], text=True)
    return sum(float(part) * 60**n for n, part in enumerate(reversed(clock.strip().split(":"))))


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # A container's first process may reap orphans late, or never.
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] != "Z"


def wait_until(fact: Callable[[], bool], deadline: float) -> None:
    end = time.monotonic() + deadline
    while not fact():
        assert time.monotonic() < end, "it did not come true in time"
        time.sleep(0.01)


def with_template(folder: Path, template: object) -> Path:
    file = make_tiny_model(folder) / "tokenizer_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"chat_template": template}))
    return folder


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("{% for m in messages %}{{ m.content ", "does not compile"),
        ("{% for m in messages %}\n{{ m.content | no_such_filter }}{% endfor %}", "line 2"),
        ("{% if messages %}\n\n{{ no_such_function() }}{% endif %}", "line 3"),
        ("{{ messages[0].nothing.at.all }}", "fails for every conversation"),
        ("{{ 1 / 0 }}", "division by zero"),
    ],
)
def test_a_chat_template_that_fails_everybody_fails_the_load(tmp_path: Path, template: str, words: str) -> None:
    with WorkerClient(with_template(tmp_path, template)) as worker:
        failed = worker.load_failed()

        assert "chat template" in failed.message
        assert words in failed.message
        assert "tokenizer_config.json" in failed.message
        assert "template" in failed.hint


@pytest.mark.parametrize(
    "template",
    [
        "{{ raise_exception('one system message, please') }}",
        "{% if messages[0].role != 'system' %}{{ messages[0].nothing.at.all }}{% endif %}{{ messages[0].content }}",
    ],
    ids=["declines", "wants a system message"],
)
def test_a_template_that_fails_this_conversation_alone_is_the_callers(tmp_path: Path, template: str) -> None:
    with WorkerClient(with_template(tmp_path, template)) as worker:
        worker.ready()

        assert worker.chat(ask()).failed.kind is FailureKind.BAD_REQUEST


def test_what_a_library_prints_as_it_ends_the_load_is_the_reason(tmp_path: Path) -> None:
    """mlx-lm's olmo wants a package of its own, and ends the process where it is missing."""
    config = {"model_type": "olmo", "vocab_size": VOCABULARY, "max_position_embeddings": 2048}
    with WorkerClient(make_random_model(tmp_path, config, weights=False)) as worker:
        failed = worker.load_failed()

        assert "pip install ai2-olmo" in failed.message
        assert failed.hint
        assert worker.process.wait(5) == 3


def test_weights_that_the_index_does_not_name_are_not_loaded(tmp_path: Path) -> None:
    folder = make_tiny_model(tmp_path / "model")
    names = list(mx.load(str(folder / "model.safetensors")))
    with WorkerClient(folder) as worker:
        worker.ready()
        expected = worker.chat(ask()).text
    shutil.copy(make_tiny_model(tmp_path / "other", seed=7) / "model.safetensors", folder / "model_old.safetensors")
    index = {"weight_map": dict.fromkeys(names, "model.safetensors")}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with WorkerClient(folder) as worker:
        worker.ready()

        assert worker.chat(ask()).text == expected
