"""Agents that ask this daemon: what each is configured with. Texts are made here; nothing is read or written."""
