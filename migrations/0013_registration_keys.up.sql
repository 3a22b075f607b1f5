-- Keys by which machines make themselves known, and every use of one. Only hashes of keys are kept.

CREATE TABLE registration_keys (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    space_id      INTEGER NOT NULL REFERENCES spaces (id),
    user_id       INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    key_hash      TEXT    NOT NULL UNIQUE,
    -- Roles that its machines get, separated by commas.
    roles         TEXT    NOT NULL,
    machines_max  INTEGER NOT NULL,
    machines_used INTEGER NOT NULL DEFAULT 0,
    created_at    BIGINT  NOT NULL,
    expires_at    BIGINT  NOT NULL,
    revoked_at    BIGINT,
    revoked_by    TEXT
);
CREATE TABLE registration_key_environments (
    key_id         INTEGER NOT NULL REFERENCES registration_keys (id) ON DELETE CASCADE,
    environment_id INTEGER NOT NULL REFERENCES environments (id) ON DELETE CASCADE,
    PRIMARY KEY (key_id, environment_id)
);
-- outcome: registered | known | refused
CREATE TABLE registration_uses (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    key_id      INTEGER NOT NULL REFERENCES registration_keys (id) ON DELETE CASCADE,
    occurred_at BIGINT  NOT NULL,
    peer        TEXT    NOT NULL,
    outcome     TEXT    NOT NULL,
    machine_id  INTEGER,
    line        TEXT    NOT NULL
);
CREATE INDEX registration_uses_by_key ON registration_uses (key_id, id);
