-- How versions of packages were built, as build servers say it. It may come before the package, and stays without it.
-- information: JSON, as it is told.
CREATE TABLE build_information (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    space_id    INTEGER NOT NULL REFERENCES spaces (id),
    package_id  TEXT    NOT NULL,
    package_key TEXT    NOT NULL,
    version     TEXT    NOT NULL,
    version_key TEXT    NOT NULL,
    information TEXT    NOT NULL,
    created_at  BIGINT  NOT NULL,
    UNIQUE (space_id, package_key, version_key)
);
