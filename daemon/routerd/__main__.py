"""``routerd``: the daemon's own command."""

from __future__ import annotations

import faulthandler
import gc
import os
import resource
import stat
import sys
from functools import partial
from pathlib import Path

import anyio
import click
import msgspec

from . import __version__, lean  # noqa: F401 - before all that imports structlog
from .app.secrets import unresolved
from .app.serve import serve
from .app.signals import hold
from .config.load import ConfigFailedError
from .config.places import places
from .logs import leave, logging_to
from .server.claim import SocketTakenError

EXIT_CONFIG = 2
EXIT_CANNOT_START = 3
EXIT_AGAIN = 75

MAX_STDERR = 1_000_000


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="routerd")
def main() -> None:
    """The local model router. `routerctl` asks it things; `routerd serve` runs it.

    \b
    Examples:
      routerd serve
    """


@main.command("serve")  # of type Path: click.Path asks the disk, which may hang
@click.option("--config", type=Path, help="The routes.yaml to use.  [env: ROUTERD_CONFIG]")
@click.option("--socket", type=Path, help="The Unix socket to listen on.  [env: ROUTERD_SOCKET]")
@click.option("--state-dir", type=Path, help="Where state and logs are kept.  [env: ROUTERD_STATE_DIR]")
@click.option("--quiet", is_flag=True, help="Log to the file only, not to the terminal.")
@click.option("--agent", is_flag=True, help="As a login agent is run: log to the file only; end if it hangs.")
def serve_command(config: Path | None, socket: Path | None, state_dir: Path | None, quiet: bool, agent: bool) -> None:
    """Run the daemon in the foreground until Ctrl-C.

    \b
    Examples:
      routerd serve
      routerd serve --config ./routes.yaml --socket /tmp/me/routerd.sock --state-dir ./state

    \b
    Exit codes: 0 stopped, 2 the configuration is wrong, 3 it cannot start (socket, folders). With --agent also
    70 it hung, 75 the Python that runs it was removed: both are for the service manager, which starts it again.
    """
    hold()
    os.umask(0o077)  # whatever it makes, folders on the way among it, is its user's alone
    _raise_descriptor_limit()
    _stay_responsive()
    if agent:
        _shorten_stderr()
        faulthandler.enable()  # systemd's watchdog ends a hung daemon by SIGABRT
    where = places(config, socket, state_dir)
    try:
        with logging_to(where.log_file, terminal=not (quiet or agent)):
            again = anyio.run(partial(serve, where, agent=agent), backend_options={"use_uvloop": True})
    except Exception as error:
        failure = _only(error)
        match failure:
            case ConfigFailedError():
                click.echo("\n".join(str(e) for e in failure.errors), err=True)
                leave(EXIT_CONFIG)
            case SocketTakenError() | OSError():
                click.echo(f"routerd: {failure}", err=True)
                leave(EXIT_CANNOT_START)
            case RuntimeError() if "new thread" in str(failure):
                click.echo("routerd: the system gives it no threads; see `ulimit -u` and what else runs", err=True)
                leave(EXIT_CANNOT_START)
        raise
    leave(EXIT_AGAIN if again else 0)


@main.command("secrets")
@click.option("--config", type=Path, help="The routes.yaml to use.  [env: ROUTERD_CONFIG]")
def secrets_command(config: Path | None) -> None:
    """Say as JSON which secrets of routes.yaml cannot be had here. `routerctl install` asks so in the agent's place.

    \b
    Examples:
      routerd secrets
      env -i HOME="$HOME" ~/.local/bin/routerd secrets     # as a login agent would have them
    """
    with logging_to(None, terminal=False):
        try:
            missing = anyio.run(unresolved, places(config))
        except ConfigFailedError as error:
            click.echo("\n".join(map(str, error.errors)), err=True)
            sys.exit(EXIT_CONFIG)
    click.echo(msgspec.json.encode(missing))


def _raise_descriptor_limit() -> None:
    # Each open request of a client is a connection, and login agents start with 256 descriptors.
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 4096 if hard == resource.RLIM_INFINITY else min(4096, hard)
    if soft < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        except (ValueError, OSError):
            pass  # macOS has a limit of its own beside the hard one: then with fewer


def _shorten_stderr() -> None:
    # What a crash said goes to a file that launchd never rotates.
    said = os.fstat(sys.stderr.fileno())
    if stat.S_ISREG(said.st_mode) and said.st_size > MAX_STDERR:
        os.ftruncate(sys.stderr.fileno(), 0)


def _stay_responsive() -> None:
    # A reload of a large file is work for a helper thread: it must give the interpreter up often. No collection is to
    # walk through all that was imported, and none so seldom that the garbage of cancelled answers adds up to megabytes.
    sys.setswitchinterval(0.001)
    gc.collect()
    gc.freeze()
    gc.set_threshold(5_000, 20, 100)


def _only(error: Exception) -> Exception:
    """The one exception in a task group's."""
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


if __name__ == "__main__":
    main()
