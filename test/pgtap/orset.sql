-- orset: the laws of the merge, and agreement with a model, over sets that come
-- from random histories of replicas that add, remove and merge.
--
-- The model keeps, per replica, the pairs (element, tag), the plain elements and
-- every tag that was seen, as rows.
\set ON_ERROR_STOP true
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS offline_sync;
\ir ../binary_input.sql
BEGIN;
SELECT plan(63);

SELECT coalesce(nullif(current_setting('test.seed', true), ''), round(random()::numeric, 6)::text)::float8 AS seed \gset
SELECT diag('seed ' || :'seed');
SELECT setseed(:'seed');

-- ---- random histories ----
CREATE TEMP TABLE state (at int PRIMARY KEY, set orset NOT NULL);
CREATE TEMP TABLE pair (at int, element text, replica uuid, counter bigint);  -- no replica: plain
CREATE TEMP TABLE seen (at int, replica uuid, counter bigint);
CREATE TEMP TABLE sample (n int GENERATED ALWAYS AS IDENTITY, step int, at int, set orset,
                          pairs text[], tags text[]);

CREATE FUNCTION pg_temp.replica(at int) RETURNS uuid LANGUAGE sql IMMUTABLE AS
$$ SELECT md5('replica ' || at)::uuid $$;

CREATE FUNCTION pg_temp.any_element() RETURNS text LANGUAGE sql VOLATILE AS
$$ SELECT (ARRAY['', 'a', 'ab', 'b', 'ä', '"', E'\\', E'line\nfeed', 'z', '{}'])[1 + floor(random() * 10)] $$;

CREATE FUNCTION pg_temp.model_merge(at_ int, other int) RETURNS void LANGUAGE sql AS $$
  WITH mine AS (SELECT element, replica, counter FROM pair WHERE at = at_),
       theirs AS (SELECT element, replica, counter FROM pair WHERE at = other),
       kept AS (
         SELECT * FROM mine AS m
         WHERE m.replica IS NULL
            OR EXISTS (SELECT FROM theirs AS t WHERE t = m)
            OR NOT EXISTS (SELECT FROM seen AS s WHERE s.at = other
                           AND (s.replica, s.counter) = (m.replica, m.counter))
         UNION
         SELECT * FROM theirs AS t
         WHERE t.replica IS NULL
            OR NOT EXISTS (SELECT FROM seen AS s WHERE s.at = at_
                           AND (s.replica, s.counter) = (t.replica, t.counter))),
       -- to a place of its own first: a statement sees none of its own changes
       put AS (INSERT INTO pair SELECT -1, * FROM kept)
  INSERT INTO seen
  SELECT at_, replica, counter FROM seen WHERE at = other
  EXCEPT SELECT at_, replica, counter FROM seen WHERE at = at_;
  DELETE FROM pair WHERE at = at_;
  UPDATE pair SET at = at_ WHERE at = -1;
$$;

CREATE FUNCTION pg_temp.history(steps int) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  me int;
  other int;
  e text;
  c bigint;
BEGIN
  TRUNCATE state, pair, seen;
  INSERT INTO state SELECT at, array['a', 'plain ' || at]::orset FROM generate_series(1, 4) AS at;
  INSERT INTO pair SELECT at, unnest(array['a', 'plain ' || at]) FROM generate_series(1, 4) AS at;
  FOR step IN 1 .. steps LOOP
    me := 1 + floor(random() * 4);
    e := pg_temp.any_element();
    CASE floor(random() * 5)
      WHEN 0, 1 THEN  -- add; counters with gaps now and then
        c := coalesce((SELECT max(counter) FROM seen WHERE replica = pg_temp.replica(me)), 0)
             + CASE WHEN random() < 0.2 THEN 3 ELSE 1 END;
        UPDATE state SET set = orset_add(set, e, pg_temp.replica(me), c) WHERE at = me;
        DELETE FROM pair WHERE at = me AND element = e AND replica = pg_temp.replica(me);
        INSERT INTO pair VALUES (me, e, pg_temp.replica(me), c);
        INSERT INTO seen VALUES (me, pg_temp.replica(me), c);
      WHEN 2 THEN
        UPDATE state SET set = orset_remove(set, e) WHERE at = me;
        DELETE FROM pair WHERE at = me AND element = e;
      ELSE
        other := 1 + floor(random() * 4);
        UPDATE state SET set = orset_merge(set, (SELECT o.set FROM state AS o WHERE o.at = other))
        WHERE at = me;
        PERFORM pg_temp.model_merge(me, other);
    END CASE;
    INSERT INTO sample (step, at, set, pairs, tags)
    SELECT step, at, set,
           array(SELECT format('%s %s %s', element, replica, counter) FROM pair AS p
                 WHERE p.at = me ORDER BY 1),
           array(SELECT format('%s %s', replica, counter) FROM seen AS s
                 WHERE s.at = me ORDER BY 1)
    FROM state WHERE at = me;
  END LOOP;
