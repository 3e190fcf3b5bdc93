-- ---------------------------------------------------------------------------
-- version_vector: what a replica has seen
-- ---------------------------------------------------------------------------
CREATE TYPE version_vector;

CREATE FUNCTION version_vector_in(cstring) RETURNS version_vector
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION version_vector_in(cstring) IS 'I/O';

CREATE FUNCTION version_vector_out(version_vector) RETURNS cstring
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION version_vector_out(version_vector) IS 'I/O';

CREATE FUNCTION version_vector_recv(internal) RETURNS version_vector
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION version_vector_recv(internal) IS 'I/O';

CREATE FUNCTION version_vector_send(version_vector) RETURNS bytea
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION version_vector_send(version_vector) IS 'I/O';

CREATE TYPE version_vector (
    INPUT = version_vector_in,
    OUTPUT = version_vector_out,
    RECEIVE = version_vector_recv,
    SEND = version_vector_send,
    INTERNALLENGTH = VARIABLE,
    ALIGNMENT = double,
    STORAGE = extended
);
COMMENT ON TYPE version_vector IS 'what a replica has seen: per replica a counter, and later intervals, such as {"<uuid>": 17, "<uuid>": "20,22,24-30"}';

CREATE TYPE version_vector_entry AS (replica uuid, counter bigint);
COMMENT ON TYPE version_vector_entry IS 'one counter of one replica';

-- Comparing: the causal order, which is partial

CREATE FUNCTION vv_eq(version_vector, version_vector) RETURNS boolean
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION vv_eq(version_vector, version_vector) IS 'implementation of = operator';

CREATE FUNCTION vv_ne(version_vector, version_vector) RETURNS boolean
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION vv_ne(version_vector, version_vector) IS 'implementation of <> operator';

CREATE FUNCTION vv_lt(version_vector, version_vector) RETURNS boolean
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION vv_lt(version_vector, version_vector) IS 'implementation of < operator';

CREATE FUNCTION vv_le(version_vector, version_vector) RETURNS boolean
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION vv_le(version_vector, version_vector) IS 'implementation of <= and <@ operators';

CREATE FUNCTION vv_gt(version_vector, version_vector) RETURNS boolean
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION vv_gt(version_vector, version_vector) IS 'implementation of > operator';

CREATE FUNCTION vv_ge(version_vector, version_vector) RETURNS boolean
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION vv_ge(version_vector, version_vector) IS 'implementation of >= and @> operators';

CREATE FUNCTION vv_concurrent(version_vector, version_vector) RETURNS boolean
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION vv_concurrent(version_vector, version_vector) IS 'implementation of || operator';

CREATE FUNCTION vv_hash(version_vector) RETURNS int
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION vv_hash(version_vector) IS 'hash';

CREATE FUNCTION vv_hash_extended(version_vector, bigint) RETURNS bigint
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION vv_hash_extended(version_vector, bigint) IS 'hash with a seed';

CREATE OPERATOR = (
    LEFTARG = version_vector, RIGHTARG = version_vector, FUNCTION = vv_eq,
    COMMUTATOR = =, NEGATOR = <>,
    RESTRICT = eqsel, JOIN = eqjoinsel, HASHES
);
COMMENT ON OPERATOR = (version_vector, version_vector) IS 'covers the same';

CREATE OPERATOR <> (
    LEFTARG = version_vector, RIGHTARG = version_vector, FUNCTION = vv_ne,
    COMMUTATOR = <>, NEGATOR = =,
    RESTRICT = neqsel, JOIN = neqjoinsel
);
COMMENT ON OPERATOR <> (version_vector, version_vector) IS 'does not cover the same';

CREATE OPERATOR < (
    LEFTARG = version_vector, RIGHTARG = version_vector, FUNCTION = vv_lt,
    COMMUTATOR = >, RESTRICT = contsel, JOIN = contjoinsel
);
COMMENT ON OPERATOR < (version_vector, version_vector) IS 'covers a part of what the other covers: before';

CREATE OPERATOR <= (
    LEFTARG = version_vector, RIGHTARG = version_vector, FUNCTION = vv_le,
    COMMUTATOR = >=, RESTRICT = contsel, JOIN = contjoinsel
);
COMMENT ON OPERATOR <= (version_vector, version_vector) IS 'covers nothing that the other does not: before or equal';

CREATE OPERATOR > (
    LEFTARG = version_vector, RIGHTARG = version_vector, FUNCTION = vv_gt,
    COMMUTATOR = <, RESTRICT = contsel, JOIN = contjoinsel
);
COMMENT ON OPERATOR > (version_vector, version_vector) IS 'covers all that the other covers, and more: after';

CREATE OPERATOR >= (
    LEFTARG = version_vector, RIGHTARG = version_vector, FUNCTION = vv_ge,
    COMMUTATOR = <=, RESTRICT = contsel, JOIN = contjoinsel
);
COMMENT ON OPERATOR >= (version_vector, version_vector) IS 'covers all that the other covers: after or equal';

