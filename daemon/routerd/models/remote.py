"""The hub itself, through huggingface_hub. Loaded only by the process that downloads.

Its ``snapshot_download`` is not used: it begins a file anew in each process, and compares sizes but
no hashes. What it knows of tokens, endpoints, proxies and redirects is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from huggingface_hub import HfApi, constants, get_session, get_token, hf_hub_url
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined, unused-ignore]  # loaded lazily

from .errors import PrepareError
from .listing import ListedFile, Listing
from .transfer import Body, Patience, TransientError, WrongLengthError

LISTING_TIMEOUT_S = 30.0

# The base of all errors of its HTTP library, which is another one in each of its major versions.
HttpError: type[Exception] = HfHubHTTPError.__mro__[1]


def offline() -> bool:
    """Whether the environment forbids to ask the hub."""
    return bool(constants.HF_HUB_OFFLINE)


class Remote:
    """The repository ``name`` on the hub, or on what ``HF_ENDPOINT`` names."""

    def __init__(self, name: str) -> None:
        self._name = name

    def listing(self, revision: str) -> tuple[str, Listing]:
        """The commit that ``revision`` means now, and what it holds. Blocks. Raises `PrepareError`."""
        patience = Patience()
        while True:
            try:
                with self._explained(revision):
                    info = HfApi().model_info(
                        self._name, revision=revision or "main", files_metadata=True, timeout=LISTING_TIMEOUT_S
                    )
                return _commit(info.sha), _listing(info.siblings or [])
            except TransientError as error:
                patience.lose(error)
            except ValueError as error:
                raise PrepareError(f"the hub's listing of {self._name} makes no sense: {error}") from error

    @contextmanager
    def open(self, commit: str, file: str, start: int) -> Iterator[Body]:
        """``file`` from ``start`` on, as `transfer.Open` has it. Raises `PrepareError` too."""
        headers = build_hf_headers() | {"Accept-Encoding": "identity"}
        if start:
            headers["Range"] = f"bytes={start}-"
        url = hf_hub_url(self._name, file, revision=commit)
        timeout = constants.HF_HUB_DOWNLOAD_TIMEOUT
        with self._explained(commit), get_session().stream("GET", url, headers=headers, timeout=timeout) as response:
            if response.status_code == 416:
                raise WrongLengthError
            if response.status_code >= 400:
                raise self._refusal(response.status_code, response.headers, commit)
            yield Body(start if response.status_code == 206 else 0, response.iter_bytes())

    @contextmanager
    def _explained(self, revision: str) -> Iterator[None]:
        try:
            yield
        except HfHubHTTPError as error:
            raise self._refusal(error.response.status_code, error.response.headers, revision) from error
        except HttpError as error:
            raise TransientError(f"{constants.ENDPOINT} cannot be reached: {error or type(error).__name__}") from error

    def _refusal(self, status: int, headers: Mapping[str, str], revision: str) -> Exception:
        name, where = self._name, f"{constants.ENDPOINT}/{self._name}"
        match headers.get("X-Error-Code"), status:
            case _, 408 | 429 | 500 | 502 | 503 | 504:
                return TransientError(f"{constants.ENDPOINT} is too busy or fails ({status})", _retry_after(headers))
            case "GatedRepo", _:
                hint = f"accept its terms at {where}, then set HF_TOKEN or run: hf auth login"
                return PrepareError(f"{name} is given only to those who accepted its terms", hint=hint, permanent=True)
            case "RevisionNotFound", _:
                return PrepareError(f"{name} has no revision {revision}", hint=f"see {where}/commits", permanent=True)
            case (_, 401) if "Invalid" in headers.get("X-Error-Message", ""):
                return PrepareError(
                    "the hub does not accept your token", hint="set another HF_TOKEN: hf auth login", permanent=True
                )
            case _, 401 | 404:
                hint = "check the name" + ("" if get_token() else "; a private one needs HF_TOKEN, or: hf auth login")
                return PrepareError(f"the hub knows no model {name}, or not for you", hint=hint, permanent=True)
            case _, 403:
                return PrepareError(
                    f"the hub does not give you {name}", hint="may your token read it? hf auth whoami", permanent=True
                )
        return PrepareError(f"the hub answered {status} for {name}")


def _commit(sha: object) -> str:
    """It becomes a path, too. Raises ``ValueError``."""
    if not re.fullmatch("[0-9a-f]{40}", str(sha)):
        raise ValueError(f"{sha!r} is no commit")
    return str(sha)


def _listing(siblings: list[Any]) -> Listing:
    """Raises ``ValueError`` where something is absent that every hub gives."""
    files = {}
    for file in siblings:
        if file.size is None or file.blob_id is None:
            raise ValueError(f"{file.rfilename} has no size or hash")
        large = (file.lfs.sha256, file.lfs.size) if file.lfs else (None, None)
        files[file.rfilename] = ListedFile(file.size, file.blob_id, *large)
    listing = Listing(files)
    listing.check()
    return listing


def _retry_after(headers: Mapping[str, str]) -> float | None:
    value = headers.get("Retry-After", "")
    return float(value) if value.isdecimal() else None
