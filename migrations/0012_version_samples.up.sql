-- What the machines ran, day by day: the last sample of each day stays. day is its first moment in UTC; version is empty
-- for machines that never said. Disabled machines are not counted.
CREATE TABLE version_samples (
    space_id INTEGER NOT NULL REFERENCES spaces (id) ON DELETE CASCADE,
    day      BIGINT  NOT NULL,
    version  TEXT    NOT NULL,
    machines BIGINT  NOT NULL,
    PRIMARY KEY (space_id, day, version)
);
