"""A system that gives no more threads: an error for the step that needs one, and never the end."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.support.daemon import Standalone, make_places, short_folder
from tests.support.wait import until_blocking

PROGRAM = """
import errno, threading
import anyio
from routerd.config.threads import require_threads
from routerd.dispatch.beside import beside_loop

require_threads(3)
threading.stack_size(2**46)
try:
    require_threads(1)
except OSError as error:
    assert error.errno == errno.EAGAIN
else:
    raise SystemExit("a thread was started")
assert anyio.run(beside_loop, lambda: 7) == 7
"""


class FewThreads(Standalone):
    """A daemon that is given no threads while ``knob`` stands."""

    def _start(self) -> subprocess.Popen[bytes]:
        self.knob = self.places.config.parent / "no threads"
        where = ["--config", self.places.config, "--socket", self.socket, "--state-dir", self.places.state]
        program = [sys.executable, "-m", "tests.support.few_threads", self.knob, "serve"]
        with (self.places.config.parent / "stderr.txt").open("a") as stderr:
            return subprocess.Popen(
                list(map(str, [*program, *where])),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                env={**os.environ, "ROUTERD_CACHE_DIR": str(self.places.cache)},
            )


def text(name: str) -> str:
    cloud = '{openai: {model: m, base_url: "http://127.0.0.1:9/v1"}, billing: local}'
    return f"version: 1\nbackends: {{{name}: {cloud}}}\ndefault: {name}\n"


def test_what_needs_a_thread_does_without_or_says_so() -> None:
    subprocess.run([sys.executable, "-c", PROGRAM], check=True, timeout=60)


def test_a_start_without_threads_is_told_in_a_line(tmp_path: Path) -> None:
    (tmp_path / "routes.yaml").write_text(text("one"))
    (tmp_path / "no threads").touch()
    with short_folder() as sockets:
        daemon = FewThreads(make_places(tmp_path, sockets))
        assert daemon.wait() == 3
        assert daemon.stderr.count("\n") == 1
        assert "threads" in daemon.stderr
        assert not daemon.socket.exists()


def test_a_daemon_without_threads_goes_on(tmp_path: Path) -> None:
    (tmp_path / "routes.yaml").write_text(text("one"))
    with short_folder() as sockets:
        daemon = FewThreads(make_places(tmp_path, sockets))
        try:
            pid = daemon.answers().pid
            daemon.knob.touch()
            (tmp_path / "routes.yaml").write_text(text("two"))
            with daemon.client() as client:
                for _ in range(20):
                    assert client.status().pid == pid
            daemon.knob.unlink()
            until_blocking(lambda: "two" in daemon.answers().default, "the change is seen")
            daemon.process.terminate()
            assert daemon.wait() == 0
        finally:
            daemon.process.kill()
            daemon.process.wait()
