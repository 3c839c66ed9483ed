-- The definitions of each deployment, for rollbacks and for callers that pin a version.
CREATE TABLE function_versions (
    app_id      TEXT NOT NULL REFERENCES apps (id),
    version     BIGINT NOT NULL,
    function_id TEXT NOT NULL,
    name        TEXT NOT NULL,
    definition  TEXT NOT NULL,
    PRIMARY KEY (app_id, version, name)
);
INSERT INTO function_versions (app_id, version, function_id, name, definition)
    SELECT f.app_id, f.version, f.id, f.name, f.definition FROM functions f JOIN deployments d ON d.app_id = f.app_id AND d.version = f.version;
CREATE INDEX function_versions_function ON function_versions (function_id, version);

-- Functions with parameters, options or a version of their own.
CREATE TABLE bindings (
    id       TEXT PRIMARY KEY,
    base_id  TEXT NOT NULL,
    -- Hash of the spec: the same binding has one row.
    key      TEXT NOT NULL UNIQUE,
    spec     TEXT NOT NULL
);

-- Bounds set at run time; they hold while the function is of this version.
CREATE TABLE autoscalers (
    function_id TEXT PRIMARY KEY,
    version     BIGINT NOT NULL,
    bounds      TEXT NOT NULL
);
