-- What people did with machines outside a rollout, who, when and why. Never changed; it stays when the machine goes.
CREATE TABLE machine_events (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    machine_id  INTEGER NOT NULL,
    occurred_at BIGINT  NOT NULL,
    username    TEXT    NOT NULL,
    what        TEXT    NOT NULL,
    line        TEXT    NOT NULL
);
CREATE INDEX machine_events_by_machine ON machine_events (machine_id, id);

-- When the last attempt with a machine was begun, and when it had the package and was told to install it. With the moment
-- it was proven that says how long an upgrade takes here. Written by the orchestrator.
ALTER TABLE rollout_machines ADD COLUMN begun_at BIGINT;
ALTER TABLE rollout_machines ADD COLUMN commanded_at BIGINT;
