-- The words that an image's containers run, as JSON.
ALTER TABLE images ADD COLUMN entrypoint TEXT NOT NULL DEFAULT '[]';
ALTER TABLE images ADD COLUMN cmd TEXT NOT NULL DEFAULT '[]';

-- How steps after it run: the words of the shell, as JSON, and the user.
ALTER TABLE images ADD COLUMN shell TEXT NOT NULL DEFAULT '[]';
ALTER TABLE images ADD COLUMN run_as TEXT NOT NULL DEFAULT '';

-- What the last build of an image said, built or not: JSON, gzip, base64.
CREATE TABLE image_logs (
    image_id   TEXT PRIMARY KEY,
    log        TEXT NOT NULL,
    updated_at BIGINT NOT NULL
);

-- Which images names have, and had: the highest version counts.
CREATE TABLE image_names (
    environment TEXT NOT NULL,
    name        TEXT NOT NULL,
    tag         TEXT NOT NULL,
    version     BIGINT NOT NULL,
    image_id    TEXT NOT NULL,
    public      INTEGER NOT NULL,
    updated_at  BIGINT NOT NULL,
    PRIMARY KEY (environment, name, tag, version)
);
CREATE INDEX image_names_by_image ON image_names (image_id);
