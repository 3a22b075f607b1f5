-- Before, a machine that was tried again counted no longer.
UPDATE version_failures SET released_at = retried_at WHERE released_at IS NULL AND retried_at IS NOT NULL;
ALTER TABLE version_failures DROP COLUMN retried_at;
