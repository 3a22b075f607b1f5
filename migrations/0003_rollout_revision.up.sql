-- Grows with every wish of a person, every change of state and every failure: a plan that was made before is thrown away.
ALTER TABLE rollouts ADD COLUMN revision BIGINT NOT NULL DEFAULT 0;
