-- What was answered to a request that bore an Idempotency-Key. The key and who sent it are one hash.
CREATE TABLE idempotency_keys (
    key_hash    TEXT   PRIMARY KEY,
    fingerprint TEXT   NOT NULL,
    created_at  BIGINT NOT NULL,
    -- NULL while the answer is not known.
    status      INTEGER,
    -- NULL where the answer is not kept: it held a secret, or was too long.
    body        TEXT
);
CREATE INDEX idempotency_keys_by_time ON idempotency_keys (created_at);
