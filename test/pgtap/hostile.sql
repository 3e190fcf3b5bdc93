-- Deltas that are made to cost much: deep, wide, long.  Each is refused with the
-- limit and the value, or handled, in time that grows as it does.
BEGIN;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS offline_sync;
SELECT plan(30);
SET statement_timeout = '120s';

CREATE TABLE note (id int PRIMARY KEY, title text, doc jsonb, tags orset);
SELECT sync_enable_table('note') \g /dev/null
SELECT sync_register_device('11111111-1111-1111-1111-111111111111') \g /dev/null

-- a delta of these changes, in which "T" stands for the table and the time
CREATE FUNCTION pg_temp.a_delta(changes text) RETURNS text LANGUAGE sql AS $$
  SELECT '{"format":1,"replica":"11111111-1111-1111-1111-111111111111","changes":['
         || replace(changes, '"T"', '"hlc":"2026-11-20T10:00:00.000Z/0","table":"note"') || ']}'
$$;
-- one change of the note 1, which does this
CREATE FUNCTION pg_temp.a_change(seq int, content text) RETURNS text LANGUAGE sql AS $$
  SELECT pg_temp.a_delta(format('{"seq":%s,"T","key":{"id":%1$s},%s}', seq, content))
$$;
CREATE FUNCTION pg_temp.nested(depth int) RETURNS text LANGUAGE sql AS $$
  SELECT pg_temp.a_change(1, '"insert":{"doc":' || repeat('[', depth) || repeat(']', depth) || '}')
$$;
CREATE FUNCTION pg_temp.columns(op text, n int) RETURNS text LANGUAGE sql AS $$
  SELECT pg_temp.a_change(1, format('"%s":{%s}', op, string_agg(format('"c%s":1', i), ',')))
    FROM generate_series(1, n) AS i
$$;
CREATE FUNCTION pg_temp.wide_key(seq int, n int) RETURNS text LANGUAGE sql AS $$
  SELECT pg_temp.a_delta(format('{"seq":%s,"T","key":{%s},"delete":true}', seq, string_agg(format('"c%s":1', i), ',')))
    FROM generate_series(1, n) AS i
