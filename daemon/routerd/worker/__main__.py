"""``python -m routerd.worker``: run a model on a socket of the daemon, count with its tokenizer, or convert one.

Exit codes: 0 the daemon said so or is gone, 2 wrong arguments, 3 the model cannot be used.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from . import lifeline
from .printed import print_to_stderr

PROMPT_CACHE = 256 * 1024 * 1024


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m routerd.worker")
    modes = parser.add_subparsers(dest="mode", required=True)
    serve = modes.add_parser("serve", help="run a model")
    serve.add_argument("--fd", type=int, required=True, help="the worker's end of a socketpair")
    serve.add_argument("--parent", type=int, required=True, help="the daemon's process id")
    serve.add_argument("--model", type=Path, required=True, help="a folder in mlx-lm's format")
    serve.add_argument("--context", type=int, help="cap on prompt and answer together, in tokens")
    serve.add_argument("--max-tokens", type=int, default=4096, help="an answer's cap where none is asked for")
    serve.add_argument("--concurrency", type=int, default=8, help="answers decoded together")
    serve.add_argument("--adapter", type=Path, help="a folder with a LoRA adapter in mlx-lm's format")
    serve.add_argument("--kv-pool", type=int, default=0, help="bytes all KV caches may take; 0 for no limit")
    serve.add_argument("--prompt-cache", type=int, default=PROMPT_CACHE, help="bytes of kept prompts; 0 for none")
    serve.add_argument("--memory", type=int, default=0, help="bytes mlx may take in all; 0 for its own limit")
    serve.add_argument("--buffers", type=int, default=0, help="bytes of freed buffers mlx may keep; 0 for 512 MiB")
    count = modes.add_parser("count", help="count the tokens of prompts, with the tokenizer alone")
    count.add_argument("--fd", type=int, required=True, help="its end of a socketpair")
    count.add_argument("--parent", type=int, required=True, help="the daemon's process id")
    count.add_argument("--model", type=Path, required=True, help="a folder in mlx-lm's format")
    convert = modes.add_parser("convert", help="make a model folder of a .gguf file")
    convert.add_argument("src", type=Path)
    convert.add_argument("dst", type=Path)
    convert.add_argument("--dtype", choices=["bf16", "4bit"], default="bf16")
    return parser.parse_args(arguments)


def stay_local() -> None:
    """Keep the libraries to local files, and quiet. They read these variables when they are imported."""
    os.environ.update(
        HF_HUB_OFFLINE="1",
        TRANSFORMERS_OFFLINE="1",
        HF_HUB_DISABLE_PROGRESS_BARS="1",
        HF_HUB_DISABLE_TELEMETRY="1",
        TRANSFORMERS_VERBOSITY="warning",
        TOKENIZERS_PARALLELISM="false",
    )


def main() -> None:
    arguments = parse()
    stay_local()
    # The modes are imported late: the watch on the parent must stand before anything slow begins.
    if arguments.mode == "convert":
        from .convert import run

        run(arguments)
        return
    print_to_stderr()
    lifeline.ignore_keyboard()
    lifeline.bind_to_parent(arguments.parent)
    lifeline.volunteer_for_oom()
    if arguments.mode == "serve":
        from .serve import serve

        serve(arguments)
    else:
        from .count import count

        count(arguments)


if __name__ == "__main__":
    main()
