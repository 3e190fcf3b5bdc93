-- ---------------------------------------------------------------------------
-- hlc: hybrid logical clock
-- ---------------------------------------------------------------------------
CREATE TYPE hlc;

CREATE FUNCTION hlc_in(cstring) RETURNS hlc
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION hlc_in(cstring) IS 'I/O';

CREATE FUNCTION hlc_out(hlc) RETURNS cstring
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION hlc_out(hlc) IS 'I/O';

CREATE FUNCTION hlc_recv(internal) RETURNS hlc
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION hlc_recv(internal) IS 'I/O';

CREATE FUNCTION hlc_send(hlc) RETURNS bytea
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION hlc_send(hlc) IS 'I/O';

-- LIKE int8: eight bytes, by value where the machine passes those by value
CREATE TYPE hlc (
    INPUT = hlc_in,
    OUTPUT = hlc_out,
    RECEIVE = hlc_recv,
    SEND = hlc_send,
    LIKE = pg_catalog.int8
);
COMMENT ON TYPE hlc IS 'hybrid logical clock: UTC milliseconds and a counter, such as 2026-11-20T10:00:00.123Z/4';

CREATE FUNCTION hlc(at timestamptz, counter int DEFAULT 0) RETURNS hlc
AS 'MODULE_PATHNAME', 'hlc_construct' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION hlc(timestamptz, int) IS 'clock value of a time, cut to milliseconds, and a counter (0 to 65535)';

CREATE FUNCTION hlc_timestamptz(hlc) RETURNS timestamptz
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION hlc_timestamptz(hlc) IS 'the time of a clock value, without its counter';

CREATE CAST (hlc AS timestamptz) WITH FUNCTION hlc_timestamptz(hlc) AS ASSIGNMENT;
COMMENT ON CAST (hlc AS timestamptz) IS 'the time of a clock value, without its counter';

CREATE FUNCTION hlc_counter(hlc) RETURNS int
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION hlc_counter(hlc) IS 'the counter of a clock value';

CREATE FUNCTION hlc_eq(hlc, hlc) RETURNS boolean
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION hlc_eq(hlc, hlc) IS 'implementation of = operator';

CREATE FUNCTION hlc_ne(hlc, hlc) RETURNS boolean
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION hlc_ne(hlc, hlc) IS 'implementation of <> operator';

CREATE FUNCTION hlc_lt(hlc, hlc) RETURNS boolean
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION hlc_lt(hlc, hlc) IS 'implementation of < operator';

CREATE FUNCTION hlc_le(hlc, hlc) RETURNS boolean
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION hlc_le(hlc, hlc) IS 'implementation of <= operator';

CREATE FUNCTION hlc_gt(hlc, hlc) RETURNS boolean
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION hlc_gt(hlc, hlc) IS 'implementation of > operator';

CREATE FUNCTION hlc_ge(hlc, hlc) RETURNS boolean
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION hlc_ge(hlc, hlc) IS 'implementation of >= operator';

CREATE FUNCTION hlc_cmp(hlc, hlc) RETURNS int
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION hlc_cmp(hlc, hlc) IS 'btree comparison';

CREATE FUNCTION hlc_sortsupport(internal) RETURNS void
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION hlc_sortsupport(internal) IS 'btree sort support';

CREATE FUNCTION hlc_hash(hlc) RETURNS int
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION hlc_hash(hlc) IS 'hash';

CREATE FUNCTION hlc_hash_extended(hlc, bigint) RETURNS bigint
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION hlc_hash_extended(hlc, bigint) IS 'hash with a seed';

CREATE OPERATOR = (
    LEFTARG = hlc, RIGHTARG = hlc, FUNCTION = hlc_eq,
    COMMUTATOR = =, NEGATOR = <>,
    RESTRICT = eqsel, JOIN = eqjoinsel, HASHES, MERGES
);
COMMENT ON OPERATOR = (hlc, hlc) IS 'the same clock value';

