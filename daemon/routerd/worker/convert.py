"""``convert``: a .gguf file becomes a folder that mlx-lm loads."""

from __future__ import annotations

import json
import shutil
import sys
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlx.core as mx

from ..models.errors import BrokenModelError
from ..models.reference import split_gguf
from . import gguf
from .ggufvocab import write_tokenizer

CONVERT_FAILED = 3
BROKEN = "broken"
"""The phase that says that the file itself cannot be converted, before the reason."""
GROUP_SIZE = 32

Report = Callable[[str, float], None]


def run(arguments: Namespace) -> None:
    """The mode's main: progress as JSON lines on stdout, one line on stderr and exit code 3 on failure."""
    try:
        convert(arguments.src, arguments.dst, arguments.dtype, _print_progress)
    except (BrokenModelError, OSError) as exc:
        if isinstance(exc, BrokenModelError):
            _print_progress(BROKEN, 0.0)
        hint = f" ({exc.hint})" if isinstance(exc, BrokenModelError) and exc.hint else ""
        print(f"{exc}{hint}", file=sys.stderr)
        sys.exit(CONVERT_FAILED)


def _print_progress(phase: str, fraction: float) -> None:
    print(json.dumps({"phase": phase, "fraction": round(fraction, 3)}), flush=True)


def convert(src: Path, dst: Path, dtype: str, report: Report) -> None:
    """Convert ``src`` to the folder ``dst``, which appears only once it is whole.

    ``bf16`` unpacks quantized blocks, ``4bit`` keeps them as they are: both are faithful. Raises
    `BrokenModelError` for files that cannot be converted, ``OSError`` where writing fails.
    """
    report("read", 0.0)
    tensors, metadata = _read(src)
    partial = dst.with_name(dst.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        _write(partial, tensors, metadata, dtype, report)
        shutil.rmtree(dst, ignore_errors=True)
        partial.replace(dst)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    report("done", 1.0)


def _read(src: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    if not src.is_file():
        raise BrokenModelError(f"there is no file {src}")
    try:
        loaded: Any = mx.load(str(src), format="gguf", return_metadata=True)
    except (RuntimeError, ValueError) as exc:
        raise gguf.unsupported(f"{src.name} cannot be read ({exc})") from exc
    tensors, metadata = loaded
    if (parts := gguf.parts(metadata)) > 1:
        raise split_gguf(src.name, parts)
    return {gguf.tensor_name(name): array for name, array in tensors.items()}, metadata


def _write(folder: Path, tensors: dict[str, Any], metadata: dict[str, Any], dtype: str, report: Report) -> None:
    config = gguf.config(metadata, set(tensors))
    write_tokenizer(metadata, folder)
    quantized = any(name.endswith(".scales") for name in tensors)
    if dtype == "bf16":
        tensors = _unpacked(tensors, report)
    else:
        # Norms stay in F32 in the file; one such tensor would make every activation F32.
        tensors = {name: _cast(array, mx.float16) for name, array in tensors.items()}
        if quantized:
            config["quantization"] = {"group_size": GROUP_SIZE, "bits": 4}
    (folder / "config.json").write_text(json.dumps(config, indent=2))
    report("write", 1.0)
    mx.save_safetensors(str(folder / "model.safetensors"), tensors, metadata={"format": "mlx"})


def _unpacked(tensors: dict[str, Any], report: Report) -> dict[str, Any]:
    weights = [name for name in tensors if not name.endswith((".scales", ".biases"))]
    unpacked = {}
    for number, name in enumerate(weights, 1):
        unpacked[name] = _cast(_dequantized(tensors, name), mx.bfloat16)
        mx.eval(unpacked[name])
        report("weights", number / len(weights))
    return unpacked


def _dequantized(tensors: dict[str, Any], name: str) -> Any:
    packed, stem = tensors[name], name.removesuffix(".weight")
    scales = tensors.get(f"{stem}.scales")
    if scales is None:
        return packed
    # 32 bits a packed word over GROUP_SIZE = 32 values a scale
    bits = packed.shape[-1] // scales.shape[-1]
    # In float32, so that the result is rounded once: twice is enough to change an answer.
    scales, biases = (array.astype(mx.float32) for array in (scales, tensors[f"{stem}.biases"]))
    return mx.dequantize(packed, scales, biases, group_size=GROUP_SIZE, bits=bits)


def _cast(array: Any, dtype: Any) -> Any:
    return array.astype(dtype) if mx.issubdtype(array.dtype, mx.floating) else array
