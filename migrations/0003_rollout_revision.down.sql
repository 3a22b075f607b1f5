ALTER TABLE rollouts DROP COLUMN revision;
