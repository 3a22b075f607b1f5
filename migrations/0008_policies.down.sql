DROP TABLE rollout_scope_left;
DROP TABLE rollout_scopes;
DROP TABLE bundles_seen;
DROP TABLE upgrade_policies;
