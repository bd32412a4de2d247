"""What routes.yaml may say, as structs. Defaults stand here once; docs/routes.md is written from them.

`build.build` fills these from a YAML tree and reports every mistake with its place. A field's
annotation says how its text is read: `Duration` (``15m`` -> seconds), `Size` (``8GB`` -> bytes).
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from routerd_client.chat import Priority

from .budgets import BudgetsSpec, PriceSpec
from .front import FrontSpec
from .http import HTTP_KINDS, HttpSpec
from .match import MatchSpec
from .strategy import EndpointSpec, EscalateOn
from .types import Duration, Secret, Size, Word


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
    adapter: str | None = None
    """A folder with a fine-tuning of the model, as mlx-lm's training writes it."""
    hosts: tuple[str, ...] = ()
    """Machines that share the model, this one first; one that is named twice takes two parts."""
    load_timeout: Duration = 600.0
    """A load that takes longer is killed."""
    stall_timeout: Duration = 60.0
    """No token and no prefill step for this long while a request is in flight: the process is killed."""


NOT_SUPPORTED: dict[tuple[type, str], str] = {
    (MlxSpec, "draft_model"): "answers are decoded in batches, and mlx-lm has no speculative decoding there: remove it",
}
"""Keys that other programs know and this one does not, each with the reason."""


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


class QuotaSpec(Struct, frozen=True, kw_only=True):
    """What may be used of a backend in a span of time; one of ``tokens``, ``requests`` and ``usd`` is given."""

    per: Literal["minute", "hour", "5h", "day", "week", "month"]
    tokens: int | None = None
    requests: int | None = None
    usd: float | None = None
    window: Literal["fixed", "rolling"] = "fixed"
    starts: str = ""
    """A moment at which a fixed window began or will begin, such as ``2026-11-03T09:00``: the others follow from it."""


class BackendSpec(Struct, frozen=True, kw_only=True):
    """One place that can answer: exactly one of ``mlx``, ``openai``, ``anthropic`` and ``responses``."""

    mlx: MlxSpec | None = None
    openai: HttpSpec | None = None
    """Any API like OpenAI's chat/completions."""
    anthropic: HttpSpec | None = None
    """Any API like Anthropic's messages."""
    responses: HttpSpec | None = None
    """Any API like OpenAI's responses."""
    health: HealthSpec | None = None
    """Overrides the file's own ``health`` block as a whole."""
    tags: tuple[str, ...] = ()
    strengths: tuple[Word, ...] = ()
    """Values of ``task`` for which it goes before others."""
    billing: Literal["local", "prepaid", "metered"] | None = None
    """``local`` costs nothing, ``prepaid`` is paid already, ``metered`` costs by the token."""
    price: PriceSpec | None = None
    """What its tokens cost; by ``prices`` or routerd's own table where absent."""
    quota: tuple[QuotaSpec, ...] = ()
    quality: float | None = None
    """0..1, for ``quality_floor``; the share of its answers that were good where absent."""

    @property
    def http(self) -> HttpSpec | None:
        return self.openai or self.anthropic or self.responses

    @property
    def kind(self) -> str:
        """The key it is written under."""
        return next(kind for kind in BACKEND_KINDS if getattr(self, kind))

    @property
    def near(self) -> bool:
        """True where it stands on this machine, as far as the file says; what is sent to it may still leave it."""
        return self.http is None or (self.http.near and self.http.local is not False)

    @property
    def local(self) -> bool:
        """True where nothing that is sent to it leaves the machine, as the file says."""
        if self.mlx:
            return len(set(self.mlx.hosts)) <= 1
        return self.http is not None and self.http.local is True

    @property
    def bills(self) -> Literal["local", "prepaid", "metered"]:
        free = self.http is None or self.http.near
        return self.billing or ("local" if free else "metered")


BACKEND_KINDS = ("mlx", *HTTP_KINDS)


class OverrideSpec(Struct, frozen=True, kw_only=True):
    """What a route sets on requests it matches. Absent, null and ``""`` are no opinion; 0 and false are values."""

    model: str = ""
    """The name that is sent to a backend over HTTP, instead of its own."""
    api_key: Secret | None = None
    """For a backend over HTTP, instead of its own."""
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
    stream_mode: Literal["live", "safe"] | None = None
    """``live`` releases an answer as soon as its beginning looks well, ``safe`` only when it is whole."""
    local_only: bool | None = None
    persona: str = ""
    """A file whose text goes before the conversation; ``none`` for none."""
    first_token: Duration | None = None
    """These three are the timeouts of a backend over HTTP."""
    stall: Duration | None = None
    total: Duration | None = None
    escalate_on: tuple[EscalateOn, ...] = ()
    max_hops: int | None = None
    policy: Literal["burn", "frugal", "fixed"] | None = None
    """For ``headroom``."""


class RouteSpec(Struct, frozen=True, kw_only=True):
    """First match wins."""

    match: MatchSpec
    use: str
    """An endpoint, a backend, or ``tag:NAME``."""
    name: str = ""
    """For ``status`` and ``explain``; ``routes[N]`` where absent."""
    set: OverrideSpec | None = None


class LogSpec(Struct, frozen=True, kw_only=True):
    level: Literal["debug", "info", "warning", "error"] = "info"
    prompts: bool = False
    """Write prompt and answer text into the log. Off: texts never reach it."""


class TestSpec(Struct, frozen=True, kw_only=True):
    """A request, and who must come first for it. Run by ``check`` and before each reload."""

    __test__ = False  # for pytest

    expect: str
    """The endpoint or the first backend."""
    prompt: str = ""
    context: dict[str, Word] = {}
    model: str = ""
    client: str = ""


class StickySpec(Struct, frozen=True, kw_only=True):
    """Sessions keep to the backend that answered them."""

    expires: Duration = 3600.0
    """After this long without a request."""


class LedgerSpec(Struct, frozen=True, kw_only=True):
    """What is recorded of chats, and for how long."""

    keep: Duration = 90 * 86_400.0
    text: bool = False
    """Keep prompt and answer text too. Off: texts never reach the disk."""
    text_max: Size = 16_000
    """Of each text, the beginning."""
    text_keep: Duration = 7 * 86_400.0


class ConfigSpec(Struct, frozen=True, kw_only=True):
    """The whole of routes.yaml."""

    backends: dict[str, BackendSpec]
    default: str
    """The endpoint or backend for requests that no route matches."""
    version: Literal[1] = 1
    endpoints: dict[str, EndpointSpec] = {}
    routes: tuple[RouteSpec, ...] = ()
    aliases: dict[str, str] = {}
    """Model names (globs) that callers send, and the endpoint each means; ``routed`` sends them through the routes."""
    persona: str = ""
    """A file whose text goes before every conversation."""
    sticky: StickySpec = StickySpec()
    tests: tuple[TestSpec, ...] = ()
    health: HealthSpec = HealthSpec()
    memory: MemorySpec = MemorySpec()
    budgets: BudgetsSpec = BudgetsSpec()
    prices: dict[str, PriceSpec] = {}
    """What models cost, by their names (globs), where routerd's own table is not to be believed."""
    log: LogSpec = LogSpec()
    http: FrontSpec | None = None
    """Requests over TCP; none are taken without it. Over the daemon's own socket HTTP is always spoken."""
    ledger: LedgerSpec = LedgerSpec()
