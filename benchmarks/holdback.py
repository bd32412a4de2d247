"""What holding an answer's beginning back costs its first token.

    python -m benchmarks.holdback [--quick] [--json]

A server on this machine streams answers of four characters every 20 ms, fifty a second. They are asked for through
routerd in turn by three endpoints: one that lets everything through, one that looks for refusals (``escalate_on:
[error, refusal]``), one that releases whole answers (``stream_mode: safe``).
"""

from __future__ import annotations

import argparse
import json
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path
from time import perf_counter
from typing import Any

import anyio

from routerd.app.serve import running
from routerd.config.places import Places
from routerd.selftest.fake_api import fake_api
from routerd.selftest.fake_formats import Knobs
from routerd_client import AsyncClient, Delta

from .common import median, report

TOKEN, BETWEEN_S = 4, 0.02
ANSWERS = {
    "plain": "The Rhine rises in the Swiss Alps, passes Basel, and reaches the North Sea near Rotterdam.",
    "list": "1. Boil the water. 2. Add salt. 3. Cook the pasta for nine minutes, and keep a cup of the water.",
    "code": "```python\ndef area(r):\n    return 3.14159 * r * r\n```\nCall it with the radius in metres.",
    "polite": "I'm sorry to hear that your bicycle was stolen. Report it today, with its frame number, at the police.",
    "of-itself": "I can help with that. As a first step, write down what you spent last month, in three columns.",
    "to-and-fro": "No, not always: some birds, such as swifts, can't take off from flat ground, but most of them can.",
}
ENDPOINTS: dict[str, dict[str, Any]] = {
    "open": {},
    "refusal": {"escalate_on": ["error", "refusal"]},
    "safe": {},
}
PAIRS = [(name, endpoint) for name in ANSWERS for endpoint in ENDPOINTS]


async def measure(repeats: int) -> dict[str, dict[str, float]]:
    """Median milliseconds from asking to the first text, by answer and endpoint."""
    taken: dict[str, dict[str, float]] = {}
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="routerd-", dir="/tmp")))
        backends = {}
        for name, text in ANSWERS.items():
            pieces = [text[i : i + TOKEN] for i in range(0, len(text), TOKEN)]
            api = await stack.enter_async_context(fake_api(Knobs(pieces=pieces, between=BETWEEN_S)))
            backends[name] = {"openai": {"model": name, "base_url": api.base_url}}
        (folder / "routes.yaml").write_text(json.dumps(_routes(backends)))
        places = Places(folder / "routes.yaml", folder / "s", folder / "state", folder / "logs", folder)
        await stack.enter_async_context(running(places, watch=False))
        client = await stack.enter_async_context(AsyncClient(places.socket))
        for name in ANSWERS:
            times: dict[str, list[float]] = {endpoint: [] for endpoint in ENDPOINTS}
            for _ in range(repeats):
                for endpoint, each in times.items():
                    each.append(await _first(client, name, endpoint))
            taken[name] = {endpoint: median(each) * 1000 for endpoint, each in times.items()}
    return taken


def _routes(backends: dict[str, Any]) -> dict[str, Any]:
    endpoints = {f"{name}.{each}": {"fallback": [name], **ENDPOINTS[each]} for name, each in PAIRS}
    routes = [
        {
            "match": {"answer": name, "held": each},
            "use": f"{name}.{each}",
            "set": {"stream_mode": "safe" if each == "safe" else "live"},
        }
        for name, each in PAIRS
    ]
    return {"version": 1, "backends": backends, "endpoints": endpoints, "routes": routes, "default": PAIRS[0][0]}


async def _first(client: AsyncClient, name: str, endpoint: str) -> float:
    began, first = perf_counter(), None
    async for event in client.stream("A question.", context={"answer": name, "held": endpoint}):
        if first is None and isinstance(event, Delta) and event.text:
            first = perf_counter() - began
    assert first is not None
    return first


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    taken = anyio.run(measure, 2 if options.quick else 10, backend_options={"use_uvloop": True})
    rows = [("answer", "characters", *(f"{endpoint}, ms" for endpoint in ENDPOINTS))]
    rows += [
        (name, str(len(ANSWERS[name])), *(f"{each[endpoint]:.0f}" for endpoint in ENDPOINTS))
        for name, each in taken.items()
    ]
    report("holdback", rows, taken, as_json=options.json)


if __name__ == "__main__":
    main()
