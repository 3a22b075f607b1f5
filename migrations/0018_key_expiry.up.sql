-- From this moment on a key works no more; NULL where it works until it is revoked.
ALTER TABLE api_keys ADD COLUMN expires_at BIGINT;
