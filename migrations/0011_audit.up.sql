-- What changed, who changed it, when, from where, and what it was before. One trail for everything; it takes the place of
-- rollout_events and machine_events. Written once, never changed; it stays when what it tells of goes.

-- kind: what it is about, and category: what became of that, both words of server/src/model/audit.rs. via: page | key |
-- console | portal | unknown. peer is the address that asked, empty where nobody did; api_key what the key is for. what is
-- the word of the deed, line the rest of a sentence that begins with username. old_values and new_values are JSON objects
-- of the fields that differ, empty for none; never a secret.
CREATE TABLE audit (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    space_id    INTEGER NOT NULL REFERENCES spaces (id),
    occurred_at BIGINT  NOT NULL,
    kind        TEXT    NOT NULL,
    category    TEXT    NOT NULL,
    username    TEXT    NOT NULL,
    via         TEXT    NOT NULL,
    peer        TEXT    NOT NULL,
    api_key     TEXT    NOT NULL,
    what        TEXT    NOT NULL,
    line        TEXT    NOT NULL,
    old_values  TEXT    NOT NULL,
    new_values  TEXT    NOT NULL
);
CREATE INDEX audit_by_user ON audit (username, id);
CREATE INDEX audit_by_kind ON audit (kind, id);
CREATE INDEX audit_by_category ON audit (category, occurred_at);
CREATE INDEX audit_by_time ON audit (occurred_at);

-- What a row is about, by the ids of the REST API: Machines-7. No foreign key: the trail outlives what it tells of.
CREATE TABLE audit_documents (
    audit_id INTEGER NOT NULL REFERENCES audit (id) ON DELETE CASCADE,
    document TEXT    NOT NULL,
    PRIMARY KEY (audit_id, document)
);
CREATE INDEX audit_documents_by_document ON audit_documents (document, audit_id);

-- What was written before, in the order of time. From where is not known of those.
CREATE TABLE audit_moved AS
SELECT ROW_NUMBER() OVER (ORDER BY occurred_at, source, source_id) AS id, moved.*
FROM (
    SELECT 'Rollout' AS source, e.id AS source_id, r.space_id AS space_id, e.rollout_id AS rollout_id,
           e.machine_id AS machine_id, e.occurred_at AS occurred_at, e.username AS username, e.what AS what, e.line AS line
    FROM rollout_events e JOIN rollouts r ON r.id = e.rollout_id
    UNION ALL
    SELECT 'Machine', id, 1, NULL, machine_id, occurred_at, username, what, line FROM machine_events
) AS moved;
INSERT INTO audit (id, space_id, occurred_at, kind, category, username, via, peer, api_key, what, line, old_values,
                   new_values)
SELECT id, space_id, occurred_at, source,
       CASE what WHEN 'Cancel' THEN 'Canceled' WHEN 'Delete' THEN 'Deleted' ELSE 'Modified' END,
       username, 'unknown', '', '', what,
       CASE WHEN SUBSTR(line, 1, LENGTH(username) + 1) = username || ' ' THEN SUBSTR(line, LENGTH(username) + 2) ELSE line END,
       '', ''
FROM audit_moved ORDER BY id;
INSERT INTO audit_documents (audit_id, document)
SELECT id, 'Rollouts-' || rollout_id FROM audit_moved WHERE rollout_id IS NOT NULL;
INSERT INTO audit_documents (audit_id, document)
SELECT id, 'Machines-' || machine_id FROM audit_moved WHERE machine_id IS NOT NULL;
DROP TABLE audit_moved;
DROP TABLE rollout_events;
DROP TABLE machine_events;
