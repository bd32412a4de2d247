"""Who of an endpoint's order may answer this request, and who goes first. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from msgspec import Struct
from msgspec.structs import replace

from routerd_client.records import FailureKind, Skipped

from ..config.schema import BackendSpec
from ..config.strategy import EndpointSpec
from .features import Features, offers_tools
from .strategy import Item
from .view import Asking, Limits, Wanted

TEMPLATE_TOKENS = 16
"""What a chat template may add to a message, at most."""
BYTES_A_TOKEN_MOST = 8
"""Text that is meant to be read does not get more bytes into its tokens, on average."""

UNPROVEN = (
    "local_only: it may forward the request (local: true says that it does not), or it is a routerd not asked yet"
)
NO_EMBEDDINGS = "it gives no embeddings"
NO_TOOLS = "does not support tools"


class Admission(Struct):
    """``admitted`` in the order to try; ``skipped`` with the reason. ``unsure``: whether the prompt fits these
    depends on a count of its tokens that nobody has made. ``unproven``: whether these keep a request that must stay on
    this machine depends on an answer that they have not been asked for."""

    admitted: list[Item]
    skipped: list[Skipped]
    unsure: list[str]
    unproven: list[str]


def admit(
    items: Iterable[Item],
    asking: Asking,
    wanted: Wanted,
    endpoint: EndpointSpec,
    backends: Mapping[str, BackendSpec],
    *,
    local_only: bool,
) -> Admission:
    """Sort ``items`` into those that may answer and those that may not; a backend's first item counts that is
    not drained."""
    admission = Admission([], [], [], [])
    seen: set[str] = set()
    drained: dict[str, str] = {}
    inside = False  # whether a backend on this machine came before
    for item in items:
        if item.drained:
            drained.setdefault(item.backend, item.reason)
            continue
        if item.backend in seen:
            continue
        seen.add(item.backend)
        limits = asking.view.limits(item.backend)
        spec = backends[item.backend]
        spills = inside and not spec.near and endpoint.spill == "explicit"
        inside = inside or spec.near
        leaves = _leaves(spec, limits) if local_only else ""
        leaves = leaves or ("spill: explicit: only where the request names it" if spills else "")
        if leaves == UNPROVEN:
            admission.unproven.append(item.backend)
        if why_not := leaves or _lacks(limits, asking.features):
            admission.skipped.append(Skipped(item.backend, why_not))
        elif overflow := _overflows(item.backend, limits, asking, admission.unsure):
            admission.skipped.append(Skipped(item.backend, overflow, FailureKind.CONTEXT_OVERFLOW))
        elif denied := asking.view.denied(item.backend, wanted) or asking.view.blocked(item.backend):
            admission.skipped.append(Skipped(item.backend, denied.reason, denied.failure, denied.permanent))
        else:
            admission.admitted.append(item)
    admission.skipped += [Skipped(backend, reason) for backend, reason in drained.items() if backend not in seen]
    return admission


def _leaves(spec: BackendSpec, limits: Limits) -> str:
    """Why a request that must stay on this machine may not go to the backend; ``""`` where it may."""
    if spec.local:
        return ""
    if spec.mlx:
        return "local_only: its model is shared with other machines"
    if not spec.near:
        return "local_only: it would leave the machine"
    if limits.stays is None:
        return UNPROVEN
    return "" if limits.stays else "local_only: it may forward the request (local: true says that it does not)"


def _lacks(limits: Limits, features: Features) -> str:
    """What the request needs and the backend has not."""
    if not limits.tools and offers_tools(features.chat):
        return NO_TOOLS
    if not limits.vision and features.has_images:
        return "it sees no images"
    return NO_EMBEDDINGS if features.embeds and not limits.embeddings else ""


def _overflows(backend: str, limits: Limits, asking: Asking, unsure: list[str]) -> str:
    """Why the prompt does not fit; ``""`` where it does, or, in ``unsure``, where nobody knows."""
    if limits.context is None or asking.features.embeds:  # of several texts, each has it for itself
        return ""
    features = asking.features
    size = features.prompt_bytes
    if size + TEMPLATE_TOKENS * (len(features.chat.messages) + len(features.chat.tools)) < limits.context:
        return ""
    tokens = asking.view.tokens(backend)
    if tokens is None:
        if size // BYTES_A_TOKEN_MOST >= limits.context:
            return f"the prompt's {size} bytes do not fit its context of {limits.context} tokens"
        unsure.append(backend)
        return ""
    return "" if tokens < limits.context else f"the prompt's {tokens} tokens do not fit its context of {limits.context}"


def prefer(
    items: list[Item], asking: Asking, endpoint: str, spec: EndpointSpec, backends: dict[str, BackendSpec]
) -> list[Item]:
    """``items`` with what strategies do not look at laid on: strengths, patience, the session."""
    task = asking.features.context.get("task")
    if task and len(items) > 1:
        strong = {item.backend for item in items if task in backends[item.backend].strengths}
        items = _first(items, strong, f"strong at {task}")
    if spec.patience is not None:
        soon = {item.backend for item in items if asking.view.wait(item.backend) <= spec.patience}
        if spec.spill != "active":
            soon -= set(_behind_local(items, backends))
        items = _first(items, soon, f"can begin within {spec.patience:g} s")
    kept = asking.view.sticky(endpoint)
    at = next((i for i, item in enumerate(items) if item.backend == kept), 0)
    if not at or items[at].rank < items[0].rank:
        return items
    others = sorted([*items[:at], *items[at + 1 :]], key=lambda item: item.rank < items[at].rank)
    return [_said(items[at], "the session keeps to it"), *others]


def _behind_local(items: list[Item], backends: dict[str, BackendSpec]) -> Iterator[str]:
    """The backends outside this machine that stand behind one inside it."""
    behind = False
    for item in items:
        if backends[item.backend].near:
            behind = True
        elif behind:
            yield item.backend


def _first(items: list[Item], chosen: set[str], reason: str) -> list[Item]:
    """The chosen first, each part in its order; the reason with those that gained by it."""
    if not chosen or len(chosen) == len(items):
        return items
    ahead = [item for item in items if item.backend in chosen]
    moved = [item if items[i] is item else _said(item, reason) for i, item in enumerate(ahead)]
    return [*moved, *(item for item in items if item.backend not in chosen)]


def _said(item: Item, reason: str) -> Item:
    return replace(item, reason=f"{reason}; {item.reason}")
