-- ---------------------------------------------------------------------------
-- row_clock: the stamps of one row
-- ---------------------------------------------------------------------------
CREATE TYPE row_clock;

CREATE FUNCTION row_clock_in(cstring) RETURNS row_clock
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION row_clock_in(cstring) IS 'I/O';

CREATE FUNCTION row_clock_out(row_clock) RETURNS cstring
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION row_clock_out(row_clock) IS 'I/O';

CREATE FUNCTION row_clock_recv(internal) RETURNS row_clock
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION row_clock_recv(internal) IS 'I/O';

CREATE FUNCTION row_clock_send(row_clock) RETURNS bytea
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION row_clock_send(row_clock) IS 'I/O';

-- STORAGE main: a clock is read with every write of its row, so it should stay
-- in the tuple as long as anything else can go
CREATE TYPE row_clock (
    INPUT = row_clock_in,
    OUTPUT = row_clock_out,
    RECEIVE = row_clock_recv,
    SEND = row_clock_send,
    INTERNALLENGTH = variable,
    ALIGNMENT = int4,
    STORAGE = main
);
COMMENT ON TYPE row_clock IS 'who wrote each column of a row, when, and where that write is stored';

CREATE FUNCTION row_clock_eq(row_clock, row_clock) RETURNS boolean
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION row_clock_eq(row_clock, row_clock) IS 'implementation of = operator';

CREATE FUNCTION row_clock_ne(row_clock, row_clock) RETURNS boolean
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION row_clock_ne(row_clock, row_clock) IS 'implementation of <> operator';

CREATE FUNCTION row_clock_hash(row_clock) RETURNS int
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION row_clock_hash(row_clock) IS 'hash';

CREATE FUNCTION row_clock_hash_extended(row_clock, bigint) RETURNS bigint
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION row_clock_hash_extended(row_clock, bigint) IS 'hash with a seed';

CREATE OPERATOR = (
    LEFTARG = row_clock, RIGHTARG = row_clock, FUNCTION = row_clock_eq,
    COMMUTATOR = =, NEGATOR = <>,
    RESTRICT = eqsel, JOIN = eqjoinsel, HASHES
);
COMMENT ON OPERATOR = (row_clock, row_clock) IS 'the same stamps';

CREATE OPERATOR <> (
    LEFTARG = row_clock, RIGHTARG = row_clock, FUNCTION = row_clock_ne,
    COMMUTATOR = <>, NEGATOR = =,
    RESTRICT = neqsel, JOIN = neqjoinsel
);
COMMENT ON OPERATOR <> (row_clock, row_clock) IS 'not the same stamps';

CREATE OPERATOR CLASS row_clock_hash_ops
DEFAULT FOR TYPE row_clock USING hash AS
    OPERATOR 1 =,
    FUNCTION 1 row_clock_hash(row_clock),
    FUNCTION 2 row_clock_hash_extended(row_clock, bigint);
COMMENT ON OPERATOR CLASS row_clock_hash_ops USING hash IS 'hashing of row clocks';
COMMENT ON OPERATOR FAMILY row_clock_hash_ops USING hash IS 'hashing of row clocks';

-- By registered column id; the overload by relation knows the columns' names.
CREATE FUNCTION row_clock_entries(row_clock) RETURNS TABLE (column_id int, hlc hlc, replica uuid, node uuid, "position" xid8)
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE ROWS 20;
COMMENT ON FUNCTION row_clock_entries(row_clock) IS 'the stamps of the columns that have one';

CREATE FUNCTION row_clock_scope(row_clock) RETURNS TABLE (hlc hlc, replica uuid, node uuid, "position" xid8)
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE ROWS 1;
COMMENT ON FUNCTION row_clock_scope(row_clock) IS 'the stamp of the write by which the row came into its scope';

CREATE FUNCTION row_clock_floor(row_clock) RETURNS TABLE (place int, hlc hlc, replica uuid, node uuid, "position" xid8)
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE ROWS 1;
COMMENT ON FUNCTION row_clock_floor(row_clock) IS 'the stamps of the deletes that the row came back from, in order of arrival';

CREATE FUNCTION row_clock_keys(row_clock) RETURNS TABLE (column_id int, key text, is_removed boolean, hlc hlc, replica uuid, node uuid, "position" xid8)
AS 'MODULE_PATHNAME', 'row_clock_keys_sql' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE ROWS 20;
COMMENT ON FUNCTION row_clock_keys(row_clock) IS 'of objects that are merged key by key: the stamps of the keys that have one of their own, and (key NULL) of the others';

CREATE FUNCTION row_clock_max_hlc(row_clock) RETURNS hlc
AS 'MODULE_PATHNAME', 'row_clock_max_hlc_sql' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION row_clock_max_hlc(row_clock) IS 'the latest hlc of all stamps, NULL where there is none';
