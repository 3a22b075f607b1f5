-- What people say of a space, and whether its tasks begin.
ALTER TABLE spaces ADD COLUMN name_key TEXT NOT NULL DEFAULT '';
ALTER TABLE spaces ADD COLUMN description TEXT NOT NULL DEFAULT '';
-- Where it is stopped, tasks are taken and none begins, and rollouts command no machine.
ALTER TABLE spaces ADD COLUMN is_queue_stopped BOOLEAN NOT NULL DEFAULT FALSE;
UPDATE spaces SET name_key = LOWER(name);
CREATE UNIQUE INDEX spaces_by_name ON spaces (name_key);
