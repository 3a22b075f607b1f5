DROP TABLE version_samples;
