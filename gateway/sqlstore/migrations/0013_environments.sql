-- Environments; apps.environment, image_names.environment and the like are their ids. "main" is always there, and its id is its name.
-- Deleted ones stay, for what refers to them in the records.
CREATE TABLE environments (
    id         TEXT PRIMARY KEY,
    name       TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    created_by TEXT NOT NULL,
    -- 1: is being deleted, and takes nothing more.
    closed     INTEGER NOT NULL DEFAULT 0,
    deleted_at BIGINT
);
CREATE UNIQUE INDEX environments_name ON environments (name) WHERE deleted_at IS NULL;
INSERT INTO environments (id, name, created_at, created_by) VALUES ('main', 'main', 0, '');

-- The ids of the environments that a token opens, as JSON; empty: all.
ALTER TABLE tokens ADD COLUMN environments TEXT NOT NULL DEFAULT '';
