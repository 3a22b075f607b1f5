-- Which environments are upgraded by themselves, which bundled versions were seen, and what a rollout was for.

-- An environment without a row is upgraded by people alone. strategy is JSON.
CREATE TABLE upgrade_policies (
    environment_id INTEGER PRIMARY KEY REFERENCES environments (id) ON DELETE CASCADE,
    strategy       TEXT NOT NULL
);

-- Every version that this portal ever bundled, written at the first start with it, in the transaction that made the
-- rollouts of the automatic policy. So those are made once, whatever becomes of them. outcome is for people.
CREATE TABLE bundles_seen (
    space_id INTEGER NOT NULL REFERENCES spaces (id) ON DELETE CASCADE,
    version  TEXT    NOT NULL,
    seen_at  BIGINT  NOT NULL,
    outcome  TEXT    NOT NULL,
    PRIMARY KEY (space_id, version)
);

-- What a rollout was for, so that machines that come later can join it; roles is JSON. A rollout without a row is joined
-- by none. Machines that were looked at when it was made, and left out, never join it.
CREATE TABLE rollout_scopes (
    rollout_id INTEGER PRIMARY KEY REFERENCES rollouts (id) ON DELETE CASCADE,
    selection  TEXT NOT NULL,
    roles      TEXT NOT NULL
);
CREATE TABLE rollout_scope_left (
    rollout_id INTEGER NOT NULL REFERENCES rollouts (id) ON DELETE CASCADE,
    machine_id INTEGER NOT NULL,
    PRIMARY KEY (rollout_id, machine_id)
);
