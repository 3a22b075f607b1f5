ALTER TABLE rollout_machines DROP COLUMN commanded_at;
ALTER TABLE rollout_machines DROP COLUMN begun_at;
DROP TABLE machine_events;
