-- Times are milliseconds since 1970. JSON is text: nothing here looks into it by SQL.

CREATE TABLE tokens (
    id          TEXT PRIMARY KEY,
    name        TEXT NOT NULL,
    role        TEXT NOT NULL,
    secret_hash TEXT NOT NULL,
    created_at  BIGINT NOT NULL
);

CREATE TABLE apps (
    id            TEXT PRIMARY KEY,
    environment   TEXT NOT NULL,
    name          TEXT NOT NULL,
    description   TEXT NOT NULL,
    state         INTEGER NOT NULL,
    stop_reason   INTEGER NOT NULL,
    version       BIGINT NOT NULL,
    tags          TEXT NOT NULL,
    created_at    BIGINT NOT NULL,
    stopped_at    BIGINT
);
-- One living app per deployment name (states: 4 is deployed, 5 is stopping).
CREATE UNIQUE INDEX apps_deployed ON apps (environment, name) WHERE name <> '' AND state = 4;
CREATE INDEX apps_listed ON apps (environment, created_at);
CREATE INDEX apps_stopped ON apps (stopped_at);

CREATE TABLE functions (
    id          TEXT PRIMARY KEY,
    app_id      TEXT NOT NULL REFERENCES apps (id),
    name        TEXT NOT NULL,
    version     BIGINT NOT NULL,
    definition  TEXT NOT NULL,
    current     INTEGER NOT NULL,
    UNIQUE (app_id, name)
);

CREATE TABLE deployments (
    app_id          TEXT NOT NULL REFERENCES apps (id),
    version         BIGINT NOT NULL,
    deployed_at     BIGINT NOT NULL,
    client_version  TEXT NOT NULL,
    deployed_by     TEXT NOT NULL,
    tag             TEXT NOT NULL,
    commit_info     TEXT NOT NULL,
    PRIMARY KEY (app_id, version)
);

CREATE TABLE images (
    id            TEXT PRIMARY KEY,
    recipe        TEXT NOT NULL, -- base64
    erofs_digest  TEXT NOT NULL,
    erofs_size    BIGINT NOT NULL,
    env           TEXT NOT NULL,
    workdir       TEXT NOT NULL,
    created_at    BIGINT NOT NULL
);

CREATE TABLE trees (
    digest     TEXT PRIMARY KEY,
    num_files  BIGINT NOT NULL,
    num_bytes  BIGINT NOT NULL,
    created_at BIGINT NOT NULL
);

CREATE TABLE secrets (
    id         TEXT PRIMARY KEY,
    app_id     TEXT NOT NULL REFERENCES apps (id),
    sealed     TEXT NOT NULL, -- base64
    created_at BIGINT NOT NULL
);
CREATE INDEX secrets_app ON secrets (app_id);
