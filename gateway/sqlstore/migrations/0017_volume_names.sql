-- What volumes are called is kept as for dicts and queues; an ephemeral one has its window from the next start on.
INSERT INTO objects (id, kind, environment, name, created_at, created_by, seen_at)
	SELECT id, 'vo', environment, name, created_at, created_by, CASE WHEN name IS NULL THEN created_at END FROM volumes;

-- head is the number of the newest version of a volume.
CREATE TABLE volume_heads (
	volume_id TEXT PRIMARY KEY,
	head BIGINT NOT NULL
);
INSERT INTO volume_heads (volume_id, head) SELECT id, head FROM volumes;
DROP TABLE volumes;
