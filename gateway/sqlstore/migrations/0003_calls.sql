-- What a graph of calls shows, and the method of inputs whose function is a class.

ALTER TABLE calls ADD COLUMN function_name TEXT NOT NULL DEFAULT '';
-- The call of parent_input_id, which is in-<characters of the call>-<index>.
ALTER TABLE calls ADD COLUMN parent_call_id TEXT NOT NULL DEFAULT '';
UPDATE calls SET parent_call_id = 'fc-' || substr(parent_input_id, 4, 22) WHERE parent_input_id <> '';
CREATE INDEX calls_parent ON calls (parent_call_id, created_at, id) WHERE parent_call_id <> '';

ALTER TABLE call_inputs ADD COLUMN method TEXT NOT NULL DEFAULT '';
ALTER TABLE call_inputs ADD COLUMN container_id TEXT NOT NULL DEFAULT '';
-- How it ended, as in the output; 0: it has not. In base64 the third character has it.
ALTER TABLE call_inputs ADD COLUMN status INTEGER NOT NULL DEFAULT 0;
UPDATE call_inputs SET status = CASE substr(output, 3, 1)
    WHEN 'E' THEN 1 WHEN 'I' THEN 2 WHEN 'M' THEN 3 WHEN 'Q' THEN 4 WHEN 'U' THEN 5 WHEN 'Y' THEN 6 ELSE 7 END
WHERE output IS NOT NULL;
