"""The flights that are computed together, their KV caches, and the caches that are kept for later."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from msgspec import Struct

from ..wire import Memory
from . import lm
from .admission import Seat, joining, parking
from .chunks import ChunkSizer
from .endings import endings
from .flight import Flight
from .pool import Cost, Pool
from .promptcache import PromptCache
from .sampling import Samplers
from .solo import SoloGenerator
from .warmup import examine

WORTH_COPYING = 16
"""Fewer tokens are computed sooner, along with the rest of their prompt, than their cache is copied. Most prompts
of one template begin with a few tokens alike."""


class Limits(Struct, frozen=True):
    """``rows`` answers at once; ``kv_pool`` bytes of KV caches (0: any), ``prompt_cache`` of them kept (0: none)."""

    rows: int = 8
    kv_pool: int = 0
    prompt_cache: int = 0


class Batch:
    """What is in flight. Every method runs on the one thread that computes."""

    def __init__(self, model: lm.Model, samplers: Samplers, limits: Limits) -> None:
        self._model = model
        self._samplers = samplers
        self._limits = limits
        self.alone = ""
        """Why it computes one answer at a time; ``""`` where it computes several, or was not warmed up."""
        self._generator = self._make_generator()
        self._chunks = ChunkSizer()
        self._kept = PromptCache(limits.prompt_cache, lm.KvCaches(), shortest=WORTH_COPYING)
        self._flights: dict[int, Flight] = {}
        self.pool = Pool(limits.kv_pool, Cost(0, 0))

    def __len__(self) -> int:
        return len(self._flights)

    def __iter__(self) -> Iterator[Flight]:
        return iter(self._flights.values())

    def warm_up(self) -> None:
        """Compute a few tokens; learn the vocabulary, a token's KV cache, and whether the model takes several at once.

        Raises what mlx raises.
        """
        found = examine(self._model, self._limits.rows)
        self._model.vocab, self.alone = found.vocab, found.alone
        self.pool = Pool(self._limits.kv_pool, found.cost)
        self._generator = self._make_generator()

    @property
    def rows(self) -> int:
        """Answers that are computed together."""
        return 1 if self.alone else self._limits.rows

    def memory(self) -> Memory:
        active, peak, cache = lm.memory()
        kept = self._kept.size
        kv = self._generator.prompt_cache_nbytes + kept
        return Memory(active, peak, cache, kv, prompt_cache=kept, pool=self._limits.kv_pool)

    def admit(self, waiting: list[Flight]) -> list[Flight]:
        """Those of ``waiting``, oldest first, for whom there is room now. They are in the batch from here on."""
        by_order = {flight.order: flight for flight in waiting}

        def cached(seat: Seat) -> bool:
            flight = by_order[seat.order]
            return self._kept.covered(flight.tokens[: flight.prompt.system]) >= flight.prompt.system

        seats = [flight.seat for flight in waiting]
        # Without a cache to find it in, nobody has anything of another's system prompt.
        if not self._kept.enabled:
            seats = [Seat(seat.order, seat.length) for seat in seats]
        chosen = joining(seats, self._seats(), self.pool, self.rows, cached)
        return [by_order[seat.order] for seat in chosen]

    def join(self, flight: Flight) -> None:
        """Take ``flight`` in, with what is known of its tokens."""
        flight.drawing = self._samplers.drawing(flight.chat.sampling, flight.drawn)
        ends = endings(flight.chat, self._model.ends)
        cache, flight.done = self._kept.take(flight.tokens)
        flight.cached, flight.decoding, flight.unkept = flight.done, False, False
        (uid,) = self._generator.insert_segments(
            [flight.segments()],
            max_tokens=[min(flight.prompt.max_tokens, self.pool.longest - len(flight.prompt.ids)) - flight.drawn],
            caches=[cache],
            all_tokens=[flight.tokens[: flight.done]],
            samplers=[flight.drawing.sampler],
            logits_processors=[[*flight.drawing.processors, *ends.processors(len(flight.prompt.ids))]],
            stop_sequences=[lm.stop_sequences(ends.tokens)],
        )
        self._flights[uid] = flight
        self._kept.shrink(self._room())

    def make_room(self) -> list[Flight]:
        """Take out the youngest until the rest can take its next step, and return them, youngest first."""
        if not self.pool.limit:
            return []
        by_order = {flight.order: flight for flight in self._flights.values()}
        parked = [by_order[seat.order] for seat in parking(self._seats(), self.pool)]
        for flight in parked:
            self.leave(flight)
        self._kept.shrink(self._room())
        return parked

    def step(self) -> tuple[list[Flight], list[tuple[Flight, Any]]]:
        """Compute a chunk of every prompt and a token of every answer, and say of which. Raises what mlx raises."""
        self._keep_prompts()
        ahead = [n for flight in self._flights.values() if (n := flight.ahead)]
        # Chunks of one length: a shorter one would be padded, and the padding kept.
        chunk = min([self._chunks.each(len(ahead)), *ahead])
        prefills, tokens = self._measure(chunk) if ahead else self._advance(chunk)
        moved = [self._flights[response.uid] for response in prefills]
        for flight, response in zip(moved, prefills, strict=True):
            flight.done = len(flight.tokens) if response.end_of_prompt else flight.cached + response.progress[0]
            flight.decoding = response.end_of_prompt
            if not flight.decoding and flight.done in flight.marks:
                self._keep_mark(flight, *self._generator.extract_cache([response.uid])[response.uid])
        drawn = [(self._flights[response.uid], response) for response in tokens]
        # The solo generator draws and computes a first token in one step: there each is looked at.
        if self._samplers.finite.suspicious() or self.alone:
            for flight, response in drawn:
                flight.finite = lm.is_finite(response.logprobs[response.token])
        return moved, drawn

    def leave(self, flight: Flight) -> None:
        """Take ``flight`` out; nothing is kept of it. The generator may have ended it itself, and knows that."""
        uid = self._uid(flight)
        self._generator.remove([uid])
        del self._flights[uid]

    def finish(self, flight: Flight, response: Any) -> None:
        """Take ``flight`` out after ``response``, its last token, and keep its KV cache."""
        uid = self._uid(flight)
        cache, tokens = response.prompt_cache, response.all_tokens
        if cache is None:
            cache, tokens = self._generator.extract_cache([uid])[uid]
        self.leave(flight)
        self._keep(flight, cache, tokens)

    def clear(self) -> list[Flight]:
        """Begin anew, without anything computed so far; return who was in flight."""
        lost = list(self._flights.values())
        self._flights = {}
        self._kept.shrink(0)
        self._samplers.finite.forget()
        self._generator = self._make_generator()
        return lost

    def _make_generator(self) -> Any:
        if not self.alone:
            return self._model.generator(self._limits.rows)
        self._model.limit_memory()
        return SoloGenerator(self._model.model)

    def _measure(self, chunk: int) -> tuple[list[Any], list[Any]]:
        with self._generator.stats() as stats:
            advanced = self._advance(chunk)
        if stats.prompt_tokens:
            self._chunks.measured(stats.prompt_tokens, stats.prompt_time)
        return advanced

    def _advance(self, chunk: int) -> tuple[list[Any], list[Any]]:
        self._generator.prefill_step_size = chunk
        prefills, tokens = self._generator.next()
        return prefills, tokens

    def _keep_mark(self, flight: Flight, cache: Any, tokens: list[int]) -> None:
        # Where tokens can be taken away again, a whole prompt can as well be kept with the answer's first
        # tokens, once those are with the caller.
        whole = len(tokens) == len(flight.tokens) - 1 and len(tokens) != flight.prompt.system
        if whole and lm.KvCaches().can_trim(cache):
            flight.unkept = True
        else:
            self._keep(flight, cache, tokens)

    def _keep_prompts(self) -> None:
        """Keep the prompts of those whose first token is with the caller."""
        for uid, flight in self._flights.items():
            if flight.unkept and flight.drawn:
                self._keep(flight, *self._generator.extract_cache([uid])[uid])
                flight.unkept = False

    def _keep(self, flight: Flight, cache: Any, tokens: list[int]) -> None:
        if self._kept.enabled:
            lasting = len(tokens) == flight.prompt.system
            self._kept.keep(tokens, lm.settle(cache), room=self._room(), lasting=lasting)

    def _room(self) -> int:
        return self.pool.room([len(flight.tokens) for flight in self._flights.values()])

    def _seats(self) -> list[Seat]:
        return [flight.seat for flight in self._flights.values()]

    def _uid(self, flight: Flight) -> int:
        return next(uid for uid, each in self._flights.items() if each is flight)
