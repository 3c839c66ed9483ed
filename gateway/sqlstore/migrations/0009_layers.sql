-- Results of build steps that builders share: bundles of blobs, and the names of beginnings of recipes that they are found by.
CREATE TABLE layers (
    bundle  TEXT PRIMARY KEY,
    bytes   BIGINT NOT NULL,
    used_at BIGINT NOT NULL
);
CREATE TABLE layer_names (
    name   TEXT PRIMARY KEY,
    bundle TEXT NOT NULL
);
CREATE INDEX layer_names_bundle ON layer_names (bundle);
