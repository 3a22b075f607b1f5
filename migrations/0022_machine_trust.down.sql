DROP TABLE machine_trust;
