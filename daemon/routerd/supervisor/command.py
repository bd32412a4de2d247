"""How child processes are started: the arguments that say what a model may have."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

from ..config.schema import MlxSpec
from .sizing import Size


def worker_command(spec: MlxSpec, model: Path, fd: int, size: Size) -> list[str]:
    """How a worker for ``spec`` is started; ``fd`` is its end of the socketpair."""
    if spec.hosts:
        return _group_command(spec, model, fd, size)
    command = [sys.executable, "-m", "routerd.worker", "serve", "--fd", str(fd), "--parent", str(os.getpid())]
    command += ["--model", str(model), "--concurrency", str(spec.concurrency)]
    command += ["--kv-pool", str(size.kv_pool), "--prompt-cache", str(spec.prompt_cache)]
    command += ["--memory", str(size.claim), "--buffers", str(size.buffers)]
    command += ["--adapter", spec.adapter] if spec.adapter else []
    return command + (["--context", str(spec.context)] if spec.context else [])


def _group_command(spec: MlxSpec, model: Path, fd: int, size: Size) -> list[str]:
    command = [sys.executable, "-m", "routerd.worker.group", "--fd", str(fd), "--parent", str(os.getpid())]
    command += ["--model", str(model), "--concurrency", str(spec.concurrency), "--kv-tokens", str(spec.kv_tokens)]
    command += ["--kv-pool", str(size.kv_pool if spec.prompt_cache else 0)]
    # So that it has asked for a sign of life more than once before it counts as stuck.
    command += ["--quiet-after", str(min(10.0, spec.stall_timeout / 3))]
    for host in spec.hosts:
        command += ["--host", host]
    return command + (["--context", str(spec.context)] if spec.context else [])


def counter_command(_spec: MlxSpec, model: Path, fd: int) -> list[str]:
    """How a counter for the model in the folder ``model`` is started: its tokenizer alone."""
    command = [sys.executable, "-m", "routerd.worker", "count", "--fd", str(fd), "--parent", str(os.getpid())]
    return [*command, "--model", str(model)]


Command = Callable[[MlxSpec, Path, int, Size], list[str]]
CounterCommand = Callable[[MlxSpec, Path, int], list[str]]
