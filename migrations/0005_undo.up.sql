-- Undo, and machines that answer as two.

-- The rollout whose machines this one brings back; NULL for one that goes forward. Written when it is made.
ALTER TABLE rollouts ADD COLUMN undo_of INTEGER;

-- previous_version: what ran when the command was written down that the machine was last given, written by the
-- orchestrator; NULL where it was given none. return_from and return_to: in an undo, what the machine must still run, and
-- what it is brought back to. Written when the rollout is made.
ALTER TABLE rollout_machines ADD COLUMN previous_version TEXT;
ALTER TABLE rollout_machines ADD COLUMN return_from TEXT;
ALTER TABLE rollout_machines ADD COLUMN return_to TEXT;

-- From before, only the first check is on record. Where one attempt was enough, that is what the command expected.
UPDATE rollout_machines SET previous_version = from_version
WHERE phase = 'Upgraded' AND attempt <= 1 AND from_version IS NOT NULL
AND from_version <> (SELECT r.target_version FROM rollouts r WHERE r.id = rollout_machines.rollout_id);

-- Which processes answered for a machine before the one that does now, as JSON, empty for none. Written by the inventory.
ALTER TABLE machine_facts ADD COLUMN instances TEXT NOT NULL DEFAULT '';
