DROP TABLE build_information;
