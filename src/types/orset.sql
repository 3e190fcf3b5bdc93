-- ---------------------------------------------------------------------------
-- orset: observed-remove set of text elements
-- ---------------------------------------------------------------------------
CREATE TYPE orset;

CREATE FUNCTION orset_in(cstring) RETURNS orset
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION orset_in(cstring) IS 'I/O';

CREATE FUNCTION orset_out(orset) RETURNS cstring
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION orset_out(orset) IS 'I/O';

CREATE FUNCTION orset_recv(internal) RETURNS orset
AS 'MODULE_PATHNAME' LANGUAGE C STABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION orset_recv(internal) IS 'I/O';

CREATE FUNCTION orset_send(orset) RETURNS bytea
AS 'MODULE_PATHNAME' LANGUAGE C STABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION orset_send(orset) IS 'I/O';

CREATE TYPE orset (
    INPUT = orset_in,
    OUTPUT = orset_out,
    RECEIVE = orset_recv,
    SEND = orset_send,
    INTERNALLENGTH = variable,
    ALIGNMENT = int4,
    STORAGE = extended
);
COMMENT ON TYPE orset IS 'set of texts that replicas change concurrently: add wins over remove';

CREATE FUNCTION orset_add(set orset, element text, replica uuid, counter bigint) RETURNS orset
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION orset_add(orset, text, uuid, bigint) IS 'the set with an element added by a replica, whose counter names this one add';

CREATE FUNCTION orset_remove(set orset, element text) RETURNS orset
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION orset_remove(orset, text) IS 'the set without an element: every add of it that the set knows is undone';

CREATE FUNCTION orset_add(set orset, element text) RETURNS orset
AS 'MODULE_PATHNAME', 'orset_add_plain' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION orset_add(orset, text) IS 'the set with an element; in a tracked table the add counts as the node''s';

CREATE OPERATOR || (LEFTARG = orset, RIGHTARG = text, FUNCTION = orset_add);
COMMENT ON OPERATOR || (orset, text) IS 'the set with an element';

CREATE OPERATOR - (LEFTARG = orset, RIGHTARG = text, FUNCTION = orset_remove);
COMMENT ON OPERATOR - (orset, text) IS 'the set without an element';

CREATE FUNCTION orset_merge(orset, orset) RETURNS orset
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION orset_merge(orset, orset) IS 'what both sets know together';

CREATE FUNCTION orset_elements(orset) RETURNS SETOF text
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE ROWS 10;
COMMENT ON FUNCTION orset_elements(orset) IS 'the elements, in bytewise order';

CREATE FUNCTION orset_tags(orset) RETURNS TABLE (element text, replica uuid, counter bigint)
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE ROWS 10;
COMMENT ON FUNCTION orset_tags(orset) IS 'the adds that support each element; NULLs where it was written without';

CREATE FUNCTION orset_context(orset) RETURNS version_vector
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION orset_context(orset) IS 'which adds the set has ever seen';

CREATE FUNCTION orset_count(orset) RETURNS int
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION orset_count(orset) IS 'the number of elements';

CREATE FUNCTION orset_same(orset, orset) RETURNS boolean
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION orset_same(orset, orset) IS 'do both sets have the same elements, whoever added them?';

CREATE FUNCTION orset_contains(orset, text) RETURNS boolean
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION orset_contains(orset, text) IS 'implementation of @> and ? operators';

CREATE FUNCTION orset_contains_all(orset, text[]) RETURNS boolean
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION orset_contains_all(orset, text[]) IS 'implementation of @> operator';

CREATE FUNCTION orset_eq(orset, orset) RETURNS boolean
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION orset_eq(orset, orset) IS 'implementation of = operator';

CREATE FUNCTION orset_ne(orset, orset) RETURNS boolean
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION orset_ne(orset, orset) IS 'implementation of <> operator';

CREATE FUNCTION orset_hash(orset) RETURNS int
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION orset_hash(orset) IS 'hash';

CREATE FUNCTION orset_hash_extended(orset, bigint) RETURNS bigint
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION orset_hash_extended(orset, bigint) IS 'hash with a seed';

CREATE FUNCTION orset(text[]) RETURNS orset
AS 'MODULE_PATHNAME', 'orset_from_array' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION orset(text[]) IS 'set of the elements of an array, which belong to no replica yet';

CREATE FUNCTION orset_to_array(orset) RETURNS text[]
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION orset_to_array(orset) IS 'the elements, in bytewise order';

CREATE CAST (text[] AS orset) WITH FUNCTION orset(text[]) AS ASSIGNMENT;
COMMENT ON CAST (text[] AS orset) IS 'set of the elements of an array, which belong to no replica yet';

CREATE CAST (orset AS text[]) WITH FUNCTION orset_to_array(orset) AS ASSIGNMENT;
COMMENT ON CAST (orset AS text[]) IS 'the elements, in bytewise order';

CREATE OPERATOR = (
    LEFTARG = orset, RIGHTARG = orset, FUNCTION = orset_eq,
    COMMUTATOR = =, NEGATOR = <>,
    RESTRICT = eqsel, JOIN = eqjoinsel, HASHES
);
COMMENT ON OPERATOR = (orset, orset) IS 'the same elements, tags and context';

