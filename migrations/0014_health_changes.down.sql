DROP TABLE machine_health_changes;
