"""The thin client of routerd. ``Client`` blocks, ``AsyncClient`` runs on anyio; both speak one protocol."""
