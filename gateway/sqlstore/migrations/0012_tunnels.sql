-- Ways from outside to ports of sandboxes that are open, or closed against the sandbox's definition; they go with their sandbox.
CREATE TABLE tunnels (
    sandbox_id TEXT NOT NULL,
    port       INTEGER NOT NULL,
    guarded    BOOLEAN NOT NULL,
    kind       INTEGER NOT NULL,
    closed     BOOLEAN NOT NULL,
    address    TEXT NOT NULL,
    PRIMARY KEY (sandbox_id, port, guarded)
);

-- Tokens that open ports, by the hash of their secret; expires_at 0: with their sandbox.
CREATE TABLE tunnel_grants (
    hash       TEXT PRIMARY KEY,
    sandbox_id TEXT NOT NULL,
    port       INTEGER NOT NULL,
    metadata   TEXT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX tunnel_grants_by_port ON tunnel_grants (sandbox_id, port);
