-- ---------------------------------------------------------------------------
-- delta: a batch of changes by one replica
-- ---------------------------------------------------------------------------
CREATE TYPE delta;

CREATE FUNCTION delta_in(cstring) RETURNS delta
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION delta_in(cstring) IS 'I/O';

CREATE FUNCTION delta_out(delta) RETURNS cstring
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION delta_out(delta) IS 'I/O';

CREATE FUNCTION delta_recv(internal) RETURNS delta
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION delta_recv(internal) IS 'I/O';

CREATE FUNCTION delta_send(delta) RETURNS bytea
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION delta_send(delta) IS 'I/O';

CREATE TYPE delta (
    INPUT = delta_in,
    OUTPUT = delta_out,
    RECEIVE = delta_recv,
    SEND = delta_send,
    INTERNALLENGTH = VARIABLE,
    ALIGNMENT = int4,
    STORAGE = extended
);
COMMENT ON TYPE delta IS 'batch of changes by one replica: what a device pushes and what it is served';

-- Equality is of the content: a checksum or signature does not count.

CREATE FUNCTION delta_eq(delta, delta) RETURNS boolean
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION delta_eq(delta, delta) IS 'implementation of = operator';

CREATE FUNCTION delta_ne(delta, delta) RETURNS boolean
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION delta_ne(delta, delta) IS 'implementation of <> operator';

CREATE FUNCTION delta_hash(delta) RETURNS int
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION delta_hash(delta) IS 'hash';

CREATE FUNCTION delta_hash_extended(delta, bigint) RETURNS bigint
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION delta_hash_extended(delta, bigint) IS 'hash';

CREATE OPERATOR = (
    LEFTARG = delta, RIGHTARG = delta, FUNCTION = delta_eq,
    COMMUTATOR = =, NEGATOR = <>, RESTRICT = eqsel, JOIN = eqjoinsel, HASHES
);
COMMENT ON OPERATOR = (delta, delta) IS 'do both have the same content, checksum and signature aside?';

CREATE OPERATOR <> (
    LEFTARG = delta, RIGHTARG = delta, FUNCTION = delta_ne,
    COMMUTATOR = <>, NEGATOR = =, RESTRICT = neqsel, JOIN = neqjoinsel
);
COMMENT ON OPERATOR <> (delta, delta) IS 'do they differ in content, checksum and signature aside?';

CREATE OPERATOR CLASS delta_hash_ops
DEFAULT FOR TYPE delta USING hash AS
    OPERATOR 1 =,
    FUNCTION 1 delta_hash(delta),
    FUNCTION 2 delta_hash_extended(delta, bigint);
COMMENT ON OPERATOR CLASS delta_hash_ops USING hash IS 'hash operator class of delta';

CREATE CAST (json AS delta) WITH INOUT;
CREATE CAST (jsonb AS delta) WITH INOUT;
CREATE CAST (delta AS json) WITH INOUT;
CREATE CAST (delta AS jsonb) WITH INOUT;
COMMENT ON CAST (json AS delta) IS 'read a delta from JSON';
COMMENT ON CAST (jsonb AS delta) IS 'read a delta from JSON';
COMMENT ON CAST (delta AS json) IS 'a delta as JSON';
COMMENT ON CAST (delta AS jsonb) IS 'a delta as JSON';

CREATE FUNCTION delta_from_bytes(bytea) RETURNS delta
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION delta_from_bytes(bytea) IS 'read a delta from its binary form, as delta_send makes it';

CREATE CAST (bytea AS delta) WITH FUNCTION delta_from_bytes(bytea);
CREATE CAST (delta AS bytea) WITH FUNCTION delta_send(delta);
COMMENT ON CAST (bytea AS delta) IS 'read a delta from its binary form';
COMMENT ON CAST (delta AS bytea) IS 'the binary form of a delta';

CREATE FUNCTION delta_pretty(delta) RETURNS text
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION delta_pretty(delta) IS 'a delta as JSON, each change on a line of its own';

CREATE FUNCTION delta_checksum(delta) RETURNS text
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION delta_checksum(delta) IS 'what the member "checksum" has to say for this content';

CREATE FUNCTION sync_canonical_bytes(delta) RETURNS bytea
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION sync_canonical_bytes(delta) IS
    'what checksum and signature are made of: the line "offline_sync delta 1", a line feed, then the delta as it is printed (one text for equal deltas), in UTF-8, without "checksum" and "signature" and without the blanks in vectors';

CREATE FUNCTION delta_replica(delta) RETURNS uuid
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION delta_replica(delta) IS 'the replica that made the delta';

CREATE FUNCTION delta_context(delta) RETURNS version_vector
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION delta_context(delta) IS 'what the device had seen when it made its changes; NULL for a served delta';

CREATE FUNCTION delta_from(delta) RETURNS version_vector
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION delta_from(delta) IS 'the vector that a served delta starts from';

CREATE FUNCTION delta_to(delta) RETURNS version_vector
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION delta_to(delta) IS 'the vector of a device after it has applied this served delta';

CREATE FUNCTION delta_hlc(delta) RETURNS hlc
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION delta_hlc(delta) IS 'the highest clock value that the replica had received from a node; for a served delta, the clock of the node';

CREATE FUNCTION delta_schema_version(delta) RETURNS int
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION delta_schema_version(delta) IS 'the version of the schema that the delta was written for';

CREATE FUNCTION delta_first_seq(delta) RETURNS bigint
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION delta_first_seq(delta) IS 'the seq of the first change; NULL for a served delta and without changes';

CREATE FUNCTION delta_last_seq(delta) RETURNS bigint
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION delta_last_seq(delta) IS 'the seq of the last change; NULL for a served delta and without changes';

CREATE FUNCTION delta_has_more(delta) RETURNS boolean
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION delta_has_more(delta) IS 'is there another page after this one?';

CREATE FUNCTION delta_is_reset(delta) RETURNS boolean
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION delta_is_reset(delta) IS 'is this the first page of a fresh start, before which the device drops its base rows?';

CREATE FUNCTION delta_resume(delta) RETURNS text
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION delta_resume(delta) IS 'what to pass to the call for the next page';

CREATE FUNCTION delta_count(delta) RETURNS int
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION delta_count(delta) IS 'number of changes';

CREATE FUNCTION delta_size(delta) RETURNS int
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION delta_size(delta) IS 'bytes of the binary form';

CREATE FUNCTION delta_changes(delta,
    OUT seq bigint, OUT hlc hlc, OUT kind text, OUT table_name text,
    OUT key jsonb, OUT changes jsonb, OUT "group" bigint)
RETURNS SETOF record
AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE ROWS 100;
COMMENT ON FUNCTION delta_changes(delta) IS 'the changes of a delta, one row each: what, where, and in changes the members that say what it does';