CREATE OPERATOR || (
    LEFTARG = version_vector, RIGHTARG = version_vector, FUNCTION = vv_concurrent,
    COMMUTATOR = ||, RESTRICT = contsel, JOIN = contjoinsel
);
COMMENT ON OPERATOR || (version_vector, version_vector) IS 'each covers something that the other does not: concurrent';

CREATE OPERATOR @> (
    LEFTARG = version_vector, RIGHTARG = version_vector, FUNCTION = vv_ge,
    COMMUTATOR = <@, RESTRICT = contsel, JOIN = contjoinsel
);
COMMENT ON OPERATOR @> (version_vector, version_vector) IS 'covers all that the other covers';

CREATE OPERATOR <@ (
    LEFTARG = version_vector, RIGHTARG = version_vector, FUNCTION = vv_le,
    COMMUTATOR = @>, RESTRICT = contsel, JOIN = contjoinsel
);
COMMENT ON OPERATOR <@ (version_vector, version_vector) IS 'covers nothing that the other does not';

CREATE OPERATOR CLASS version_vector_hash_ops
DEFAULT FOR TYPE version_vector USING hash AS
    OPERATOR 1 =,
    FUNCTION 1 vv_hash(version_vector),
    FUNCTION 2 vv_hash_extended(version_vector, bigint);
COMMENT ON OPERATOR CLASS version_vector_hash_ops USING hash IS 'hashing of version vectors';
COMMENT ON OPERATOR FAMILY version_vector_hash_ops USING hash IS 'hashing of version vectors';

-- Looking inside

CREATE FUNCTION vv_covers(vv version_vector, replica uuid, counter bigint) RETURNS boolean
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION vv_covers(version_vector, uuid, bigint) IS 'is this counter of this replica covered? 0 always is';

-- Not STRICT, so that it can be inlined; NULL comes out of vv_covers.
CREATE FUNCTION vv_covers_entry(vv version_vector, entry version_vector_entry) RETURNS boolean
LANGUAGE SQL IMMUTABLE PARALLEL SAFE
RETURN vv_covers($1, ($2).replica, ($2).counter);
COMMENT ON FUNCTION vv_covers_entry(version_vector, version_vector_entry) IS 'implementation of @> operator';

CREATE OPERATOR @> (
    LEFTARG = version_vector, RIGHTARG = version_vector_entry, FUNCTION = vv_covers_entry,
    RESTRICT = contsel, JOIN = contjoinsel
);
COMMENT ON OPERATOR @> (version_vector, version_vector_entry) IS 'covers this counter of this replica';

CREATE FUNCTION vv_get(vv version_vector, replica uuid) RETURNS bigint
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION vv_get(version_vector, uuid) IS 'the counter of a replica up to which everything is covered; 0: none';

CREATE FUNCTION vv_entries(vv version_vector, OUT replica uuid, OUT base bigint, OUT intervals text)
RETURNS SETOF record
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION vv_entries(version_vector) IS 'one row per replica: everything up to base is covered, and the later intervals (empty where there are none)';

-- Making others

CREATE FUNCTION vv_join(version_vector, version_vector) RETURNS version_vector
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION vv_join(version_vector, version_vector) IS 'covers what either covers';

CREATE OPERATOR | (
    LEFTARG = version_vector, RIGHTARG = version_vector, FUNCTION = vv_join,
    COMMUTATOR = |
);
COMMENT ON OPERATOR | (version_vector, version_vector) IS 'covers what either covers';

CREATE FUNCTION vv_increment(vv version_vector, replica uuid) RETURNS version_vector
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION vv_increment(version_vector, uuid) IS 'covers the counter after the largest of this replica, too';

CREATE FUNCTION vv_join_agg_transfn(internal, version_vector) RETURNS internal
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION vv_join_agg_transfn(internal, version_vector) IS 'aggregate transition function';

CREATE FUNCTION vv_join_agg_combinefn(internal, internal) RETURNS internal
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION vv_join_agg_combinefn(internal, internal) IS 'aggregate combine function';

CREATE FUNCTION vv_join_agg_serialfn(internal) RETURNS bytea
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION vv_join_agg_serialfn(internal) IS 'aggregate serial function';

CREATE FUNCTION vv_join_agg_deserialfn(bytea, internal) RETURNS internal
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION vv_join_agg_deserialfn(bytea, internal) IS 'aggregate deserial function';

CREATE FUNCTION vv_join_agg_finalfn(internal) RETURNS version_vector
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION vv_join_agg_finalfn(internal) IS 'aggregate final function';

CREATE AGGREGATE vv_join_agg(version_vector) (
    SFUNC = vv_join_agg_transfn,
    STYPE = internal,
    COMBINEFUNC = vv_join_agg_combinefn,
    SERIALFUNC = vv_join_agg_serialfn,
    DESERIALFUNC = vv_join_agg_deserialfn,
    FINALFUNC = vv_join_agg_finalfn,
    PARALLEL = SAFE
);
COMMENT ON AGGREGATE vv_join_agg(version_vector) IS 'covers what any of the vectors covers; NULL where there is none';

