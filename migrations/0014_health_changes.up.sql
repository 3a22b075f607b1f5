-- How the health of machines changed over time. Written by the inventory alone, and only when the word changes; a bounded
-- number of changes is kept for each machine. health: healthy | unhealthy | unavailable
CREATE TABLE machine_health_changes (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    machine_id  INTEGER NOT NULL REFERENCES machines (id) ON DELETE CASCADE,
    occurred_at BIGINT  NOT NULL,
    health      TEXT    NOT NULL,
    reason      TEXT    NOT NULL
);
CREATE INDEX machine_health_changes_by_machine ON machine_health_changes (machine_id, id);
