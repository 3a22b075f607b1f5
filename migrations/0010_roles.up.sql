-- What people may do, and what was done. role: viewer | operator | administrator.

-- An operator works everywhere, or in the environments of user_environments alone: when the last of those is deleted, in
-- none. Those who are there already may do everything, as before.
ALTER TABLE users ADD COLUMN role TEXT NOT NULL DEFAULT 'viewer';
ALTER TABLE users ADD COLUMN is_everywhere BOOLEAN NOT NULL DEFAULT FALSE;
ALTER TABLE users ADD COLUMN is_disabled BOOLEAN NOT NULL DEFAULT FALSE;
UPDATE users SET role = 'administrator';
CREATE TABLE user_environments (
    user_id        INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    environment_id INTEGER NOT NULL REFERENCES environments (id) ON DELETE CASCADE,
    PRIMARY KEY (user_id, environment_id)
);
-- A session that began before this moment has ended.
ALTER TABLE users ADD COLUMN sessions_from BIGINT NOT NULL DEFAULT 0;
