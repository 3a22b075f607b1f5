DROP TABLE freeze_environments;
DROP TABLE freezes;
DROP TABLE maintenance_windows;
