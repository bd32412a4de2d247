"""What routing saves: the same questions always to the larger model, always to the smaller one, and as they are routed.

    python -m benchmarks.resources [--complex FOLDER] [--below 3] [--rows 12] [--cap TOKENS]

Two real models in one real daemon: SmolLM2-135M (``demo``), which answers at once, in up to 10 tokens, and, where no
other is named, Gemma 3 270M from its packages, which reasons first, in up to 48. (The larger one has twice the
parameters, but most of the rest are its vocabulary's: for a token it computes hardly more. What it costs more is
that it thinks. With ``--cap 48``, the same bound for both, half of the tokens times parameters are saved all the
same, but not half of the CPU seconds.) The rows of resources.jsonl are labelled simple or complex; the labels are
not used for routing, which the endpoint's ``by_complexity`` does by its rules. Counted are the CPU seconds of both
model processes, which load on the machine does not change much, and tokens times parameters. The quality of an
answer is whether it has one of the row's words: enough to see that it answers at all, and no more.

The last line is JSON; exit code 1 where rows labelled simple cost more than half of what the larger model takes
for them.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import anyio
import msgspec
from msgspec import Struct
from tests.support.daemon import Standalone, standalone_daemon

from routerd.config.places import places
from routerd.models.prepare import prepare
from routerd.models.reference import ModelReference

from .gemma import make

ROWS = Path(__file__).with_name("resources.jsonl")
WAYS = {"always complex": "complex", "always simple": "simple", "routed": "auto"}
LABELS = ("simple", "complex")
SAVED = 0.5
CONFIG = """\
version: 1
backends:
  simple: {{mlx: {{model: {smaller}, keep_alive: forever, preload: true, prompt_cache: 0, max_tokens: {short}}}}}
  complex: {{mlx: {{model: {larger}, keep_alive: forever, preload: true, prompt_cache: 0, max_tokens: {long}}}}}
endpoints: {{auto: {{by_complexity: [{{below: {below}, use: simple}}, {{use: complex}}]}}}}
default: auto
"""


class Row(Struct, frozen=True):
    label: str
    prompt: str
    accept: list[str]


class Answer(Struct, frozen=True):
    """``weight`` is tokens times parameters."""

    row: Row
    backend: str
    cpu_s: float
    weight: float
    good: bool


class Share(Struct, frozen=True):
    """What the answers of one kind came to."""

    cpu_s: float
    weight: float
    quality: float
    misrouted: int


def cpu_seconds(pid: int) -> float:
    """What a process has used so far."""
    stat = Path(f"/proc/{pid}/stat")
    if stat.exists():
        fields = stat.read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    said = subprocess.run(["ps", "-o", "cputime=", "-p", str(pid)], capture_output=True, text=True, check=True).stdout
    seconds = 0.0
    for part in said.strip().split(":"):
        seconds = seconds * 60 + float(part)
    return seconds


def parameters(folder: Path) -> float:
    """Of a model in two bytes each."""
    return sum(path.stat().st_size for path in folder.glob("*.safetensors")) / 2


def ask(daemon: Standalone, rows: list[Row], model: str, sizes: dict[str, float]) -> list[Answer]:
    answers = []
    with daemon.client() as client:
        pids = {status.backend: status.pid or 0 for status in client.status().models}
        for row in rows:
            before = sum(map(cpu_seconds, pids.values()))
            done = client.chat(row.prompt, model=model, temperature=0.0, stop=["\n\n", "Question:"])
            cpu_s = sum(map(cpu_seconds, pids.values())) - before
            good = any(word in done.text.lower() for word in row.accept)
            answers.append(Answer(row, done.backend, cpu_s, done.usage.total_tokens * sizes[done.backend], good))
            print(f"  {model:8} {row.label:8} by {done.backend:8} {cpu_s:6.2f} s  {done.text[:60]!r}", flush=True)
    return answers


def share(answers: list[Answer], label: str) -> Share:
    found = [answer for answer in answers if label in ("", answer.row.label)]
    return Share(
        cpu_s=round(sum(answer.cpu_s for answer in found), 2),
        weight=sum(answer.weight for answer in found),
        quality=round(sum(answer.good for answer in found) / len(found), 3),
        misrouted=sum(answer.backend != answer.row.label for answer in found),
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--complex", type=Path, help="a folder with the larger model, in bfloat16")
    parser.add_argument("--below", type=float, default=3, help="the score from which the larger one is asked")
    parser.add_argument("--cap", type=int, help="bound both models' answers by so many tokens, instead of 10 and 48")
    parser.add_argument("--rows", type=int, default=12, help="of each label")
    options = parser.parse_args()
    larger = options.complex or make(places().cache / "benchmarks" / "gemma-3-270m")
    smaller = anyio.run(prepare, ModelReference.parse("demo", Path()), places().cache, lambda *_: None)
    sizes = {"simple": parameters(smaller), "complex": parameters(larger)}
    every = [msgspec.json.decode(line, type=Row) for line in ROWS.read_text().splitlines()]
    rows = [row for label in LABELS for row in [row for row in every if row.label == label][: options.rows]]
    with tempfile.TemporaryDirectory() as folder:
        short, long = (options.cap, options.cap) if options.cap else (10, 48)
        config = CONFIG.format(smaller=smaller, larger=larger, below=options.below, short=short, long=long)
        with standalone_daemon(Path(folder), config) as daemon:
            with daemon.client() as client:
                for name in LABELS:
                    client.models("load", name)
            found = {way: ask(daemon, rows, model, sizes) for way, model in WAYS.items()}
    return tell(found, sizes)


def tell(found: dict[str, list[Answer]], sizes: dict[str, float]) -> int:
    print(f"\nparameters: {sizes['simple'] / 1e6:.0f} M and {sizes['complex'] / 1e6:.0f} M")
    print(f"{'':16}{'rows':10}{'CPU s':>8}{'tokens x G':>12}{'quality':>9}{'not as labelled':>17}")
    shares = {way: {label: share(answers, label) for label in (*LABELS, "")} for way, answers in found.items()}
    for way, parts in shares.items():
        for label, part in parts.items():
            missed = str(part.misrouted) if way == "routed" else ""
            print(
                f"{way:16}{label or 'all':10}{part.cpu_s:8.1f}{part.weight / 1e9:12.1f}{part.quality:9.0%}{missed:>17}"
            )
    saved = {
        label or "all": round(1 - shares["routed"][label].cpu_s / shares["always complex"][label].cpu_s, 3)
        for label in (*LABELS, "")
    }
    print(f"CPU seconds saved: {saved['simple']:.0%} on simple rows, {saved['all']:.0%} on all")
    weights = {way: shares[way]["simple"].weight for way in ("always complex", "routed")}
    saved_weight = round(1 - weights["routed"] / weights["always complex"], 3)
    print(f"tokens times parameters saved: {saved_weight:.0%} on simple rows")
    facts = {
        "saved_cpu": saved,
        "saved_weight_simple": saved_weight,
        "misrouted": shares["routed"][""].misrouted,
        "rows": len(found["routed"]),
    }
    quality = {way: parts[""].quality for way, parts in shares.items()}
    print(json.dumps({**facts, "quality": quality}))
    return int(saved["simple"] < SAVED)


if __name__ == "__main__":
    sys.exit(main())
