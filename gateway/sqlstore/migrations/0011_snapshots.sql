-- Sandboxes that are kept with their memory: record is JSON (gateway/sandbox.Sandbox).
CREATE TABLE snapshots (
    id         TEXT PRIMARY KEY,
    worker_id  TEXT NOT NULL,
    manifest   TEXT NOT NULL,
    size       BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT,
    record     TEXT NOT NULL
);
CREATE INDEX snapshots_by_expiry ON snapshots (expires_at);

-- Images that were made of sandboxes go so many milliseconds after their last use; 0: never.
ALTER TABLE images ADD COLUMN ttl BIGINT NOT NULL DEFAULT 0;
ALTER TABLE images ADD COLUMN used_at BIGINT NOT NULL DEFAULT 0;
