"""How each request's tokens are drawn, so that no request can hurt another one of its batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from weakref import WeakValueDictionary

import mlx.core as mx
import msgspec

from routerd_client.chat import Sampling

from .lm import apply_min_p, apply_top_k, apply_top_p, make_logits_processors, make_sampler

Array = Any  # mlx ships no usable types


class Guard:
    """A sampler or logits processor that never raises.

    An exception inside a step would lose the whole batch. So the guard keeps the first one in
    ``failure``, and gives ``fallback`` of the same arguments from then on.
    """

    def __init__(self, call: Callable[..., Array], fallback: Callable[..., Array]) -> None:
        self._call = call
        self._fallback = fallback
        self.failure: Exception | None = None

    def __call__(self, *arguments: Array) -> Array:
        if self.failure is None:
            try:
                return self._call(*arguments)
            except Exception as exc:  # whatever it is, its owner hears of it and its mates do not
                self.failure = exc
        return self._fallback(*arguments)


def guard_sampler(sampler: Callable[[Array], Array]) -> Guard:
    """``sampler``, or the likeliest token once it fails."""
    return Guard(sampler, lambda logprobs: mx.argmax(logprobs, axis=-1))


def guard_processor(processor: Callable[[Array, Array], Array]) -> Guard:
    """``processor``, or the logits as they came once it fails."""
    return Guard(processor, lambda _tokens, logits: logits)


class Drawing:
    """One request's sampler and logits processors, each guarded."""

    def __init__(self, sampler: Guard, processors: list[Guard]) -> None:
        self.sampler = sampler
        self.processors = processors

    @property
    def failure(self) -> Exception | None:
        """What a guard caught, ``None`` while all goes well."""
        return next((g.failure for g in (self.sampler, *self.processors) if g.failure), None)


class FiniteWatch:
    """Notices drawn tokens whose log probability is no finite number: the model computed none.

    A generator draws a step ahead. So `suspicious` looks at what was drawn before the last step, which is computed
    by now, and waits for nothing.
    """

    def __init__(self) -> None:
        self._latest: list[Array] = []
        self._drawn: list[Array] = []

    def watch(self, sampler: Callable[[Array], Array]) -> Callable[[Array], Array]:
        """``sampler``, with the first token in place of one that is drawn from no numbers."""

        def watched(logprobs: Array) -> Array:
            tokens = sampler(logprobs)
            chosen = mx.take_along_axis(logprobs, tokens[:, None], axis=-1)
            finite = mx.isfinite(chosen).squeeze(-1)
            # As a part of the tokens' own computation it is there when they are.
            self._latest.append(finite)
            return mx.where(finite, tokens, 0)

        return watched

    def suspicious(self) -> bool:
        """Whether some token of the last step may be one. Called once after each step."""
        drawn, self._drawn, self._latest = self._drawn, self._latest, []
        return not all(all(each.tolist()) for each in drawn)

    def forget(self) -> None:
        """Leave what was drawn unseen: the step that drew it broke."""
        self._latest, self._drawn = [], []


class Samplers:
    """Makes a `Drawing` for each request.

    Requests with equal settings share one sampler object while any of them lives: mlx-lm then
    samples their rows in one call (eight distinct samplers cost 40 % of the speed). A seeded
    request has its own, with its own random key, so its text does not depend on its company.
    """

    def __init__(self, defaults: dict[str, Any] | None = None) -> None:
        self._defaults = defaults or {}
        self._shared: WeakValueDictionary[tuple[Any, ...], Guard] = WeakValueDictionary()
        self.finite = FiniteWatch()

    def drawing(self, sampling: Sampling, drawn: int = 0) -> Drawing:
        """How to draw for ``sampling``, whose values are checked; the model's defaults fill its gaps.

        ``drawn`` tokens of the answer are there already: a seeded request goes on after them.
        """
        sampling = self._filled(sampling)
        return Drawing(self._sampler(sampling, drawn), [guard_processor(p) for p in _processors(sampling)])

    def _filled(self, sampling: Sampling) -> Sampling:
        missing = {k: v for k, v in self._defaults.items() if getattr(sampling, k) is None}
        return msgspec.structs.replace(sampling, **missing)

    def _sampler(self, sampling: Sampling, drawn: int) -> Guard:
        if sampling.seed is not None and sampling.temperature:
            return guard_sampler(self.finite.watch(SeededSampler(sampling, drawn)))
        key = _key(sampling)
        guard = self._shared.get(key)
        if guard is None or guard.failure:
            guard = self._shared[key] = guard_sampler(self.finite.watch(_make_shared(sampling)))
        return guard


class SeededSampler:
    """Draws from its own key, split once a token; the same seed draws the same numbers anywhere.

    The first ``drawn`` draws are passed over.
    """

    def __init__(self, sampling: Sampling, drawn: int = 0) -> None:
        assert sampling.temperature, "a greedy request draws nothing"
        self._sampling = sampling
        self._heat = 1.0 / sampling.temperature
        self._key = mx.random.key(sampling.seed or 0)
        for _ in range(drawn):
            self._key, _ = mx.random.split(self._key)

    def __call__(self, logprobs: Array) -> Array:
        s = self._sampling
        if 0 < (s.top_p or 0) < 1:
            logprobs = apply_top_p(logprobs, s.top_p)
        if s.min_p:
            logprobs = apply_min_p(logprobs, s.min_p)
        if s.top_k:
            logprobs = apply_top_k(logprobs, s.top_k)
        self._key, key = mx.random.split(self._key)
        return mx.random.categorical(logprobs * self._heat, key=key)


def _key(s: Sampling) -> tuple[Any, ...]:
    if not s.temperature:
        return ("greedy",)
    return (s.temperature, s.top_p, s.top_k, s.min_p, s.xtc_probability, s.xtc_threshold)


def _make_shared(s: Sampling) -> Callable[[Array], Array]:
    sampler: Callable[[Array], Array] = make_sampler(
        temp=s.temperature or 0.0,
        top_p=s.top_p or 0.0,
        min_p=s.min_p or 0.0,
        top_k=s.top_k or 0,
        xtc_probability=s.xtc_probability or 0.0,
        xtc_threshold=0.1 if s.xtc_threshold is None else s.xtc_threshold,
    )
    return sampler


def _processors(s: Sampling) -> list[Callable[[Array, Array], Array]]:
    processors: list[Callable[[Array, Array], Array]] = make_logits_processors(
        logit_bias=s.logit_bias or None,
        repetition_penalty=s.repetition_penalty if s.repetition_penalty != 1 else None,
        presence_penalty=s.presence_penalty,
        frequency_penalty=s.frequency_penalty,
    )
    return processors
