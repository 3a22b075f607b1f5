-- A person named the machine to be tried again. The failure still counts for the hold of the version for its platform, which
-- released_at alone ends.
ALTER TABLE version_failures ADD COLUMN retried_at BIGINT;
