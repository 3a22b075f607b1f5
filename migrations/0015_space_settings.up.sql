-- Numbers that people set for a space, by name: deadlines and intervals in seconds, how long and how many things are kept.
-- Where there is none, what the portal was started with holds.
CREATE TABLE space_settings (
    space_id INTEGER NOT NULL REFERENCES spaces (id),
    name     TEXT    NOT NULL,
    value    BIGINT  NOT NULL,
    PRIMARY KEY (space_id, name)
);
-- What the clean-up asks.
CREATE INDEX rollouts_by_task ON rollouts (task_id);
CREATE INDEX tasks_by_end ON tasks (completed_at);
