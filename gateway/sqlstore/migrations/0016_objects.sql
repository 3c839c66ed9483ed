-- Dicts and queues: what they are called. What they hold is in the flow.
CREATE TABLE objects (
	id TEXT PRIMARY KEY,
	kind TEXT NOT NULL,
	environment TEXT NOT NULL,
	name TEXT, -- NULL: it is ephemeral, or doomed
	created_at BIGINT NOT NULL,
	created_by TEXT NOT NULL,
	seen_at BIGINT, -- when the client of an ephemeral one was heard of
	doomed BIGINT NOT NULL DEFAULT 0
);
CREATE UNIQUE INDEX objects_by_name ON objects (kind, environment, name);
CREATE UNIQUE INDEX objects_by_age ON objects (kind, environment, created_at);
