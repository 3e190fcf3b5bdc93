-- Hand any bytes to a type's receive function: SQL itself cannot call it, COPY can.
--
--   in sql/x.sql:         \getenv srcdir PG_ABS_SRCDIR
--                         \set file :srcdir '/test/binary_input.sql'
--                         \set ECHO none
--                         \i :file
--                         \set ECHO all
--   in test/pgtap/x.sql:  \ir ../binary_input.sql
--
-- pg_temp.binary_input('hlc', '\x...') returns the value's text, or raises;
-- pg_temp.binary_outcome('hlc', '\x...') returns the text, or SQLSTATE and message.
--
-- Only for a superuser: the bytes come through COPY ... FROM PROGRAM 'printf ...',
-- so no file is left on the server.  At most 30 kB, which a command can carry.
CREATE FUNCTION pg_temp.binary_input(type regtype, bytes bytea) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
  stream bytea := '\x5047434f50590aff0d0a00' || int4send(0) || int4send(0)
                  || int2send(1::int2) || int4send(length(bytes)) || bytes
                  || int2send((-1)::int2);
  octal text;
  result text;
BEGIN
  SELECT string_agg(format('\%s%s%s', b >> 6, b >> 3 & 7, b & 7), '' ORDER BY i)
    INTO octal
    FROM generate_series(0, length(stream) - 1) AS i, get_byte(stream, i) AS b;
  EXECUTE format('CREATE TEMP TABLE binary_input (value %s)', type);
  EXECUTE format('COPY pg_temp.binary_input FROM PROGRAM %L (FORMAT binary)',
                 format('printf ''%s''', octal));
  SELECT value::text INTO STRICT result FROM pg_temp.binary_input;
  DROP TABLE pg_temp.binary_input;
  RETURN result;
END $$;

CREATE FUNCTION pg_temp.binary_outcome(type regtype, bytes bytea) RETURNS text
LANGUAGE plpgsql AS $$
BEGIN
  RETURN pg_temp.binary_input(type, bytes);
EXCEPTION WHEN OTHERS THEN
  RETURN SQLSTATE || ': ' || SQLERRM;
END $$;
