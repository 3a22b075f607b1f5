-- Before, no queue could be stopped: what waits in one must not begin by itself.
UPDATE rollouts SET state = 'Paused', state_reason = 'the task queue of its space was stopped', revision = revision + 1
WHERE state IN ('Scheduled', 'Running') AND space_id IN (SELECT id FROM spaces WHERE is_queue_stopped = TRUE);
UPDATE tasks SET state = 'Canceled', error_message = 'The task queue of its space was stopped.', completed_at = updated_at
WHERE state = 'Queued' AND space_id IN (SELECT id FROM spaces WHERE is_queue_stopped = TRUE)
AND NOT EXISTS (SELECT 1 FROM rollouts r WHERE r.task_id = tasks.id);
DROP INDEX spaces_by_name;
ALTER TABLE spaces DROP COLUMN is_queue_stopped;
ALTER TABLE spaces DROP COLUMN description;
ALTER TABLE spaces DROP COLUMN name_key;
