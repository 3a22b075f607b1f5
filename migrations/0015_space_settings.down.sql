DROP INDEX tasks_by_end;
DROP INDEX rollouts_by_task;
DROP TABLE space_settings;