CREATE OPERATOR <> (
    LEFTARG = orset, RIGHTARG = orset, FUNCTION = orset_ne,
    COMMUTATOR = <>, NEGATOR = =,
    RESTRICT = neqsel, JOIN = neqjoinsel
);
COMMENT ON OPERATOR <> (orset, orset) IS 'not the same elements, tags and context';

-- There is no @> (orset, orset): beside it, set @> 'ann' would take the literal
-- for a set.
CREATE OPERATOR @> (
    LEFTARG = orset, RIGHTARG = text, FUNCTION = orset_contains,
    RESTRICT = contsel, JOIN = contjoinsel
);
COMMENT ON OPERATOR @> (orset, text) IS 'has this element';

CREATE OPERATOR @> (
    LEFTARG = orset, RIGHTARG = text[], FUNCTION = orset_contains_all,
    RESTRICT = contsel, JOIN = contjoinsel
);
COMMENT ON OPERATOR @> (orset, text[]) IS 'has all of these elements';

CREATE OPERATOR ? (
    LEFTARG = orset, RIGHTARG = text, FUNCTION = orset_contains,
    RESTRICT = contsel, JOIN = contjoinsel
);
COMMENT ON OPERATOR ? (orset, text) IS 'has this element';

CREATE OPERATOR CLASS orset_hash_ops
DEFAULT FOR TYPE orset USING hash AS
    OPERATOR 1 =,
    FUNCTION 1 orset_hash(orset),
    FUNCTION 2 orset_hash_extended(orset, bigint);
COMMENT ON OPERATOR CLASS orset_hash_ops USING hash IS 'hashing of sets';
COMMENT ON OPERATOR FAMILY orset_hash_ops USING hash IS 'hashing of sets';

CREATE FUNCTION orset_gin_extract_value(orset, internal) RETURNS internal
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION orset_gin_extract_value(orset, internal) IS 'GIN support';

CREATE FUNCTION orset_gin_extract_query(orset, internal, int2, internal, internal, internal, internal) RETURNS internal
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION orset_gin_extract_query(orset, internal, int2, internal, internal, internal, internal) IS 'GIN support';

CREATE FUNCTION orset_gin_consistent(internal, int2, orset, int4, internal, internal, internal, internal) RETURNS boolean
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION orset_gin_consistent(internal, int2, orset, int4, internal, internal, internal, internal) IS 'GIN support';

CREATE FUNCTION orset_gin_triconsistent(internal, int2, orset, int4, internal, internal, internal) RETURNS "char"
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION orset_gin_triconsistent(internal, int2, orset, int4, internal, internal, internal) IS 'GIN support';

-- a key is the element's bytes, or beginning and hash: no text, and no collation
CREATE OPERATOR CLASS orset_gin_ops
DEFAULT FOR TYPE orset USING gin AS
    OPERATOR 1 @> (orset, text),
    OPERATOR 2 @> (orset, text[]),
    OPERATOR 3 ? (orset, text),
    FUNCTION 1 byteacmp(bytea, bytea),
    FUNCTION 2 orset_gin_extract_value(orset, internal),
    FUNCTION 3 orset_gin_extract_query(orset, internal, int2, internal, internal, internal, internal),
    FUNCTION 4 orset_gin_consistent(internal, int2, orset, int4, internal, internal, internal, internal),
    FUNCTION 6 orset_gin_triconsistent(internal, int2, orset, int4, internal, internal, internal),
    STORAGE bytea;
COMMENT ON OPERATOR CLASS orset_gin_ops USING gin IS 'sets by their elements';
COMMENT ON OPERATOR FAMILY orset_gin_ops USING gin IS 'sets by their elements';

CREATE FUNCTION orset_merge_agg_step(internal, orset) RETURNS internal
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION orset_merge_agg_step(internal, orset) IS 'aggregate support';

CREATE FUNCTION orset_merge_agg_combine(internal, internal) RETURNS internal
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION orset_merge_agg_combine(internal, internal) IS 'aggregate support';

CREATE FUNCTION orset_merge_agg_serialize(internal) RETURNS bytea
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION orset_merge_agg_serialize(internal) IS 'aggregate support';

CREATE FUNCTION orset_merge_agg_deserialize(bytea, internal) RETURNS internal
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION orset_merge_agg_deserialize(bytea, internal) IS 'aggregate support';

CREATE FUNCTION orset_merge_agg_final(internal) RETURNS orset
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION orset_merge_agg_final(internal) IS 'aggregate support';

CREATE AGGREGATE orset_merge_agg(orset) (
    SFUNC = orset_merge_agg_step,
    STYPE = internal,
    COMBINEFUNC = orset_merge_agg_combine,
    SERIALFUNC = orset_merge_agg_serialize,
    DESERIALFUNC = orset_merge_agg_deserialize,
    FINALFUNC = orset_merge_agg_final,
    PARALLEL = SAFE
);
COMMENT ON AGGREGATE orset_merge_agg(orset) IS 'what all sets know together';
