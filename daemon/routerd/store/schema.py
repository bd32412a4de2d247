"""The ledger's tables. A released migration never changes: what comes later is another entry."""

from __future__ import annotations

import sqlite3

MIGRATIONS = (
    """
    CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);

    -- one row a chat
    CREATE TABLE decisions (
        request TEXT PRIMARY KEY,
        time REAL NOT NULL,                 -- seconds since 1970, at its end
        client TEXT NOT NULL, session TEXT NOT NULL, task TEXT NOT NULL,
        context TEXT NOT NULL,              -- a JSON object
        asked TEXT NOT NULL,                -- the model as the request named it
        named TEXT NOT NULL, route TEXT NOT NULL, endpoint TEXT NOT NULL, priority TEXT NOT NULL,
        tier TEXT NOT NULL,                 -- simple, complex, or nothing where complexity did not matter
        variant TEXT NOT NULL,              -- a or b, where the endpoint compares two limits
        score REAL,                         -- the one that it was chosen by
        scores TEXT NOT NULL,               -- a JSON object
        first TEXT NOT NULL,                -- the first candidate
        candidates TEXT NOT NULL, skipped TEXT NOT NULL,  -- JSON lists
        measures TEXT NOT NULL,             -- a JSON object: what of the request other routes may look at
        outcome TEXT NOT NULL,              -- ok, failed, cancelled
        backend TEXT NOT NULL, model TEXT NOT NULL,       -- who answered
        finish TEXT NOT NULL,
        code TEXT NOT NULL, message TEXT NOT NULL,        -- of the error it ended with
        flaw TEXT NOT NULL, flaw_message TEXT NOT NULL,
        usage TEXT NOT NULL,                -- a JSON object
        prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL,
        cost INTEGER NOT NULL,              -- millionths of a dollar
        ttft_s REAL, total_s REAL NOT NULL,
        hops INTEGER NOT NULL
    );
    CREATE INDEX decisions_time ON decisions (time);
    -- all that the figures of the tiers look at, which every status asks for
    CREATE INDEX decisions_tier ON decisions (time, tier, score, outcome, backend, first) WHERE tier != '';

    CREATE TABLE attempts (
        request TEXT NOT NULL, number INTEGER NOT NULL,
        time REAL NOT NULL,                 -- as the chat's
        backend TEXT NOT NULL, model TEXT NOT NULL,
        outcome TEXT NOT NULL,
        failure TEXT NOT NULL, message TEXT NOT NULL,
        standing TEXT NOT NULL,             -- what it says of the backend: good, bad, or nothing
        ttft_s REAL, total_s REAL NOT NULL,
        usage TEXT,                         -- a JSON object
        prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL,
        cost INTEGER NOT NULL,
        PRIMARY KEY (request, number)
    );
    CREATE INDEX attempts_time ON attempts (time);

    -- only where the configuration asks for it
    CREATE TABLE texts (request TEXT PRIMARY KEY, time REAL NOT NULL, prompt TEXT NOT NULL, answer TEXT NOT NULL);
    CREATE INDEX texts_time ON texts (time);

    CREATE TABLE feedback (
        id TEXT PRIMARY KEY DEFAULT (lower(hex(randomblob(8)))),
        request TEXT NOT NULL, time REAL NOT NULL,
        score REAL NOT NULL,                -- 0 bad .. 1 good
        note TEXT NOT NULL
    );
    CREATE INDEX feedback_request ON feedback (request);
    CREATE INDEX feedback_time ON feedback (time);

    -- one row an answered chat that another backend was asked too
    CREATE TABLE shadows (
        request TEXT PRIMARY KEY, time REAL NOT NULL,
        shadow TEXT NOT NULL,               -- the other chat's id
        endpoint TEXT NOT NULL, backend TEXT NOT NULL, other TEXT NOT NULL,
        score REAL,                         -- complexity of the ask
        agreement REAL NOT NULL,            -- of both answers, 0 .. 1
        quality REAL NOT NULL, other_quality REAL NOT NULL  -- as judged, 0 .. 1
    );
    CREATE INDEX shadows_time ON shadows (time);

    -- one row a metered hop
    CREATE TABLE spend (
        reservation TEXT PRIMARY KEY,
        request TEXT NOT NULL, attempt INTEGER NOT NULL,
        time REAL NOT NULL,                 -- seconds since 1970, of the reservation
        backend TEXT NOT NULL, model TEXT NOT NULL, route TEXT NOT NULL, client TEXT NOT NULL,
        reserved INTEGER NOT NULL,          -- millionths of a dollar, as all money here
        settled INTEGER,                    -- null while open
        state TEXT NOT NULL CHECK (state IN ('open', 'settled', 'released'))
    );
    CREATE INDEX spend_time ON spend (time);
    CREATE INDEX spend_open ON spend (state) WHERE state = 'open';

    CREATE TABLE quota_use (
        id TEXT PRIMARY KEY DEFAULT (lower(hex(randomblob(8)))),
        backend TEXT NOT NULL, time REAL NOT NULL,
        tokens INTEGER NOT NULL, requests INTEGER NOT NULL, cost INTEGER NOT NULL
    );
    CREATE INDEX quota_use_backend ON quota_use (backend, time);

    -- what model processes turned out to need
    CREATE TABLE measured (key TEXT PRIMARY KEY, time REAL NOT NULL, value TEXT NOT NULL);
    """,
    """
    -- answers that nobody judged have no quality
    ALTER TABLE shadows RENAME TO shadows_1;
    DROP INDEX shadows_time;
    CREATE TABLE shadows (
        request TEXT PRIMARY KEY, time REAL NOT NULL,
        shadow TEXT NOT NULL,               -- the other chat's id
        endpoint TEXT NOT NULL, backend TEXT NOT NULL, other TEXT NOT NULL,
        score REAL,                         -- complexity of the ask
        agreement REAL NOT NULL,            -- of both answers, 0 .. 1
        quality REAL, other_quality REAL    -- as judged, 0 .. 1
    );
    INSERT INTO shadows SELECT * FROM shadows_1;
    DROP TABLE shadows_1;
    CREATE INDEX shadows_time ON shadows (time);
    CREATE INDEX shadows_shadow ON shadows (shadow);
    """,
)
VERSION = len(MIGRATIONS)

TABLES = ("meta", "decisions", "attempts", "texts", "feedback", "shadows", "spend", "quota_use", "measured")
CARRIED = ("meta", "spend", "quota_use", "measured")
"""What is copied into memory where the file cannot be written any more: limits must hold, and models load."""


class CorruptError(sqlite3.DatabaseError):
    """A file whose content is damaged, though SQLite can open it."""

    sqlite_errorcode = sqlite3.SQLITE_CORRUPT


class NewerSchemaError(Exception):
    """The file was written by a newer program."""


def migrate(connection: sqlite3.Connection) -> bool:
    """Bring the tables to `VERSION`; true where there were none. Raises ``sqlite3.Error``, `CorruptError` where its
    tables are not those of its version, and `NewerSchemaError`."""
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > VERSION:
        raise NewerSchemaError(f"it was written by a newer routerd (schema {version}; this one knows {VERSION})")
    if version < 0:
        raise CorruptError(f"its schema has the version {version}")
    for number in range(version, VERSION):
        try:
            connection.executescript(
                f"BEGIN IMMEDIATE; {MIGRATIONS[number]}; PRAGMA user_version = {number + 1}; COMMIT;"
            )
        except sqlite3.Error as error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_ERROR:  # of a statement, not of the file
                raise CorruptError(f"its tables are not those of its version {version}: {error}") from error
            raise
    return version == 0
