-- Secrets that an environment has by a name, beside those of apps. What a secret is sealed as is in two parts from now on: its data key
-- (72 bytes, which are 96 characters) under the master key of key_id, and its content under the data key; both in base64.
CREATE TABLE secrets_new (
    id           TEXT PRIMARY KEY,
    app_id       TEXT REFERENCES apps (id),
    environment  TEXT NOT NULL,
    name         TEXT NOT NULL,
    created_by   TEXT NOT NULL,
    -- Empty: the only master key that there was.
    key_id       TEXT NOT NULL,
    sealed_key   TEXT NOT NULL,
    sealed       TEXT NOT NULL,
    created_at   BIGINT NOT NULL,
    last_used_at BIGINT
);
INSERT INTO secrets_new (id, app_id, environment, name, created_by, key_id, sealed_key, sealed, created_at)
    SELECT id, app_id, '', '', '', '', substr(sealed, 1, 96), substr(sealed, 97), created_at FROM secrets;
DROP TABLE secrets;
ALTER TABLE secrets_new RENAME TO secrets;
CREATE INDEX secrets_app ON secrets (app_id);
CREATE UNIQUE INDEX secrets_name ON secrets (environment, name) WHERE name <> '';
CREATE INDEX secrets_key ON secrets (key_id);
