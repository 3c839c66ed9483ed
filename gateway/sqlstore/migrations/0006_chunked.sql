-- 1: erofs_digest is that of a manifest, whose chunks are blobs; 0: of the whole file, which is one blob.
ALTER TABLE images ADD COLUMN chunked INTEGER NOT NULL DEFAULT 0;
