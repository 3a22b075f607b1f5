DROP TABLE registration_uses;
DROP TABLE registration_key_environments;
DROP TABLE registration_keys;
