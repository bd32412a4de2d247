"""The fault wall, played as `routerctl selftest` plays it."""