END $$;

SELECT pg_temp.history(60) FROM generate_series(1, 6);

SELECT is(array(SELECT n FROM sample
                WHERE pairs IS DISTINCT FROM
                      array(SELECT format('%s %s %s', element, replica, counter)
                            FROM orset_tags(set) ORDER BY 1)),
          '{}'::int[], 'the sets hold the model''s elements and tags');
SELECT is(array(SELECT n FROM sample
                WHERE EXISTS (SELECT FROM unnest(tags) AS t
                              WHERE NOT vv_covers(orset_context(set), split_part(t, ' ', 1)::uuid,
                                                  split_part(t, ' ', 2)::bigint))),
          '{}'::int[], 'the context covers what the model has seen');
SELECT is(array(SELECT n FROM sample, generate_series(1, 4) AS r, generate_series(1, 60) AS c
                WHERE vv_covers(orset_context(set), pg_temp.replica(r), c)
                  AND NOT format('%s %s', pg_temp.replica(r), c) = ANY (tags)),
          '{}'::int[], 'and nothing else');
SELECT ok(count(*) FILTER (WHERE cardinality(pairs) > 4) > 50
          AND count(*) FILTER (WHERE EXISTS (SELECT FROM unnest(pairs) AS p WHERE p ~ '\S  $')) > 50
          AND count(*) > count(DISTINCT set::text), 'the histories are not trivial') FROM sample;

-- ---- laws ----
CREATE TEMP TABLE trio AS  -- of one history each: tags are unique only there
SELECT a.set AS a, b.set AS b, c.set AS c
FROM sample AS a, sample AS b, sample AS c
WHERE (a.n - 1) / 60 = (b.n - 1) / 60 AND (b.n - 1) / 60 = (c.n - 1) / 60
ORDER BY random() LIMIT 600;
SELECT is(count(*), 600::bigint, 'trios') FROM trio;
SELECT ok(bool_and(orset_merge(a, b) = orset_merge(b, a)), 'merge is commutative') FROM trio;
SELECT ok(bool_and(orset_merge(orset_merge(a, b), c) = orset_merge(a, orset_merge(b, c))),
          'merge is associative') FROM trio;
SELECT ok(bool_and(orset_merge(a, a) = a), 'merge is idempotent') FROM trio;
SELECT ok(bool_and(orset_merge(orset_merge(a, b), b) = orset_merge(a, b)),
          'merging again changes nothing') FROM trio;
SELECT ok(bool_and(orset_merge(a, '{}') = a), 'the empty set is neutral') FROM trio;
SELECT ok(bool_and(orset_context(orset_merge(a, b)) = vv_join(orset_context(a), orset_context(b))),
          'the context of a merge is the join of both') FROM trio;
SELECT ok(bool_or(a <> b AND orset_merge(a, b) <> a AND orset_merge(a, b) <> b),
          'there are concurrent sets among them') FROM trio;
SELECT is((SELECT orset_merge_agg(set) FROM (SELECT set FROM sample WHERE n <= 60 ORDER BY random()) AS s),
          (SELECT orset_merge_agg(set ORDER BY n) FROM sample WHERE n <= 60),
          'the aggregate does not depend on the order');
SELECT ok(orset_merge_agg(set) IS NULL, 'nothing merged is NULL') FROM sample WHERE false;

SELECT ok(bool_and(set::text::orset = set AND set::text::orset::text = set::text), 'text round trip')
FROM sample;
SELECT ok(bool_and(pg_temp.binary_input('orset', orset_send(set)) = set::text), 'binary round trip')
FROM (SELECT DISTINCT set FROM sample WHERE n % 3 = 0) AS s;
SELECT ok(bool_and((a = b) = (orset_send(a) = orset_send(b)) AND (a <> b) = NOT (a = b)
                   AND (a <> b OR orset_hash(a) = orset_hash(b))
                   AND (a <> b OR orset_hash_extended(a, 7) = orset_hash_extended(b, 7))),
          '=, <> and hash') FROM trio;
