DROP TABLE user_environments;
ALTER TABLE users DROP COLUMN sessions_from;
ALTER TABLE users DROP COLUMN is_disabled;
ALTER TABLE users DROP COLUMN is_everywhere;
ALTER TABLE users DROP COLUMN role;
