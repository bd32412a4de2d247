"""Each architecture of mlx-lm gives several requests at once the text that it gives each of them alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.random_model import architectures, make_random_model
from tests.support.worker_client import WorkerClient, ask

CONFIGS = architectures()
EVERY = 10
"""One of so many is run each time, and all of them by ``make soak``."""

ALONE = {
    "afm7": "wrongly",
    "deepseek_v41": "batching",
    "gemma2": "wrongly",
    "gpt_bigcode": "cannot compute several",
    "llama4": "batching",
}
"""Those that answer one request at a time, and a word of why."""

ROUTINE = [name for at, name in enumerate(CONFIGS) if at % EVERY == 0 or name in ALONE]
CASES = [name if name in ROUTINE else pytest.param(name, marks=pytest.mark.slow) for name in CONFIGS]

PROMPTS = ["the quick", "one two three four five six seven eight nine ten " * 3, "a"]


@pytest.mark.parametrize("name", CASES)
def test_three_at_once_get_what_each_gets_alone(name: str, tmp_path: Path) -> None:
    folder = make_random_model(tmp_path / name, CONFIGS[name])
    with WorkerClient(folder) as worker:
        ready = worker.ready()
        assert ALONE.get(name, "") in ready.alone
        assert bool(ready.alone) == (name in ALONE)

        chats = [ask(prompt, max_tokens=20) for prompt in PROMPTS]
        alone = [worker.chat(chat).text for chat in chats]
        together = [worker.result(id_).text for id_ in worker.start_all(chats)]

        assert together == alone
        assert all(worker.chat(chat).finished.usage.completion_tokens for chat in chats)