SELECT ok(bool_and(orset_same(a, b) = (a::text[] = b::text[])), 'orset_same compares elements') FROM trio;
SELECT ok(bool_or(orset_same(a, b) AND a <> b), 'which may be the same with other tags') FROM trio;
SELECT ok(bool_and(set::text[] = array(SELECT DISTINCT element COLLATE "C" FROM orset_tags(set) ORDER BY 1)
                   AND set::text[] = array(SELECT orset_elements(set))
                   AND cardinality(set::text[]) = orset_count(set)
                   AND orset_same(set::text[]::orset, set)),
          'casts, elements, count') FROM sample;
SELECT ok(bool_and((set @> e) = (e = ANY (set::text[])) AND (set ? e) = (set @> e)
                   AND (set @> ARRAY[e, f, e]) = (set::text[] @> ARRAY[e, f])),
          '@> and ? agree with those of arrays')
FROM sample, (SELECT pg_temp.any_element() AS e, pg_temp.any_element() AS f
              FROM generate_series(1, 20)) AS q;
SELECT ok(set @> '{}'::text[] AND NOT set @> ARRAY[NULL]::text[] AND NOT set @> ARRAY['a', NULL],
          'the empty array is contained, NULL never') FROM sample WHERE n = 1;

-- ---- observed remove, add wins ----
SELECT pg_temp.replica(1) AS r1, pg_temp.replica(2) AS r2 \gset
SELECT orset_add('{}', 'ann', :'r1', 1) AS base \gset
SELECT is(orset_merge(orset_remove(:'base', 'ann'), orset_add(:'base', 'ann', :'r2', 1))::text[],
          '{ann}', 'a concurrent add wins');
SELECT is(orset_merge(orset_remove(:'base', 'ann'), :'base')::text[], '{}',
          'without one, the remove prevails over what it had seen');
SELECT is(orset_add(orset_remove(:'base', 'ann'), 'ann', :'r1', 1), orset_remove(:'base', 'ann'),
          'an add that was removed does not come back');
SELECT is(orset_add(:'base', 'ann', :'r1', 1), :'base'::orset, 'an add is idempotent');
SELECT is(orset_remove(:'base', 'bob'), :'base'::orset, 'removing nothing changes nothing');
SELECT is(orset_merge(orset_remove(orset_merge(:'base', '{"ann"}'), 'ann'), :'base')::text[], '{}',
          'a remove takes the plain mark, too');
SELECT is((SELECT count(*) FROM orset_tags(s)), 1::bigint,
          'an element that is added again and again does not grow')
FROM (SELECT orset_add(orset_add(:'base', 'ann', :'r1', 2), 'ann', :'r1', 7) AS s) AS t;
SELECT throws_ok(format('SELECT orset_add(''{}'', ''ann'', %L, 0)', :'r1'), '22023');

-- ---- damaged bytes ----
CREATE TEMP TABLE mutant AS
SELECT set_byte(orset_send(set), (random() * (length(orset_send(set)) - 1))::int,
                (random() * 255)::int) AS bytes, NULL::text AS outcome
FROM (SELECT set FROM sample ORDER BY random() LIMIT 300) AS s;
INSERT INTO mutant
SELECT substr(orset_send(set), 1, (random() * (length(orset_send(set)) - 1))::int)
FROM (SELECT set FROM sample ORDER BY random() LIMIT 100) AS s;
UPDATE mutant SET outcome = pg_temp.binary_outcome('orset', bytes);
SELECT is(array(SELECT outcome FROM mutant
                WHERE outcome !~ '^\{' AND outcome !~ '^(22P03|0A000|22021|08P01):'), '{}'::text[],
          'a changed or missing byte raises nothing but our errors');
SELECT ok(bool_and(outcome::orset::text = outcome AND orset_merge(outcome::orset, outcome::orset) = outcome::orset),
          'what is accepted is a set') FROM mutant WHERE outcome ~ '^\{';
SELECT ok(count(*) FILTER (WHERE outcome ~ '^\{') > 20
          AND count(*) FILTER (WHERE outcome ~ '^22P03:') > 20, 'some mutants pass, some do not')
FROM mutant;

