-- What starts of images have read first: positions of chunks in the manifest, as JSON.
CREATE TABLE image_profiles (
    file   TEXT PRIMARY KEY,
    chunks TEXT NOT NULL
);
