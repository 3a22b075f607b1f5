-- Which of this portal's identities a machine was told to trust: thumbprints with commas between them. `pinned` is the
-- certificate that the machine had then; with another one it is a machine that was told nothing. Written by the loop that
-- tells them.
CREATE TABLE machine_trust (
    machine_id INTEGER PRIMARY KEY REFERENCES machines (id) ON DELETE CASCADE,
    pinned     TEXT   NOT NULL,
    trusted    TEXT   NOT NULL,
    tried_at   BIGINT NOT NULL,
    reason     TEXT   NOT NULL
);
