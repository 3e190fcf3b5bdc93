# The workload of apply.sql, applied in several ways; sourced by the measures that compare them.
# A variant is KIND.SIZE: how, and in transactions of how many changes.
# shellcheck shell=sh disable=SC2016,SC2154	# $1 is a parameter of the statement; lib.sh sets the rest

# Plain SQL as one writes it for speed: one statement, values in arrays of text, whole rows.
arrays='$1::uuid[], $2::text[], $3::text[], $4::bool[], $5::int[], $6::timestamptz[]'
upsert="INSERT INTO item (id, title, body, done, prio, updated_at) SELECT * FROM unnest($arrays)
	ON CONFLICT (id) DO UPDATE SET title = EXCLUDED.title, body = EXCLUDED.body, done = EXCLUDED.done,
	    prio = EXCLUDED.prio, updated_at = EXCLUDED.updated_at"
# Only the changed columns travel; possible where no column is NOT NULL, and NULL is never written.
sparse="INSERT INTO item (id, title, body, done, prio, updated_at) SELECT * FROM unnest($arrays)
	ON CONFLICT (id) DO UPDATE SET title = coalesce(EXCLUDED.title, item.title), body = coalesce(EXCLUDED.body, item.body),
	    done = coalesce(EXCLUDED.done, item.done), prio = coalesce(EXCLUDED.prio, item.prio),
	    updated_at = coalesce(EXCLUDED.updated_at, item.updated_at)"
delete='DELETE FROM item WHERE id = ANY ($7::uuid[])'
upsert_log="WITH up AS ($upsert RETURNING id), gone AS ($delete RETURNING id)
	INSERT INTO bench.log SELECT '', 1, pg_current_xact_id(), 1, 1, uuid_send(id) FROM (TABLE up UNION ALL TABLE gone) c"
whole='SELECT id, title, body, done, prio, updated_at, gone FROM bench.batch ORDER BY n'
changed='SELECT id, title, sparse_body, sparse_done, sparse_prio, updated_at, gone FROM bench.batch ORDER BY n'
apply="SELECT status FROM sync_apply_delta("

# changes_of SIZE: fewer where each is a transaction
changes_of()
{
	case $1 in 1) echo $((CHANGES / 10)) ;; 10) echo $((CHANGES / 2)) ;; *) echo "$CHANGES" ;; esac
}

# prepare_sync DATABASE: make the table a tracked one, with a device that has pulled all of it, and its deltas
prepare_sync()
{
	run -d "$1" -f "$here/device.sql"
	run -d "$1" -v device="$device" <<'SQL'
CREATE UNLOGGED TABLE bench.delta (n int PRIMARY KEY, json text, parsed delta);
ALTER TABLE bench.delta ALTER json SET STORAGE EXTERNAL, ALTER parsed SET STORAGE EXTERNAL;
INSERT INTO bench.delta
    SELECT n, t, t::delta
    FROM bench.batch, bench.vector,
         LATERAL (SELECT '{"format": 1, "replica": "' || :'device' || '", "context": ' || v::text || ', "changes": [' || changes || ']}') x (t);
ANALYZE bench.delta;
SQL
}

# one VARIANT, KIND.SIZE: in a new database, so that no variant inherits another's bloat
one()
{
	kind=${1%.*} size=${1#*.}
	fresh run "workload_$size"
	case $kind in json | binary | parsed) prepare_sync run ;; lww*) run -d run -f "$here/lww.sql" ;; esac
	run -d run -c 'CHECKPOINT'
	# the first call, which loads catalogs and plans, is not timed, unless it is most of it
	warmup=1
	[ "$(changes_of "$size")" -ge $((2 * size)) ] || warmup=0
	# small ones are planned once, not each time: planning would be most of the work
	plan='SET plan_cache_mode = auto'
	[ "$size" -ge 100 ] || plan='SET plan_cache_mode = force_generic_plan'
	case $kind in
		upsert) timed "$1" "$size" -w $warmup -s "$plan" run "$whole" "WITH up AS ($upsert) $delete" ;;
		upsert_log) timed "$1" "$size" -w $warmup -s "$plan" run "$whole" "$upsert_log" ;;
		sparse) timed "$1" "$size" -w $warmup -s "$plan" run "$changed" "WITH up AS ($sparse) $delete" ;;
		lww*) timed "$1" "$size" -w $warmup run "SELECT '[' || changes || ']' FROM bench.batch ORDER BY n" "SELECT bench.$kind(\$1)" ;;
		json) timed "$1" "$size" -e applied -w $warmup run 'SELECT json FROM bench.delta ORDER BY n' "$apply\$1)" ;;
		binary) timed "$1" "$size" -b -e applied -w $warmup run 'SELECT parsed FROM bench.delta ORDER BY n' "$apply\$1)" ;;
		parsed) timed "$1" "$size" -e applied -w $warmup run 'SELECT n FROM bench.delta ORDER BY n' \
			"$apply(SELECT parsed FROM bench.delta WHERE n = \$1))" ;;
	esac
	check_rows "$1" run
}

# check_rows VARIANT DATABASE: every variant ends with the same rows
check_rows()
{
	size=${1#*.}
	sum=$(run -d "$2" -c "SELECT md5(string_agg(md5(concat_ws('|', id, title, body, done, prio, updated_at)), '' ORDER BY id)) FROM item")
	[ -e "sum.$size" ] || echo "$sum" >"sum.$size"
	[ "$(cat "sum.$size")" = "$sum" ] || die "$1 ended with other rows"
}

# make_workloads VARIANT...: the databases that they start from
make_workloads()
{
	for size in $(printf '%s\n' "$@" | sed 's/.*\.//' | sort -u); do
		run -c "CREATE DATABASE workload_$size"
		run -d "workload_$size" -v rows="$ROWS" -v changes="$(changes_of "$size")" -v batch="$size" -f "$here/apply.sql" >/dev/null
	done
}
