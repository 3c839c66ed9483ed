-- SPAWN calls. SYNC calls live in the flow alone: their clients keep the inputs.

CREATE TABLE calls (
    id              TEXT PRIMARY KEY,
    function_id     TEXT NOT NULL,
    app_id          TEXT NOT NULL,
    parent_input_id TEXT NOT NULL,
    created_at      BIGINT NOT NULL,
    num_inputs      BIGINT NOT NULL,
    num_finished    BIGINT NOT NULL,
    -- When the last input got its output; NULL while one has none.
    ended_at        BIGINT,
    expired         INTEGER NOT NULL
);
CREATE INDEX calls_app ON calls (app_id) WHERE ended_at IS NULL;
CREATE INDEX calls_ended ON calls (ended_at) WHERE ended_at IS NOT NULL AND expired = 0;

CREATE TABLE call_inputs (
    call_id  TEXT NOT NULL REFERENCES calls (id),
    position BIGINT NOT NULL,
    -- base64; empty once there is an output, which is all that is needed from then on.
    args     TEXT NOT NULL,
    output   TEXT,
    PRIMARY KEY (call_id, position)
);
CREATE INDEX call_inputs_pending ON call_inputs (call_id, position) WHERE output IS NULL;
