-- When machines may be upgraded: the maintenance windows of environments, and periods in which nothing is begun.

-- A window opens at every moment of its cron expression (five fields) in its time zone, for so many minutes. An
-- environment without windows is always open.
CREATE TABLE maintenance_windows (
    id               INTEGER PRIMARY KEY AUTOINCREMENT,
    environment_id   INTEGER NOT NULL REFERENCES environments (id) ON DELETE CASCADE,
    cron             TEXT    NOT NULL,
    duration_minutes BIGINT  NOT NULL,
    time_zone        TEXT    NOT NULL
);
CREATE INDEX maintenance_windows_by_environment ON maintenance_windows (environment_id, id);

-- is_for_all says that it holds for every environment, those that come later too. One that is for some stays for some:
-- when the last of them is deleted it is for none.
CREATE TABLE freezes (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    space_id   INTEGER NOT NULL REFERENCES spaces (id) ON DELETE CASCADE,
    from_at    BIGINT  NOT NULL,
    until_at   BIGINT  NOT NULL,
    reason     TEXT    NOT NULL,
    is_for_all BOOLEAN NOT NULL,
    created_by TEXT    NOT NULL,
    created_at BIGINT  NOT NULL
);
CREATE TABLE freeze_environments (
    freeze_id      INTEGER NOT NULL REFERENCES freezes (id) ON DELETE CASCADE,
    environment_id INTEGER NOT NULL REFERENCES environments (id) ON DELETE CASCADE,
    PRIMARY KEY (freeze_id, environment_id)
);