CREATE FUNCTION pg_temp.wire_context() RETURNS bytea LANGUAGE sql AS $$
  -- version and format byte, no elements | context | no tags
  SELECT substr(b, 4, length(b) - 4)
  FROM orset_send(format('{"elements":{},"context":{"%s":3}}', md5('')::uuid)::orset) AS b
$$;

-- One by one.  C stands for a context of one replica's counters 1 to 3; a value without
-- a SQLSTATE is good, and shows what the next ones spoil.
SELECT is(coalesce(substring(outcome FROM '^([0-9A-Z]{5}):'), 'good'), expected, why)
FROM (VALUES
  ('good',  'a set of two',                       '01 10 02 0161 0162'),
  ('good',  'in any order: of another encoding',  '01 10 02 0162 0161'),
  ('08P01', 'no version',                         ''),
  ('22P03', 'nothing but the version',            '01'),
  ('0A000', 'a later version',                    '02 10 02 0161 0162'),
  ('22P03', 'a later format',                     '01 20 02 0161 0162'),
  ('22P03', 'a reserved bit',                     '01 12 02 0161 0162'),
  ('22P03', 'an element twice',                   '01 10 02 0161 0161'),
  ('22P03', 'an element too few',                 '01 10 03 0161 0162'),
  ('22P03', 'an element too many',                '01 10 01 0161 0162'),
  ('22P03', 'more elements than bytes',           '01 10 c0843d 0161 0162'),
  ('22P03', 'longer than what is left',           '01 10 01 0261'),
  ('22P03', 'longer than any may be',             '01 10 01 ffffffffffffffff7f61'),
  ('22P03', 'a zero byte',                        '01 10 01 0100'),
  ('22021', 'not text',                           '01 10 01 01ff'),
  ('good',  'a tag',                              '01 11 01 0161 C 01 02 00 02'),
  ('22P03', 'no tags, in spite of the mark',      '01 11 01 0161'),
  ('22P03', 'an empty context',                   '01 11 01 0161 00 00 01'),
  ('good',  'nothing but a context',              '01 11 00 C 00'),
  ('22P03', 'an element that nothing supports',   '01 11 01 0161 C 00 00'),
  ('22P03', 'more tags than announced',           '01 11 01 0161 C 01 04 00 01 00 01'),
  ('22P03', 'fewer tags than announced',          '01 11 01 0161 C 02 02 00 01 00 01'),
  ('good',  'two tags, and plain',                '01 11 01 0161 C 02 05 00 01 00 01'),
  ('22P03', 'twice the same',                     '01 11 01 0161 C 02 05 00 01 00 00'),
  ('22P03', 'a tag that is not in the context',   '01 11 01 0161 C 01 02 00 04'),
  ('22P03', 'a tag without a counter',            '01 11 01 0161 C 01 02 00 00'),
  ('22P03', 'a replica that is not in the context', '01 11 01 0161 C 01 02 01 01'),
  ('22P03', 'one byte more',                      '01 11 01 0161 C 01 02 00 02 00')
  ) AS v (expected, why, bytes),
  LATERAL (SELECT pg_temp.binary_outcome('orset', decode(replace(replace(bytes,
             'C', encode(pg_temp.wire_context(), 'hex')), ' ', ''), 'hex'))) AS o (outcome);

-- The wire has the client's encoding, in which these two are in the other order.
SET LOCAL client_encoding = 'WIN1252';
SELECT ok(orset_send(s) = '\x01100201e40180' AND pg_temp.binary_input('orset', orset_send(s)) = s::text,
          'elements travel in the client''s encoding')
FROM (SELECT ARRAY[U&'\20ac', U&'\00e4']::orset AS s) AS t;
RESET client_encoding;

-- A stored value that is damaged is noticed when it is read: a cast that checks
-- nothing stands in for a broken disk.
CREATE CAST (bytea AS orset) WITHOUT FUNCTION;
CREATE TEMP TABLE damaged AS
SELECT substr(orset_send(set), 2, length(orset_send(set)) - 2) AS bytes FROM sample WHERE n % 20 = 0;
CREATE FUNCTION pg_temp.read_stored(bytes bytea) RETURNS text LANGUAGE plpgsql AS
$$ BEGIN RETURN bytes::orset::text; EXCEPTION WHEN data_corrupted THEN RETURN 'XX001'; END $$;
SELECT ok(bool_and(pg_temp.read_stored(bytes) = 'XX001'), 'a damaged stored value is XX001') FROM damaged;

SELECT * FROM finish();
ROLLBACK;
