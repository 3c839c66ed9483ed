-- How far the schedules of functions have come. What they are is in the functions' definitions.
CREATE TABLE schedules (
    function_id TEXT PRIMARY KEY,
    spec        TEXT NOT NULL,
    anchor      BIGINT NOT NULL,
    done        BIGINT NOT NULL,
    last_due    BIGINT,
    last_call   TEXT NOT NULL
);
