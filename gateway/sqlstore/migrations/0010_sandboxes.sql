-- Sandboxes, written behind: record is JSON (gateway/sandbox.Sandbox).
CREATE TABLE sandboxes (
    id         TEXT PRIMARY KEY,
    app_id     TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    ended_at   BIGINT,
    record     TEXT NOT NULL
);
CREATE INDEX sandboxes_by_end ON sandboxes (ended_at, created_at);

-- Names of sandboxes that have not ended.
CREATE TABLE sandbox_names (
    app_id     TEXT NOT NULL,
    name       TEXT NOT NULL,
    sandbox_id TEXT NOT NULL,
    PRIMARY KEY (app_id, name)
);
CREATE INDEX sandbox_names_by_sandbox ON sandbox_names (sandbox_id);
