#!/bin/sh
# apply: changes a second, in deltas of 1,000, each a transaction; against the same
# changes by hand-written SQL.  Called by run.sh.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
batch=1000
batches=$((CHANGES / batch))
export PGOPTIONS='-c client_min_messages=warning'
run() { psql -X -q -A -t -v ON_ERROR_STOP=1 "$@"; }

cd "$DIR"

# Plain SQL as one writes it for speed: one statement, values in arrays of text, whole rows.
upsert="INSERT INTO item (id, title, body, done, prio, updated_at)
	SELECT u.* FROM b, unnest(b.id::uuid[], b.title::text[], b.body::text[], b.done::bool[], b.prio::int[],
	                          b.updated_at::timestamptz[]) u
	ON CONFLICT (id) DO UPDATE SET title = EXCLUDED.title, body = EXCLUDED.body, done = EXCLUDED.done,
	    prio = EXCLUDED.prio, updated_at = EXCLUDED.updated_at"
# Only the changed columns travel; possible where no column is NOT NULL, and NULL is never written.
sparse="INSERT INTO item (id, title, body, done, prio, updated_at)
	SELECT u.* FROM b, unnest(b.id::uuid[], b.title::text[], b.sparse_body::text[], b.sparse_done::bool[],
	                          b.sparse_prio::int[], b.updated_at::timestamptz[]) u
	ON CONFLICT (id) DO UPDATE SET title = coalesce(EXCLUDED.title, item.title), body = coalesce(EXCLUDED.body, item.body),
	    done = coalesce(EXCLUDED.done, item.done), prio = coalesce(EXCLUDED.prio, item.prio),
	    updated_at = coalesce(EXCLUDED.updated_at, item.updated_at)"
delete="DELETE FROM item USING b WHERE item.id = ANY (b.gone::uuid[])"
cat >upsert.pgbench <<SQL
\\set i :i + 1
WITH b AS (SELECT * FROM bench.batch WHERE n = :i), up AS ($upsert) $delete;
SQL
cat >sparse.pgbench <<SQL
\\set i :i + 1
WITH b AS (SELECT * FROM bench.batch WHERE n = :i), up AS ($sparse) $delete;
SQL
cat >upsert_log.pgbench <<SQL
\\set i :i + 1
WITH b AS (SELECT * FROM bench.batch WHERE n = :i), up AS ($upsert RETURNING id), gone AS ($delete RETURNING item.id)
INSERT INTO bench.log SELECT '', 1, pg_current_xact_id(), 1, 1, uuid_send(id) FROM (TABLE up UNION ALL TABLE gone) c;
SQL
cat >json.pgbench <<SQL
\\set i :i + 1
SELECT status, acked_seq FROM sync_apply_delta((SELECT json FROM bench.delta WHERE n = :i)::delta);
SQL
cat >parsed.pgbench <<SQL
\\set i :i + 1
SELECT status, acked_seq FROM sync_apply_delta((SELECT parsed FROM bench.delta WHERE n = :i));
SQL

# Make the table a tracked one, with a device that has pulled all of it, and its deltas.
prepare_sync()
{
	run -d run <<'SQL'
CREATE EXTENSION offline_sync;
SELECT sync_enable_table('item') \g /dev/null
SELECT sync_register_device('d0000000-0000-4000-8000-000000000001') \g /dev/null
CREATE TABLE bench.vector (v version_vector);
DO $$
DECLARE
    d delta;
    v version_vector := '{}';
    r text;
BEGIN
    LOOP
        d := sync_changes_since('d0000000-0000-4000-8000-000000000001', v, 10000, r);
        v := delta_to(d);
        r := delta_resume(d);
        EXIT WHEN NOT delta_has_more(d);
    END LOOP;
    INSERT INTO bench.vector VALUES (v);
END $$;
CREATE UNLOGGED TABLE bench.delta (n int PRIMARY KEY, json text, parsed delta);
ALTER TABLE bench.delta ALTER json SET STORAGE EXTERNAL, ALTER parsed SET STORAGE EXTERNAL;
INSERT INTO bench.delta
    SELECT n, t, t::delta
    FROM bench.batch, bench.vector,
         LATERAL (SELECT '{"format": 1, "replica": "d0000000-0000-4000-8000-000000000001", "context": ' || v::text
                         || ', "changes": [' || changes || ']}') x (t);
ANALYZE bench.delta;
SQL
}

echo
echo "apply: $CHANGES changes in deltas of $batch to a table of $ROWS rows (half update two columns, 40 % insert, 10 % delete)"
run -c 'CREATE DATABASE workload'
run -d workload -v rows="$ROWS" -v changes="$CHANGES" -v batch=$batch -f "$here/apply.sql" >/dev/null
for n in $(seq "$ROUNDS"); do
	for variant in ${VARIANTS:-upsert upsert_log sparse json parsed}; do
		run -c 'CREATE DATABASE run TEMPLATE workload STRATEGY file_copy'
		case $variant in json | parsed) prepare_sync ;; esac
		run -d run -c 'CHECKPOINT'
		pgbench -n -M prepared -D i=0 -t $batches -f $variant.pgbench run >out 2>&1 || { cat out >&2; exit 1; }
		grep -q "actually processed: $batches/$batches" out || { cat out >&2; exit 1; }
		# every variant ends with the same rows
		sum=$(run -d run -c 'SELECT md5(string_agg(md5(concat_ws($$|$$, id, title, body, done, prio, updated_at)), $$$$ ORDER BY id)) FROM item')
		[ "${sum_wanted:=$sum}" = "$sum" ] || { echo "apply.sh: $variant ended with other rows" >&2; exit 1; }
		sed -n "s/^tps = \([0-9.]*\).*/$variant,\1/p" out >>tps
		run -c 'DROP DATABASE run'
	done
	printf '  round %s of %s\n' "$n" "$ROUNDS" >&2
done
psql -X -q -v ON_ERROR_STOP=1 -P footer=off <<SQL
CREATE TEMP TABLE tps (variant text, tps float8);
\\copy tps FROM 'tps' WITH (FORMAT csv)
WITH m AS (SELECT variant, percentile_cont(0.5) WITHIN GROUP (ORDER BY tps) * $batch AS median,
                  min(tps) * $batch AS least, max(tps) * $batch AS most
           FROM tps GROUP BY variant)
SELECT round((median / (SELECT median FROM m WHERE variant = 'upsert'))::numeric, 2) AS "x upsert",
       round((median / (SELECT median FROM m WHERE variant = 'upsert_log'))::numeric, 2) AS "x upsert + log",
       l.label AS "what", to_char(median, '999,999') AS "changes/s", to_char(least, '999,999') AS min, to_char(most, '999,999') AS max
FROM m JOIN (VALUES (1, 'upsert', 'INSERT ... ON CONFLICT, DELETE'), (2, 'upsert_log', 'the same, and a log row a change'),
                    (3, 'sparse', 'changed columns only, no log'),
                    (4, 'json', 'sync_apply_delta, JSON text'), (5, 'parsed', 'sync_apply_delta, delta already read')) l (n, variant, label)
     USING (variant)
ORDER BY n;
SQL
