"""The first tokens of a loaded model: what they cost, and whether two prompts at once get what each gets alone."""

from __future__ import annotations

from typing import Any

import mlx.core as mx
from msgspec import Struct

from . import lm
from .chunks import FIRST
from .pool import Cost
from .solo import SoloGenerator

Logprobs = Any  # of one token; mlx ships no usable types

LONG, SHORT = 2 * FIRST + 1, FIRST + 1
"""Tokens of the two prompts. The short one's answer has begun before the long one is computed."""
DRAWN = (1, 3)
"""Tokens of the long prompt's answer and of the short one's, whose last one is computed beside the other, padded."""
TOLERANCE = {True: 1e-3, False: 0.05}
"""The mean difference of log probabilities, in their standard deviations, that rounding explains: in 32 bits, and in
less. Over all architectures of mlx-lm with random weights in 32 bits, sound ones came to 3e-6 at most, broken ones to
0.1 at least."""


class Findings(Struct, frozen=True):
    """``alone`` says why the model answers one request at a time; ``""`` where it answers several."""

    vocab: int
    cost: Cost
    alone: str = ""


class _Run(Struct):
    """The log probabilities of each prompt's drawn tokens, and (tokens, bytes) of the long prompt's cache."""

    logprobs: list[list[Logprobs]]
    sizes: list[tuple[int, int]]

    @property
    def cost(self) -> Cost:
        return Cost.measured(self.sizes[0], self.sizes[1])


def examine(model: lm.Model, rows: int) -> Findings:
    """Compute a few tokens as up to ``rows`` answers at once will be. Raises what mlx raises."""
    prompts = _prompts(model)
    alone = _computed_alone(model, prompts if rows > 1 else prompts[:1])
    vocab = alone.logprobs[0][0].shape[-1]
    try:
        together = _run(model, model.generator(rows), prompts[: len(alone.logprobs)])
    except Exception as exc:  # an architecture that mlx-lm cannot batch fails where it likes
        reason = " ".join(str(exc).split())[:200] or type(exc).__name__
        return Findings(vocab, alone.cost, f"mlx-lm cannot compute several requests to this architecture: {reason}")
    off = max(map(_difference, alone.logprobs, together.logprobs))
    if off > TOLERANCE[model.single_precision]:
        return Findings(vocab, alone.cost, "mlx-lm answers several requests to this architecture wrongly")
    return Findings(vocab, together.cost)


def _prompts(model: lm.Model) -> list[list[int]]:
    # Different tokens, as equal ones would hide a wrong mask or position.
    entries = max(1, len(model.tokenizer))
    return [[at % entries for at in range(LONG)], [at % entries for at in range(2 * LONG, 2 * LONG + SHORT)]]


def _computed_alone(model: lm.Model, prompts: list[list[int]]) -> _Run:
    runs = [_run(model, SoloGenerator(model.model, exact=True), [prompt], at) for at, prompt in enumerate(prompts)]
    return _Run([run.logprobs[0] for run in runs], runs[0].sizes)


def _run(model: lm.Model, generator: Any, prompts: list[list[int]], first: int = 0) -> _Run:
    """Compute ``prompts``; the answers are given, so that one different token does not change all that follow."""
    wanted = DRAWN[first : first + len(prompts)]
    uids = generator.insert_segments(
        [[prompt] for prompt in prompts], list(wanted), samplers=[_given(model)] * len(prompts)
    )
    run, steps = _Run([[] for _ in prompts], []), sum(map(len, prompts)) + sum(wanted)
    generator.prefill_step_size = FIRST
    for _ in range(steps):
        _, tokens = generator.next()
        if len(run.sizes) < 2 and (found := generator.extract_cache(uids[:1])):
            cache, computed = found[uids[0]]
            run.sizes.append((len(computed), lm.KvCaches().size(cache)))
        for response in tokens:
            run.logprobs[uids.index(response.uid)].append(response.logprobs)
        if all(len(found) == n for found, n in zip(run.logprobs, wanted, strict=True)):
            return run
    raise RuntimeError("some answer has not begun")


def _given(model: lm.Model) -> Any:
    """A sampler that always draws one token, none that would end the answer."""
    ends = set(model.tokenizer.eos_token_ids)
    token = next(at for at in range(len(ends) + 1) if at not in ends)
    return lambda logprobs: mx.full(logprobs.shape[:1], token, dtype=mx.int32)


def _difference(alone: list[Logprobs], together: list[Logprobs]) -> float:
    return max(map(_distance, alone, together))


def _distance(alone: Logprobs, together: Logprobs) -> float:
    """How far two distributions are apart; 0 where there is no telling, as one of them holds no numbers."""
    alone, together = alone.astype(mx.float32), together.astype(mx.float32)
    spread: Any = mx.std(alone).item()
    mean: Any = mx.mean(mx.abs(alone - together)).item()
    return float(mean / spread) if mean >= 0 and spread > 0 else 0.0
