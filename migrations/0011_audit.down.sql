-- What had no place before is lost: the rest of the trail, from where, before and after.
CREATE TABLE rollout_events (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    rollout_id  INTEGER NOT NULL REFERENCES rollouts (id) ON DELETE CASCADE,
    machine_id  INTEGER,
    occurred_at BIGINT  NOT NULL,
    username    TEXT    NOT NULL,
    what        TEXT    NOT NULL,
    line        TEXT    NOT NULL
);
CREATE INDEX rollout_events_by_rollout ON rollout_events (rollout_id, id);
CREATE TABLE machine_events (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    machine_id  INTEGER NOT NULL,
    occurred_at BIGINT  NOT NULL,
    username    TEXT    NOT NULL,
    what        TEXT    NOT NULL,
    line        TEXT    NOT NULL
);
CREATE INDEX machine_events_by_machine ON machine_events (machine_id, id);
INSERT INTO rollout_events (rollout_id, machine_id, occurred_at, username, what, line)
SELECT CAST(SUBSTR(d.document, 10) AS INTEGER),
       (SELECT CAST(SUBSTR(m.document, 10) AS INTEGER) FROM audit_documents m
        WHERE m.audit_id = a.id AND m.document LIKE 'Machines-%' ORDER BY m.document LIMIT 1),
       a.occurred_at, a.username, a.what, a.username || ' ' || a.line
FROM audit a JOIN audit_documents d ON d.audit_id = a.id AND d.document LIKE 'Rollouts-%'
WHERE a.kind = 'Rollout' AND a.what NOT IN ('Create', 'Join', 'State')
      AND CAST(SUBSTR(d.document, 10) AS INTEGER) IN (SELECT id FROM rollouts)
ORDER BY a.id;
INSERT INTO machine_events (machine_id, occurred_at, username, what, line)
SELECT CAST(SUBSTR(d.document, 10) AS INTEGER), a.occurred_at, a.username, a.what, a.username || ' ' || a.line
FROM audit a JOIN audit_documents d ON d.audit_id = a.id AND d.document LIKE 'Machines-%'
WHERE a.kind = 'Machine' AND a.what IN ('Enable', 'Disable', 'Hold', 'Release', 'Delete')
ORDER BY a.id;
DROP TABLE audit_documents;
DROP TABLE audit;
