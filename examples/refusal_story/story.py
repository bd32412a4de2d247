"""If Claude refuses, GPT answers; if GPT is down, the model on this machine does.

    python examples/refusal_story/story.py [MODEL]

Needs neither keys nor a running daemon: it starts one on routes.yaml, and beside it two servers on this machine
that speak as the two makers' do. MODEL is any that routes.yaml may name; without it, the demo.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from routerd_client import Client

QUESTION = "What is the capital of Australia?"
ANSWERS: dict[str, Any] = {"pieces": ["Canberra", ", since 1913."]}
REFUSES: dict[str, Any] = {"pieces": ["I'm sorry, but I can't help ", "with that. ", "Ask me something else."]}
IS_DOWN: dict[str, Any] = {"status": 503, "error": {"message": "we are down"}}


def story(folder: Path, model: str) -> None:
    with daemon(folder, model), Client(folder / "s", name="story.py", start_timeout_s=30) as client:
        for title, claude, gpt in [
            ("All is well", ANSWERS, ANSWERS),
            ("Claude refuses", REFUSES, ANSWERS),
            ("Claude refuses, and GPT is down", REFUSES, IS_DOWN),
        ]:
            with server(folder / "claude", claude), server(folder / "gpt", gpt):
                print(f"\n{title}")
                tell(client)


def tell(client: Client) -> None:
    decision = client.route(QUESTION)
    print("  in this order:", ", ".join(candidate.backend for candidate in decision.candidates))
    answer = client.chat(QUESTION)
    for attempt in answer.attempts:
        why = f": {attempt.failure.value}, {attempt.message}" if attempt.failure else ""
        print(f"  {attempt.number}. {attempt.backend} {attempt.outcome.value}{why}")
    print(f"  {answer.backend} ({answer.model}): {answer.text!r}")


@contextmanager
def daemon(folder: Path, model: str) -> Iterator[None]:
    """routerd on a copy of routes.yaml in which the makers' servers are the ones of this machine."""
    text = Path(__file__).with_name("routes.yaml").read_text().replace("model: demo", f"model: {model}")
    for name, maker in (("claude", "{anthropic: {"), ("gpt", "{openai: {")):
        text = text.replace(maker, f"{maker}base_url: unix:{folder / name}, ")
    (folder / "routes.yaml").write_text(text)
    where = ["--config", folder / "routes.yaml", "--socket", folder / "s", "--state-dir", folder / "state"]
    keys = {"ANTHROPIC_API_KEY": "none is needed", "OPENAI_API_KEY": "none is needed"}
    with (folder / "log.txt").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "routerd", "serve", *map(str, where)],
            env={**os.environ, **keys},
            stdout=log,
            stderr=log,
        )
    with ending(process):
        yield


@contextmanager
def server(socket: Path, says: Mapping[str, Any]) -> Iterator[None]:
    """A server that always says the same, in whichever format it is asked."""
    command = [sys.executable, "-m", "routerd.selftest.fake_api", json.dumps(says), "--socket", str(socket)]
    with ending(subprocess.Popen(command, stdout=subprocess.PIPE)) as process:
        assert process.stdout
        process.stdout.readline()  # its address: it listens
        yield


@contextmanager
def ending(process: subprocess.Popen[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    with process:
        try:
            yield process
        finally:
            process.terminate()


if __name__ == "__main__":
    # A socket's path must be short, and that of a system's folder for temporary files may not be.
    with TemporaryDirectory(prefix="story-", dir="/tmp") as temporary:
        story(Path(temporary), *(sys.argv[1:2] or ["demo"]))
