"""``routerd``: the daemon's own command."""

from __future__ import annotations

import gc
import os
import resource
import sys
from pathlib import Path

import anyio
import click

from . import __version__
from .app.serve import serve
from .config.load import ConfigFailedError
from .config.places import places
from .logs import logging_to
from .server.listener import SocketTakenError

EXIT_CONFIG = 2
EXIT_CANNOT_START = 3


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="routerd")
def main() -> None:
    """The local model router. `routerctl` asks it things; `routerd serve` runs it."""


@main.command("serve")
@click.option("--config", type=click.Path(path_type=Path), help="The routes.yaml to use.  [env: ROUTERD_CONFIG]")
@click.option("--socket", type=click.Path(path_type=Path), help="The Unix socket to listen on.  [env: ROUTERD_SOCKET]")
@click.option(
    "--state-dir", type=click.Path(path_type=Path), help="Where state and logs are kept.  [env: ROUTERD_STATE_DIR]"
)
@click.option("--quiet", is_flag=True, help="Log to the file only, not to the terminal.")
def serve_command(config: Path | None, socket: Path | None, state_dir: Path | None, quiet: bool) -> None:
    """Run the daemon in the foreground until Ctrl-C.

    \b
    Examples:
      routerd serve
      routerd serve --config ./routes.yaml --socket /tmp/me/routerd.sock --state-dir ./state

    \b
    Exit codes: 0 stopped, 2 the configuration is wrong, 3 it cannot start (socket, folders).
    """
    os.umask(0o077)  # whatever it makes, folders on the way among it, is its user's alone
    _raise_descriptor_limit()
    _stay_responsive()
    where = places(config, socket, state_dir)
    try:
        with logging_to(where.log_file, terminal=not quiet):
            anyio.run(serve, where, backend_options={"use_uvloop": True})
    except Exception as error:
        failure = _only(error)
        match failure:
            case ConfigFailedError():
                click.echo("\n".join(str(e) for e in failure.errors), err=True)
                sys.exit(EXIT_CONFIG)
            case SocketTakenError() | OSError():
                click.echo(f"routerd: {failure}", err=True)
                sys.exit(EXIT_CANNOT_START)
        raise


def _raise_descriptor_limit() -> None:
    # Each open request of a client is a connection, and login agents start with 256 descriptors.
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 4096 if hard == resource.RLIM_INFINITY else min(4096, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _stay_responsive() -> None:
    # A reload of a large file is work for a helper thread: it must give the interpreter up often, and must not set
    # off a collection of all that was imported, which would hold it for tens of milliseconds.
    sys.setswitchinterval(0.001)
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


def _only(error: Exception) -> Exception:
    """The one exception in a task group's."""
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


if __name__ == "__main__":
    main()
