-- Before, keys had no end: one that is over must not begin to work again.
UPDATE api_keys SET revoked_at = expires_at WHERE revoked_at IS NULL AND expires_at IS NOT NULL;
ALTER TABLE api_keys DROP COLUMN expires_at;
