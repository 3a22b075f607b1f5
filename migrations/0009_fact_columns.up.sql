-- What lists of machines show of a report, so that nobody reads whole reports for a list. problems is NULL in rows from
-- before until the machine is tried again: what is wrong with those is read from the report.
ALTER TABLE machine_facts ADD COLUMN runtime TEXT;
ALTER TABLE machine_facts ADD COLUMN problems TEXT;
