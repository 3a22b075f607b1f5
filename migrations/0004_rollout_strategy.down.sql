DROP TABLE machine_holds;
DROP TABLE version_failures;
DROP TABLE rollout_events;
DROP TABLE rollout_waves;
ALTER TABLE rollout_machines DROP COLUMN forgiven_at;
ALTER TABLE rollout_machines DROP COLUMN wave;
ALTER TABLE rollouts DROP COLUMN start_at;
ALTER TABLE rollouts DROP COLUMN open_wave;
ALTER TABLE rollouts DROP COLUMN strategy;
