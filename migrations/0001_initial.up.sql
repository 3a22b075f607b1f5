-- The whole portal, from the first day. Times are BIGINT, microseconds since the Unix epoch, UTC. A `_key` column is
-- the lower-case form of its neighbour, for look-ups and uniqueness without regard to case. Every table of people's
-- things carries a space_id. Wishes (rollouts) and facts (machine_facts) never share a table, and each column has one
-- writer, named where it is not obvious.

CREATE TABLE settings (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
);

CREATE TABLE spaces (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    name       TEXT    NOT NULL,
    slug       TEXT    NOT NULL UNIQUE,
    is_default BOOLEAN NOT NULL
);
INSERT INTO spaces (id, name, slug, is_default) VALUES (1, 'Default', 'default', TRUE);

CREATE TABLE users (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    username      TEXT   NOT NULL,
    username_key  TEXT   NOT NULL UNIQUE,
    password_hash TEXT,
    created_at    BIGINT NOT NULL
);

-- A link that lets its bearer choose a user's password, once.
CREATE TABLE setup_links (
    token_hash TEXT    PRIMARY KEY,
    user_id    INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    created_at BIGINT  NOT NULL,
    used_at    BIGINT
);

CREATE TABLE sessions (
    id         TEXT   PRIMARY KEY,
    data       TEXT   NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX sessions_by_expiry ON sessions (expires_at);

-- scope: full | register
CREATE TABLE api_keys (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    user_id    INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    key_hash   TEXT    NOT NULL UNIQUE,
    purpose    TEXT    NOT NULL,
    scope      TEXT    NOT NULL,
    created_at BIGINT  NOT NULL,
    revoked_at BIGINT
);

CREATE TABLE environments (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    space_id    INTEGER NOT NULL REFERENCES spaces (id),
    name        TEXT    NOT NULL,
    name_key    TEXT    NOT NULL,
    slug        TEXT    NOT NULL,
    description TEXT    NOT NULL,
    sort_order  INTEGER NOT NULL,
    is_disabled BOOLEAN NOT NULL,
    UNIQUE (space_id, name_key)
);

CREATE TABLE machines (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    space_id    INTEGER NOT NULL REFERENCES spaces (id),
    name        TEXT    NOT NULL,
    name_key    TEXT    NOT NULL,
    slug        TEXT    NOT NULL,
    host        TEXT    NOT NULL,
    port        INTEGER NOT NULL,
    thumbprint  TEXT    NOT NULL,
    is_disabled BOOLEAN NOT NULL,
    created_at  BIGINT  NOT NULL,
    UNIQUE (space_id, name_key)
);
CREATE INDEX machines_by_thumbprint ON machines (thumbprint);

CREATE TABLE machine_environments (
    machine_id     INTEGER NOT NULL REFERENCES machines (id) ON DELETE CASCADE,
    environment_id INTEGER NOT NULL REFERENCES environments (id),
    PRIMARY KEY (machine_id, environment_id)
);
CREATE INDEX machine_environments_by_environment ON machine_environments (environment_id);

CREATE TABLE machine_roles (
    machine_id INTEGER NOT NULL REFERENCES machines (id) ON DELETE CASCADE,
    role       TEXT    NOT NULL,
    role_key   TEXT    NOT NULL,
    PRIMARY KEY (machine_id, role_key)
);

-- What the portal last saw of a machine. Written by the inventory and by nobody else.
CREATE TABLE machine_facts (
    machine_id       INTEGER PRIMARY KEY REFERENCES machines (id) ON DELETE CASCADE,
    -- The last attempt to reach it. contact: answered | silent | refused
    tried_at         BIGINT NOT NULL,
    contact          TEXT   NOT NULL,
    contact_since    BIGINT NOT NULL,
    contact_reason   TEXT   NOT NULL,
    -- The last report; all NULL until it answered once.
    reported_at      BIGINT,
    version          TEXT,
    instance_id      TEXT,
    instance_seen_at BIGINT,
    report           TEXT
);

-- sha256 names the file in the portal's package store.
CREATE TABLE packages (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    space_id      INTEGER NOT NULL REFERENCES spaces (id),
    package_id    TEXT    NOT NULL,
    package_key   TEXT    NOT NULL,
    version       TEXT    NOT NULL,
    version_key   TEXT    NOT NULL,
    sha256        TEXT    NOT NULL,
    size          BIGINT  NOT NULL,
    title         TEXT    NOT NULL,
    summary       TEXT    NOT NULL,
    description   TEXT    NOT NULL,
    release_notes TEXT    NOT NULL,
    uploaded_at   BIGINT  NOT NULL,
    UNIQUE (space_id, package_key, version_key)
);

-- state: Queued | Executing | Cancelling | Success | Failed | Canceled | TimedOut
CREATE TABLE tasks (
    id               INTEGER PRIMARY KEY AUTOINCREMENT,
    space_id         INTEGER NOT NULL REFERENCES spaces (id),
    name             TEXT    NOT NULL,
    description      TEXT    NOT NULL,
    arguments        TEXT    NOT NULL,
    state            TEXT    NOT NULL,
    has_warnings     BOOLEAN NOT NULL DEFAULT FALSE,
    error_message    TEXT    NOT NULL DEFAULT '',
    created_by       TEXT    NOT NULL,
    queued_at        BIGINT  NOT NULL,
    -- The wish to cancel, written by people. What runs the task writes where it stands.
    cancel_requested_at BIGINT,
    started_at       BIGINT,
    updated_at       BIGINT  NOT NULL,
    completed_at     BIGINT
);
CREATE INDEX tasks_by_state ON tasks (state);

-- The part of a Health or Deploy task that concerns one machine. state: Pending | Running | Success | Failed |
-- Canceled | Unknown. ticket and log_seq let a new portal process go on where the last one stopped.
CREATE TABLE task_machines (
    task_id      INTEGER NOT NULL REFERENCES tasks (id) ON DELETE CASCADE,
    machine_id   INTEGER NOT NULL,
    machine_name TEXT    NOT NULL,
    state        TEXT    NOT NULL,
    reason       TEXT    NOT NULL DEFAULT '',
    ticket       TEXT    NOT NULL DEFAULT '',
    log_seq      BIGINT  NOT NULL DEFAULT 0,
    started_at   BIGINT,
    completed_at BIGINT,
    PRIMARY KEY (task_id, machine_id)
);

-- category: Info | Warning | Error. machine_id is NULL for lines of the task itself.
CREATE TABLE task_log (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    task_id     INTEGER NOT NULL REFERENCES tasks (id) ON DELETE CASCADE,
    machine_id  INTEGER,
    occurred_at BIGINT  NOT NULL,
    category    TEXT    NOT NULL,
    message     TEXT    NOT NULL
);
CREATE INDEX task_log_by_task ON task_log (task_id, id);

-- The wish. state: Running | Paused | Completed | CompletedWithFailures | Cancelled
CREATE TABLE rollouts (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    space_id        INTEGER NOT NULL REFERENCES spaces (id),
    task_id         INTEGER NOT NULL REFERENCES tasks (id),
    target_version  TEXT    NOT NULL,
    selection       TEXT    NOT NULL,
    max_in_flight   INTEGER NOT NULL,
    failure_budget  INTEGER NOT NULL,
    created_by      TEXT    NOT NULL,
    created_at      BIGINT  NOT NULL,
    -- The wish to cancel it, written by people.
    cancel_requested_at BIGINT,
    -- Written by the orchestrator.
    state           TEXT    NOT NULL,
    state_reason    TEXT    NOT NULL DEFAULT '',
    state_since     BIGINT  NOT NULL,
    completed_at    BIGINT
);
CREATE INDEX rollouts_by_state ON rollouts (state);

-- The Tentacle packages of a rollout, one for each runtime, kept in the store while the rollout lives.
CREATE TABLE rollout_packages (
    rollout_id INTEGER NOT NULL REFERENCES rollouts (id) ON DELETE CASCADE,
    runtime    TEXT    NOT NULL,
    sha256     TEXT    NOT NULL,
    size       BIGINT  NOT NULL,
    PRIMARY KEY (rollout_id, runtime)
);

-- One machine of a rollout. machine_id is no foreign key: the history outlives a deleted machine.
-- phase is the word of server/src/rollout/state.rs, detail its data as JSON. Written by the orchestrator.
CREATE TABLE rollout_machines (
    rollout_id   INTEGER NOT NULL REFERENCES rollouts (id) ON DELETE CASCADE,
    machine_id   INTEGER NOT NULL,
    machine_name TEXT    NOT NULL,
    position     INTEGER NOT NULL,
    phase        TEXT    NOT NULL,
    detail       TEXT    NOT NULL,
    phase_since  BIGINT  NOT NULL,
    deadline_at  BIGINT,
    attempt      INTEGER NOT NULL DEFAULT 0,
    from_version TEXT,
    -- When the portal last tried to reach the machine in this phase, and whether it once stopped trying for long.
    tried_at     BIGINT,
    was_away     BOOLEAN NOT NULL DEFAULT FALSE,
    revision     BIGINT  NOT NULL DEFAULT 0,
    PRIMARY KEY (rollout_id, machine_id)
);
CREATE INDEX rollout_machines_by_machine ON rollout_machines (machine_id);
