"""The ledger: what happened, what it cost, what was learned. SQLite lives in this room alone."""