$$;
CREATE FUNCTION pg_temp.outcome(delta text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
  PERFORM delta::delta;
  RETURN 'ok';
EXCEPTION WHEN OTHERS THEN
  RETURN SQLSTATE || ': ' || SQLERRM;
END $$;

-- deep
SELECT is(pg_temp.outcome(pg_temp.nested(1000)), 'ok', '1,000 levels are accepted');
SELECT is(pg_temp.outcome(pg_temp.nested(1001)),
          '54000: JSON value is nested 1001 levels deep, which exceeds the maximum allowed (1000)',
          'one more is not');
SELECT is(pg_temp.outcome(pg_temp.nested(10000)),
          '54000: JSON value is nested 10000 levels deep, which exceeds the maximum allowed (1000)',
          'nor are 10,000: the value is named');
SELECT is(pg_temp.outcome(pg_temp.a_change(1, '"insert":{"doc":' || repeat('{"a":[', 500000))),
          '54000: JSON value is nested 1000000 levels deep, which exceeds the maximum allowed (1000)',
          'a million levels that never end');
SELECT is(pg_temp.outcome(pg_temp.a_change(1, '"insert":{"doc":["' || repeat('[', 2000) || '\"]]]"]}')), 'ok',
          'brackets in strings are none');
SET offline_sync.max_delta_depth = 3;
SELECT is(pg_temp.outcome(pg_temp.nested(4)),
          '54000: JSON value is nested 4 levels deep, which exceeds the maximum allowed (3)',
          'the limit is a setting');
SELECT is((SELECT limits ->> 'max_delta_depth' FROM sync_hello('11111111-1111-1111-1111-111111111111')), '3',
          'which devices are told');
SET offline_sync.max_delta_depth = 10000;
CREATE TEMP TABLE deep AS SELECT pg_temp.nested(10000)::delta AS d;
SELECT is(d::text::delta, d, '10,000 levels are accepted where the setting allows it') FROM deep;
RESET offline_sync.max_delta_depth;
SELECT throws_ok('SELECT delta_from_bytes(delta_send(d)) FROM deep', '54000',
                 'JSON value is nested 10000 levels deep, which exceeds the maximum allowed (1000)',
                 'the limit holds for the binary form');
SELECT is(length(d::text), length(pg_temp.nested(10000)) + length(',"context":{}'),
          'what was accepted under a higher limit still prints') FROM deep;

-- wide
SELECT is(pg_temp.outcome(pg_temp.columns('insert', 65537)),
          '54000: delta has 65537 different columns or more, which exceeds the maximum allowed (65536)',
          'too many column names');
SELECT is(pg_temp.outcome(pg_temp.columns('insert', 300000)),
          '54000: delta has 65537 different columns or more, which exceeds the maximum allowed (65536)',
          'far too many');
SELECT is(pg_temp.outcome(pg_temp.wide_key(1, 65537)),
          '54000: delta has 65537 different columns or more, which exceeds the maximum allowed (65536)',
          'in a key');
SELECT is(pg_temp.outcome((SELECT pg_temp.a_delta(string_agg(format('{"seq":%s,"T","key":{"id":1},"delete":true}', i), ','))
                             FROM generate_series(1, 100001) AS i)),
          '54000: delta has 100001 changes, which exceeds the maximum allowed (100000)', 'too many changes');

-- long
SET offline_sync.max_delta_size = '4MB';
SELECT matches(pg_temp.outcome(pg_temp.a_change(1, format('"insert":{"title":"%s"}', repeat('x', 5000000)))),
          '^54000: delta of 5000\d\d\d bytes exceeds the maximum allowed \(4194304\)$', 'a delta that is too long');
RESET offline_sync.max_delta_size;
SELECT is(pg_temp.outcome(pg_temp.a_change(1, format('"insert":{"title":"%s"}', repeat('x', 9000000)))),
          '54000: value of column "title" has 9000000 bytes, which exceeds the maximum allowed (8388608)',
          'a value that is too long');
SELECT is(pg_temp.outcome(pg_temp.a_change(1, format('"insert":{"doc":"%s"}', repeat('\u0041', 1000000)))), 'ok',
          'a million escapes');

/*
 * Time: a shape at one size, and eight times as large.  Linear is 8 times longer,
 * quadratic 64 times.  The best of three counts, and small differences do not.  It is
 * the time that the processor gave to this backend, where the kernel tells; so it
 * does not matter what else the machine does.
 */
CREATE FUNCTION pg_temp.seconds() RETURNS float8 LANGUAGE sql VOLATILE AS $$
  SELECT coalesce(substring(pg_read_file('/proc/self/schedstat', 0, 100, true) FROM '^[1-9]\d*')::float8 / 1e9,
                  extract(epoch FROM clock_timestamp()))
$$;
CREATE FUNCTION pg_temp.seconds(statement text) RETURNS float8 LANGUAGE plpgsql AS $$
DECLARE
  best float8 := 'infinity';
  begun float8;
BEGIN
  FOR i IN 1 .. 3 LOOP
    begun := pg_temp.seconds();
    BEGIN
      EXECUTE statement;
    EXCEPTION WHEN program_limit_exceeded THEN
      -- refusing takes time, too
    END;
    best := least(best, pg_temp.seconds() - begun);
  END LOOP;
  RETURN best;
END $$;
CREATE FUNCTION pg_temp.grows_as_its_size(what text, shape text, n int) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  small float8;
  large float8;
BEGIN
  EXECUTE format('CREATE TEMP TABLE shapes AS SELECT x.n, (%s) AS content FROM (VALUES (%s), (%s)) AS x (n)', shape, n, 8 * n);
  small := pg_temp.seconds(format('SELECT content::delta FROM pg_temp.shapes WHERE n = %s', n));
  large := pg_temp.seconds(format('SELECT content::delta FROM pg_temp.shapes WHERE n = %s', 8 * n));
  DROP TABLE pg_temp.shapes;
  RETURN ok(large < 24 * small + 0.1, what || CASE WHEN large < 24 * small + 0.1 THEN ''
            ELSE format(': %s s, of eight times the size %s s', small, large) END);
END $$;
SELECT pg_temp.grows_as_its_size('columns', $$SELECT pg_temp.columns('insert', x.n)$$, 8000);
SELECT pg_temp.grows_as_its_size('columns, the last ones first',
  $$SELECT pg_temp.a_change(1, format('"insert":{%s}', string_agg(format('"c%s":1', lpad((x.n - i)::text, 6, '0')), ','))) FROM generate_series(1, x.n) AS i$$, 8000);
SELECT pg_temp.grows_as_its_size('members of one JSON value',
  $$SELECT pg_temp.a_change(1, format('"insert":{"doc":{%s}}', string_agg(format('"c%s":1', i), ','))) FROM generate_series(1, x.n) AS i$$, 50000);
SELECT pg_temp.grows_as_its_size('elements of one list',
  $$SELECT pg_temp.a_change(1, format('"add":{"tags":[%s]}', string_agg(format('"%s"', i * 7919::bigint % x.n), ','))) FROM generate_series(1, x.n) AS i$$, 50000);
SELECT pg_temp.grows_as_its_size('changes',
  $$SELECT pg_temp.a_delta(string_agg(format('{"seq":%s,"T","key":{"id":%1$s},"delete":true,"group":%1$s}', i), ',')) FROM generate_series(1, x.n) AS i$$, 10000);
SELECT pg_temp.grows_as_its_size('tables, refused or not',
  $$SELECT pg_temp.a_delta(string_agg(format('{"seq":%s,"hlc":"2026-11-20T10:00:00.000Z/0","table":"t%1$s","key":{"id":1},"delete":true}', i), ',')) FROM generate_series(1, x.n) AS i$$, 10000);
SELECT pg_temp.grows_as_its_size('nested objects named $json',
  $$SELECT pg_temp.a_change(1, format('"insert":{%s}', string_agg(format('"c%s":%s', i, repeat('{"$json":', 90) || '1' || repeat('}', 90)), ','))) FROM generate_series(1, x.n) AS i$$, 200);

-- pushed: what was accepted costs no more than it says
CREATE FUNCTION pg_temp.push(delta text) RETURNS text LANGUAGE sql AS $$
  SELECT status || ' ' || acked_seq || ' ' || coalesce(outcomes -> 0 ->> 'reason', '-') FROM sync_apply_delta(delta::delta)
$$;
SELECT is(pg_temp.push(pg_temp.columns('insert', 60000)), 'partial 1 unknown_column', '60,000 columns that are not there');
SELECT is(pg_temp.push(pg_temp.wide_key(2, 60000)), 'partial 2 bad_key', 'a key of 60,000 columns');
SELECT is(pg_temp.push((SELECT pg_temp.a_change(3, format('"insert":{"tags":[%s]}', string_agg(format('"%s"', i), ','))) FROM generate_series(1, 50000) AS i)),
          'applied 3 -', 'a set of 50,000 elements');
SELECT is(pg_temp.push((SELECT pg_temp.a_delta(string_agg(format('{"seq":%s,"T","key":{"id":3},"add":{"tags":["a%1$s"]}}', i), ',')) FROM generate_series(4, 3003) AS i)),
          'applied 3003 -', '3,000 additions to it');
SELECT is(pg_temp.push((SELECT pg_temp.a_delta(string_agg(format('{"seq":%s,"T","key":{"id":4},"%s":{"title":"%1$s"}}', i, CASE i WHEN 3004 THEN 'insert' ELSE 'set' END), ',')) FROM generate_series(3004, 13003) AS i)),
          'applied 13003 -', '10,000 changes of one row');
SELECT is((SELECT title FROM note WHERE id = 4), '13003', 'of which the last prevails');

SELECT * FROM finish();
ROLLBACK;
