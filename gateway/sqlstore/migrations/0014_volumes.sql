-- Volumes; a name is NULL for ephemeral ones. head is the number of the newest version.
CREATE TABLE volumes (
    id          TEXT PRIMARY KEY,
    environment TEXT NOT NULL,
    name        TEXT,
    created_at  BIGINT NOT NULL,
    created_by  TEXT NOT NULL,
    head        BIGINT NOT NULL
);
CREATE UNIQUE INDEX volumes_by_name ON volumes (environment, name);

-- What volumes were and are; root is the digest of a tree.
CREATE TABLE volume_versions (
    volume_id  TEXT NOT NULL,
    number     BIGINT NOT NULL,
    root       TEXT NOT NULL,
    request_id TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    created_by TEXT NOT NULL,
    reason     TEXT NOT NULL,
    files      BIGINT NOT NULL,
    bytes      BIGINT NOT NULL,
    PRIMARY KEY (volume_id, number)
);
CREATE UNIQUE INDEX volume_versions_by_request ON volume_versions (volume_id, request_id);
CREATE INDEX volume_versions_by_root ON volume_versions (root);

-- Trees that workers use, which outlive their versions.
CREATE TABLE volume_holds (
    root       TEXT PRIMARY KEY,
    held_until BIGINT NOT NULL
);
