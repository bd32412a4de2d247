"""From a backend's block in routes.yaml to the backend. A new format has its line here."""

from __future__ import annotations

from ..config.schema import BackendSpec
from ..supervisor.supervisor import Supervisor
from .base import Backend
from .mlx import MlxBackend


def build(name: str, spec: BackendSpec, supervisor: Supervisor) -> Backend:
    """The backend that ``spec`` describes."""
    return MlxBackend(name, spec.mlx, supervisor)
