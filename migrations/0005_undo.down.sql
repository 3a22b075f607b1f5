ALTER TABLE machine_facts DROP COLUMN instances;
ALTER TABLE rollout_machines DROP COLUMN return_to;
ALTER TABLE rollout_machines DROP COLUMN return_from;
ALTER TABLE rollout_machines DROP COLUMN previous_version;
ALTER TABLE rollouts DROP COLUMN undo_of;
