"""A machine that downloads from a fake hub, by the real programs."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from routerd.models.hub import Repository
from tests.support.fake_hub import FakeHub, clean_environment
from tests.support.wait import until_blocking

HALF = 200_000
WEIGHTS = "model.safetensors"
NEEDED = {"config.json", "tokenizer.json", "tokenizer_config.json", WEIGHTS}


class Machine:
    """Its caches are under ``home``; ``settings`` are more environment variables of its processes."""

    def __init__(self, hub: FakeHub, home: Path) -> None:
        self.hub = hub
        self.home = home
        self.settings: dict[str, str] = {}
        self.repository = Repository.of("org/tiny", home / "hf" / "hub")

    @property
    def hub_settings(self) -> dict[str, str]:
        return self.hub.environment(self.home) | self.settings

    @property
    def environment(self) -> dict[str, str]:
        return clean_environment() | self.hub_settings

    def fetch(self, *arguments: str) -> list[dict[str, Any]]:
        """What the downloading process says, line by line."""
        done = subprocess.run(
            self._fetching(*arguments), capture_output=True, text=True, timeout=60, env=self.environment
        )
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        assert lines, done.stderr
        assert done.returncode == ("error" in lines[-1]), done.stderr
        return lines

    @contextmanager
    def half_fetched(self) -> Iterator[subprocess.Popen[str]]:
        """The same while the hub holds back the rest of the weights; killed at the end, and the hub is well again."""
        self.hub.hold_after = HALF
        with subprocess.Popen(self._fetching(), stdout=subprocess.PIPE, text=True, env=self.environment) as process:
            try:
                until_blocking(lambda: self.part_size > HALF // 2, "half of the weights are there")
                yield process
            finally:
                process.kill()
                self.hub.hold_after = None
                self.hub.release.set()

    def _fetching(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "routerd.models.fetch", *(arguments or ["org/tiny"])]

    def error(self, *arguments: str) -> tuple[str, str]:
        """What went wrong, and what to do."""
        last = self.fetch(*arguments)[-1]
        return last["error"], last.get("hint", "")

    def ctl(self, *arguments: str, socket: Path | None = None) -> subprocess.CompletedProcess[str]:
        """The real ``routerctl``, with no daemon around unless one listens at ``socket``."""
        return subprocess.run(
            self.routerctl("--socket", str(socket or self.home / "no.sock"), *arguments),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            env=self.environment,
        )

    def routerctl(self, *arguments: str) -> list[str]:
        return [sys.executable, "-c", "from routerd.ctl import main; main()", *arguments]

    @property
    def whole(self) -> Path | None:
        """Where the model is, if all of it is."""
        return self.repository.whole()

    @property
    def part(self) -> Path | None:
        """The file with what there is of the weights, while they are not whole."""
        return next(self.repository.folder.glob("blobs/*.part"), None)

    @property
    def part_size(self) -> int:
        part = self.part
        try:
            return part.stat().st_size if part else 0
        except FileNotFoundError:
            return 0  # a small file, whole by now
