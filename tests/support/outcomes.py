"""Prompts with made-up outcomes that depend on what they say: enough for a classifier to learn."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from random import Random

import msgspec
from anyio import to_thread

from routerd.routing.classify.calibrate import Row

from .daemon import ctl

EASY = ["say hello to", "what colour is", "name a friend of", "spell the name of"]
HARD = ["prove a lemma about", "find the eigenvalues for", "derive a bound for", "refute the claim on"]
THINGS = ["the river", "a teapot", "my uncle", "the moon", "an old ship", "the garden", "a violin", "the baker"]


def outcomes(count: int = 300, seed: int = 1) -> list[Row]:
    """The weak model fails at nine tenths of the hard prompts and at one tenth of the others. Its answers to
    those it fails at have a sum that is wrong."""
    random = Random(seed)
    return [_row(random, number) for number in range(count)]


async def calibrate(folder: Path) -> None:
    """Have ``routerctl`` make the judge of the daemon in ``folder``, from what a weak model is known to get wrong."""
    rows = folder / "outcomes.jsonl"
    rows.write_bytes(b"".join(msgspec.json.encode(row) + b"\n" for row in outcomes()))
    state = {"ROUTERD_STATE_DIR": str(folder / "state")}
    done = await to_thread.run_sync(partial(ctl, "calibrate", str(rows), "--by", "judge", env=state))
    assert (done.returncode, done.stderr) == (0, "")
    assert (folder / "state" / "judge.msgpack").is_file()


def _row(random: Random, number: int) -> Row:
    hard = random.random() < 0.5
    prompt = f"{random.choice(HARD if hard else EASY)} {random.choice(THINGS)} and {random.choice(THINGS)} {number}"
    fails = random.random() < (0.9 if hard else 0.1)
    answer = f"That is {number} + 1 = {number + (7 if fails else 1)}."
    return Row(prompt=prompt, strong_score=1.0, weak_score=0.0 if fails else 1.0, weak_answer=answer, id=number)
