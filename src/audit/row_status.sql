-- ---------------------------------------------------------------------------
-- How it stands with one row
-- ---------------------------------------------------------------------------
CREATE FUNCTION sync_row_status(relation regclass, key jsonb)
RETURNS text
AS 'MODULE_PATHNAME', 'sync_row_status'
LANGUAGE C STABLE STRICT PARALLEL RESTRICTED;
COMMENT ON FUNCTION sync_row_status(regclass, jsonb) IS
'''conflict'' where a person is to decide about the row or a cell of it, ''pending'' where a change of it waits for another row, else ''synced''; NULL where the caller sees no such row';
