"""Whether the configured models are there, whole, and fit."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from ...config.schema import ConfigSpec, MlxSpec
from ...config.units import format_size
from ...models.errors import ModelError
from ...models.folder import check_folder
from ...models.inventory import stored
from ...models.reference import Kind, ModelReference, resolve
from ...models.runtime import check_runtime
from ...models.size import estimate
from .finding import Finding, Scene, fail, ok, warn

SPARE = 0.9
"""The part of all memory that models may have where neither the daemon nor the configuration says."""


def models(scene: Scene) -> Iterator[Finding]:
    budget = _budget(scene)
    together = 0
    specs = _specs(scene.config)
    try:
        if specs:
            check_runtime()
    except ModelError as error:
        yield fail("models", str(error), error.hint)
        return
    for name, spec in specs:
        try:
            folder = _folder(spec, scene)
            if folder is None:
                yield ok("models", f"{name}: {spec.model} is made ready on its first use")
                continue
            check_folder(folder)
            least = estimate(folder).needed(spec.kv_tokens, spec.concurrency, 0) + spec.prompt_cache
        except (ModelError, OSError, ValueError) as error:
            hint = error.hint if isinstance(error, ModelError) else ""
            yield fail("models", f"{name}: {error}", hint)
            continue
        yield _fits(name, spec, least, budget)
        together += least if spec.preload or spec.pin else 0
    if together > budget:
        says = f"what is preloaded or pinned needs {format_size(together)} together, of {format_size(budget)}"
        yield warn("memory", says, "preload or pin fewer of them, or raise memory.budget")


def unfinished(scene: Scene) -> Iterator[Finding]:
    """Downloads and conversions that were cut short."""
    for model in stored(scene.places.cache):
        if not model.whole:
            fix = f"routerctl models pull {model.reference} goes on with it, routerctl models rm deletes it"
            yield warn("models", f"{model.reference} is not whole ({format_size(model.size_bytes)})", fix)


def _specs(config: ConfigSpec | None) -> list[tuple[str, MlxSpec]]:
    return [(name, backend.mlx) for name, backend in config.backends.items() if backend.mlx] if config else []


def _folder(spec: MlxSpec, scene: Scene) -> Path | None:
    reference = ModelReference.parse(spec.model, scene.base)
    folder = resolve(reference, scene.places.cache)
    if folder is None and reference.kind is Kind.HUB:
        raise ModelError(f"{spec.model} is not on this machine", hint=f"routerctl models pull {spec.model}")
    return folder


def _fits(name: str, spec: MlxSpec, least: int, budget: int) -> Finding:
    numbers = f"needs at least {format_size(least)} of the {format_size(budget)} that models may have"
    if least > budget and not spec.hosts:
        fix = "a smaller model, fewer kv_tokens, or a larger memory.budget"
        return fail("memory", f"{name}: {spec.model} {numbers}: it can never load", fix)
    return ok("models", f"{name}: {spec.model} is whole, {numbers}")


def _budget(scene: Scene) -> int:
    if scene.status and scene.status.memory and scene.status.memory.budget:
        return scene.status.memory.budget
    if scene.config and scene.config.memory.budget:
        return scene.config.memory.budget
    return int(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") * SPARE)
