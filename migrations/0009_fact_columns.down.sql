ALTER TABLE machine_facts DROP COLUMN problems;
ALTER TABLE machine_facts DROP COLUMN runtime;
