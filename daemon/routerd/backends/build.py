"""From a backend's block in routes.yaml to the backend. A new format has its line here."""

from __future__ import annotations

from ..config.schema import BackendSpec
from ..supervisor.supervisor import Supervisor
from . import anthropic, openai, responses
from .base import Backend
from .format import Format
from .http import Http
from .mlx import MlxBackend

FORMATS: dict[str, Format] = {"openai": openai, "anthropic": anthropic, "responses": responses}


def build(name: str, spec: BackendSpec, supervisor: Supervisor, http: Http) -> Backend:
    """The backend that ``spec`` describes. ``http`` is what those over HTTP share."""
    if spec.mlx:
        return MlxBackend(name, spec.mlx, supervisor)
    assert spec.http
    return http.backend(name, spec.kind, spec.http, FORMATS[spec.kind])
