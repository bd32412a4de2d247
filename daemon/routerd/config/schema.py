"""What routes.yaml may say, as structs. Defaults stand here once; docs/routes.md is written from them.

`build.build` fills these from a YAML tree and reports every mistake with its place. A field's
annotation says how its text is read: `Duration` (``15m`` -> seconds), `Size` (``8GB`` -> bytes).
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Struct

from routerd_client.chat import Priority

Duration = Annotated[float, "duration"]
"""Seconds. Written as a number of seconds or as ``500ms``, ``90s``, ``15m``, ``2h``, ``1d``, ``1h30m``."""

Size = Annotated[int, "size"]
"""Bytes. Written as a number of bytes or as ``512MB``, ``8GB`` (powers of 1000), ``8GiB`` (of 1024)."""


class MlxSpec(Struct, frozen=True, kw_only=True):
    """A model process that the daemon owns."""

    model: str
    """A Hugging Face id, a folder, a ``.gguf`` file, or ``demo``."""
    keep_alive: Duration | Literal["forever"] = 900.0
    """How long an idle model stays loaded. ``0`` unloads after each answer, ``forever`` never."""
    preload: bool = False
    """Load it at start instead of on the first request."""
    context: int | None = None
    """Cap on prompt and answer together, in tokens; the model's own limit where absent."""
    max_tokens: int = 4096
    """The answer's cap where neither the request nor a route gives one."""
    concurrency: int = 8
    """Answers decoded together; further requests wait."""
    kv_tokens: int = 16384
    """Tokens that all answers of the model may hold in their caches together; part of the memory it claims."""
    prompt_cache: Size = 256_000_000
    """Memory for prompts that may come again; 0 for none."""
    max_queue: int = 64
    """Requests that may wait for the model; further ones are refused."""
    pin: bool = False
    """Never unloaded: neither when idle nor for another model."""
    load_timeout: Duration = 600.0
    """A load that takes longer is killed."""
    stall_timeout: Duration = 60.0
    """No token and no prefill step for this long while a request is in flight: the process is killed."""


class MemorySpec(Struct, frozen=True, kw_only=True):
    """How much memory models may take, and who gives way."""

    budget: Size | None = None
    """For all models together; what the machine can spare where absent."""
    max_wait: Duration = 15.0
    """So long a load waits for busy models before they take no new requests until they are idle."""


class HealthSpec(Struct, frozen=True, kw_only=True):
    """When a backend is given a rest."""

    allowed_fails: int = 3
    """This many failures in a row open the breaker."""
    failure_rate: float = 0.5
    """So does this share of failures in the window, once ``min_requests`` were made."""
    min_requests: int = 5
    window: Duration = 60.0
    cooldown: Duration = 5.0
    """How long an open breaker waits before one probe; doubles with each failed probe, to ``cooldown_max``."""
    cooldown_max: Duration = 20.0


class BackendSpec(Struct, frozen=True, kw_only=True):
    """One place that can answer."""

    mlx: MlxSpec
    health: HealthSpec | None = None
    """Overrides the file's own ``health`` block as a whole."""


class EndpointSpec(Struct, frozen=True, kw_only=True):
    """A name callers ask for, standing for an ordered list of backends: the first that can, answers."""

    fallback: tuple[str, ...]


class OverrideSpec(Struct, frozen=True, kw_only=True):
    """What a route sets on requests it matches. Absent, null and ``""`` are no opinion; 0 and false are values."""

    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    priority: Priority | None = None
    deadline: Duration | None = None
    when_full: Literal["wait", "next", "refuse"] | None = None
    """Where a model is busy or has no memory: wait for it, go on to the next candidate, or fail."""
    stream: bool | None = None


class RouteSpec(Struct, frozen=True, kw_only=True):
    """First match wins. Every key of ``match`` must be in the caller's context with the value, or one of the values."""

    match: dict[str, str | tuple[str, ...]]
    use: str
    name: str = ""
    """For ``status`` and ``explain``; ``routes[N]`` where absent."""
    set: OverrideSpec | None = None


class LogSpec(Struct, frozen=True, kw_only=True):
    level: Literal["debug", "info", "warning", "error"] = "info"
    prompts: bool = False
    """Write prompt and answer text into the log. Off: texts never reach it."""


class ConfigSpec(Struct, frozen=True, kw_only=True):
    """The whole of routes.yaml."""

    backends: dict[str, BackendSpec]
    default: str
    """The endpoint or backend for requests that no route matches."""
    version: Literal[1] = 1
    endpoints: dict[str, EndpointSpec] = {}
    routes: tuple[RouteSpec, ...] = ()
    health: HealthSpec = HealthSpec()
    memory: MemorySpec = MemorySpec()
    log: LogSpec = LogSpec()
