-- How a rollout goes about its machines, what people did with it, and what became of versions on machines.

-- strategy is JSON as it was asked for, empty for rollouts from before: those have one wave. open_wave counts from 0.
-- State: Scheduled | Running | Paused | Completed | CompletedWithFailures | Cancelled, written by the orchestrator and by
-- people's hands, each in a transaction that grows the revision.
ALTER TABLE rollouts ADD COLUMN strategy TEXT NOT NULL DEFAULT '';
ALTER TABLE rollouts ADD COLUMN open_wave INTEGER NOT NULL DEFAULT 0;
ALTER TABLE rollouts ADD COLUMN start_at BIGINT;

-- wave counts from 0 and never changes. A failure that a person has forgiven no longer counts against the budget.
ALTER TABLE rollout_machines ADD COLUMN wave INTEGER NOT NULL DEFAULT 0;
ALTER TABLE rollout_machines ADD COLUMN forgiven_at BIGINT;

-- approval: None | Person
CREATE TABLE rollout_waves (
    rollout_id     INTEGER NOT NULL REFERENCES rollouts (id) ON DELETE CASCADE,
    number         INTEGER NOT NULL,
    title          TEXT    NOT NULL,
    soak_us        BIGINT  NOT NULL,
    approval       TEXT    NOT NULL,
    failure_budget INTEGER,
    released_at    BIGINT,
    released_by    TEXT    NOT NULL DEFAULT '',
    PRIMARY KEY (rollout_id, number)
);

-- What people did, who, when and why. Never changed.
CREATE TABLE rollout_events (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    rollout_id  INTEGER NOT NULL REFERENCES rollouts (id) ON DELETE CASCADE,
    machine_id  INTEGER,
    occurred_at BIGINT  NOT NULL,
    username    TEXT    NOT NULL,
    what        TEXT    NOT NULL,
    line        TEXT    NOT NULL
);
CREATE INDEX rollout_events_by_rollout ON rollout_events (rollout_id, id);

-- A version that failed on a machine after it was commanded. It is not tried there again until a person releases it.
CREATE TABLE version_failures (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    machine_id  INTEGER NOT NULL REFERENCES machines (id) ON DELETE CASCADE,
    version     TEXT    NOT NULL,
    runtime     TEXT    NOT NULL,
    rollout_id  INTEGER NOT NULL REFERENCES rollouts (id) ON DELETE CASCADE,
    reason      TEXT    NOT NULL,
    failed_at   BIGINT  NOT NULL,
    released_at BIGINT
);
CREATE INDEX version_failures_by_version ON version_failures (version, machine_id);

-- Somebody said that a machine is not to be upgraded: one hold for each machine at most.
CREATE TABLE machine_holds (
    machine_id INTEGER PRIMARY KEY REFERENCES machines (id) ON DELETE CASCADE,
    reason     TEXT    NOT NULL,
    held_by    TEXT    NOT NULL,
    held_at    BIGINT  NOT NULL,
    held_until BIGINT
);
