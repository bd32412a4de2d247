"""One answer at a time: a stand-in for mlx-lm's `BatchGenerator`, for models that it cannot compute together."""

from __future__ import annotations

import copy
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import mlx.core as mx
from msgspec import Struct

from .lm import flattened, generate_step, generation_stream, make_prompt_cache

Array = Any  # mlx ships no usable types


class Chunk(Struct):
    """A computed part of a prompt. ``progress`` is (done, all) of its tokens."""

    uid: int
    progress: tuple[int, int]
    end_of_prompt: bool = False


class Token(Struct):
    """An answer's next token. ``prompt_cache`` and ``all_tokens`` come with its last one."""

    uid: int
    token: int
    logprobs: Array
    finish_reason: str | None = None
    prompt_cache: Any = None
    all_tokens: list[int] | None = None


class Work(Struct):
    """What was computed of prompts while somebody measured: tokens and seconds."""

    prompt_tokens: int = 0
    prompt_time: float = 0.0


class _Line(Struct, eq=False):
    """One sequence: ``tokens`` are in ``cache``, ``ahead`` are the prompt's rest."""

    uid: int
    ahead: list[int]
    total: int
    max_tokens: int
    cache: Any
    tokens: list[int]
    sampler: Callable[[Array], Array] | None
    processors: list[Callable[[Array, Array], Array]]
    ends: Any
    steps: Iterator[tuple[int, Array]] | None = None
    drawn: int = 0


class SoloGenerator:
    """Computes what was inserted one after the other, each as mlx-lm does for a single answer.

    The methods are those of `BatchGenerator` that `Batch` uses, with the same meaning. ``exact`` caches grow token by
    token: they are as large as what is in them.
    """

    def __init__(self, model: Any, *, exact: bool = False) -> None:
        self.prefill_step_size = 2048
        self._model = model
        self._exact = exact
        self._lines: deque[_Line] = deque()  # the first is being computed
        self._next_uid = 0
        self._work = Work()

    def insert_segments(
        self,
        segments: list[list[list[int]]],
        max_tokens: list[int],
        caches: list[Any] | None = None,
        all_tokens: list[list[int]] | None = None,
        samplers: list[Callable[[Array], Array] | None] | None = None,
        logits_processors: list[list[Callable[[Array, Array], Array]]] | None = None,
        stop_sequences: list[Any] | None = None,
    ) -> list[int]:
        """Enqueue sequences, and return their ids."""
        uids = []
        for at, parts in enumerate(segments):
            ahead = [token for part in parts for token in part]
            cache = caches[at] if caches else None
            line = _Line(
                uid=self._next_uid,
                ahead=ahead,
                total=len(ahead),
                max_tokens=max_tokens[at],
                cache=self._fresh() if cache is None else cache,
                tokens=list(all_tokens[at]) if all_tokens else [],
                sampler=samplers[at] if samplers else None,
                processors=list(logits_processors[at]) if logits_processors else [],
                ends=stop_sequences[at].matcher() if stop_sequences else None,
            )
            self._lines.append(line)
            uids.append(line.uid)
            self._next_uid += 1
        return uids

    def next(self) -> tuple[list[Chunk], list[Token]]:
        """Compute the next chunk of the prompt, or the answer's next token. Raises what mlx raises."""
        if not self._lines:
            return [], []
        line = self._lines[0]
        if line.steps is not None:
            return [], [self._decode(line)]
        with mx.stream(generation_stream):
            return [self._prefill(line) if len(line.ahead) > 1 else self._begin(line)], []

    def extract_cache(self, uids: list[int]) -> dict[int, tuple[Any, list[int]]]:
        """Copies of the caches, with the tokens in them."""
        return {line.uid: (copy.deepcopy(line.cache), list(line.tokens)) for line in self._lines if line.uid in uids}

    def remove(self, uids: list[int]) -> None:
        self._lines = deque(line for line in self._lines if line.uid not in uids)

    @property
    def prompt_cache_nbytes(self) -> int:
        return sum(layer.nbytes for line in self._lines for layer in line.cache)

    @contextmanager
    def stats(self) -> Iterator[Work]:
        """The work on prompts while the block runs."""
        self._work = Work()
        yield self._work

    def _fresh(self) -> Any:
        cache = make_prompt_cache(self._model)
        for layer in flattened(cache) if self._exact else ():
            if hasattr(layer, "step"):
                layer.step = 1
        return cache

    def _prefill(self, line: _Line) -> Chunk:
        began = time.perf_counter()
        part = line.ahead[: min(self.prefill_step_size, len(line.ahead) - 1)]
        self._model(mx.array([part]), cache=line.cache)
        mx.eval([layer.state for layer in line.cache])
        mx.clear_cache()
        line.ahead = line.ahead[len(part) :]
        line.tokens += part
        self._work.prompt_tokens += len(part)
        self._work.prompt_time += time.perf_counter() - began
        return Chunk(line.uid, (line.total - len(line.ahead), line.total))

    def _begin(self, line: _Line) -> Chunk:
        before = mx.array(line.tokens, dtype=mx.int32)
        line.steps = generate_step(
            mx.array(line.ahead, dtype=mx.int32),
            self._model,
            max_tokens=line.max_tokens,
            sampler=line.sampler,
            logits_processors=[_after(before, each) for each in line.processors],
            prompt_cache=line.cache,
        )
        line.tokens += line.ahead
        line.ahead = []
        return Chunk(line.uid, (line.total, line.total), end_of_prompt=True)

    def _decode(self, line: _Line) -> Token:
        assert line.steps is not None
        token, logprobs = next(line.steps)
        line.tokens.append(token)
        line.drawn += 1
        answer = Token(line.uid, token, logprobs)
        ended = line.ends is not None and line.ends.advance(token)
        if ended or line.drawn >= line.max_tokens:
            answer.finish_reason = "stop" if ended else "length"
            answer.prompt_cache, answer.all_tokens = line.cache, line.tokens
            self._lines.popleft()
        return answer


def _after(before: Array, processor: Callable[[Array, Array], Array]) -> Callable[[Array, Array], Array]:
    """``processor``, given the tokens ``before`` too: `generate_step` knows those alone that it computed itself."""
    return lambda tokens, logits: processor(mx.concatenate([before, tokens.astype(before.dtype)]), logits)