CREATE OPERATOR <> (
    LEFTARG = hlc, RIGHTARG = hlc, FUNCTION = hlc_ne,
    COMMUTATOR = <>, NEGATOR = =,
    RESTRICT = neqsel, JOIN = neqjoinsel
);
COMMENT ON OPERATOR <> (hlc, hlc) IS 'another clock value';

CREATE OPERATOR < (
    LEFTARG = hlc, RIGHTARG = hlc, FUNCTION = hlc_lt,
    COMMUTATOR = >, NEGATOR = >=,
    RESTRICT = scalarltsel, JOIN = scalarltjoinsel
);
COMMENT ON OPERATOR < (hlc, hlc) IS 'earlier';

CREATE OPERATOR <= (
    LEFTARG = hlc, RIGHTARG = hlc, FUNCTION = hlc_le,
    COMMUTATOR = >=, NEGATOR = >,
    RESTRICT = scalarlesel, JOIN = scalarlejoinsel
);
COMMENT ON OPERATOR <= (hlc, hlc) IS 'not later';

CREATE OPERATOR > (
    LEFTARG = hlc, RIGHTARG = hlc, FUNCTION = hlc_gt,
    COMMUTATOR = <, NEGATOR = <=,
    RESTRICT = scalargtsel, JOIN = scalargtjoinsel
);
COMMENT ON OPERATOR > (hlc, hlc) IS 'later';

CREATE OPERATOR >= (
    LEFTARG = hlc, RIGHTARG = hlc, FUNCTION = hlc_ge,
    COMMUTATOR = <=, NEGATOR = <,
    RESTRICT = scalargesel, JOIN = scalargejoinsel
);
COMMENT ON OPERATOR >= (hlc, hlc) IS 'not earlier';

CREATE OPERATOR CLASS hlc_btree_ops
DEFAULT FOR TYPE hlc USING btree AS
    OPERATOR 1 <,
    OPERATOR 2 <=,
    OPERATOR 3 =,
    OPERATOR 4 >=,
    OPERATOR 5 >,
    FUNCTION 1 hlc_cmp(hlc, hlc),
    FUNCTION 2 hlc_sortsupport(internal),
    FUNCTION 4 btequalimage(oid);
COMMENT ON OPERATOR CLASS hlc_btree_ops USING btree IS 'order of the clock';
COMMENT ON OPERATOR FAMILY hlc_btree_ops USING btree IS 'order of the clock';

CREATE OPERATOR CLASS hlc_hash_ops
DEFAULT FOR TYPE hlc USING hash AS
    OPERATOR 1 =,
    FUNCTION 1 hlc_hash(hlc),
    FUNCTION 2 hlc_hash_extended(hlc, bigint);
COMMENT ON OPERATOR CLASS hlc_hash_ops USING hash IS 'hashing of clock values';
COMMENT ON OPERATOR FAMILY hlc_hash_ops USING hash IS 'hashing of clock values';

CREATE FUNCTION hlc_smaller(hlc, hlc) RETURNS hlc
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION hlc_smaller(hlc, hlc) IS 'the earlier of two clock values';

CREATE FUNCTION hlc_larger(hlc, hlc) RETURNS hlc
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION hlc_larger(hlc, hlc) IS 'the later of two clock values';

CREATE AGGREGATE min(hlc) (
    SFUNC = hlc_smaller,
    STYPE = hlc,
    COMBINEFUNC = hlc_smaller,
    SORTOP = <,
    PARALLEL = SAFE
);
COMMENT ON AGGREGATE min(hlc) IS 'the earliest clock value';

CREATE AGGREGATE max(hlc) (
    SFUNC = hlc_larger,
    STYPE = hlc,
    COMBINEFUNC = hlc_larger,
    SORTOP = >,
    PARALLEL = SAFE
);
COMMENT ON AGGREGATE max(hlc) IS 'the latest clock value';

