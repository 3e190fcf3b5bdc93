#!/bin/sh
# The story.  Run by run.sh: PGHOST leads to the private server, $1 is a directory
# for the letters that travel between the devices and the server.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
mail=$1
export PGTZ=UTC PGOPTIONS='-c client_min_messages=warning'
unset PGDATABASE

server() { psql -X -q -v ON_ERROR_STOP=1 -d server "$@"; }
sql() { psql -X -q -A -t -v ON_ERROR_STOP=1 -d "$@"; }
table() { psql -X -q -v ON_ERROR_STOP=1 -P footer=off -P border=1 -d "$@"; }

bold=$([ -t 1 ] && printf '\033[1m' || true)
plain=$([ -t 1 ] && printf '\033[0m' || true)
title() { printf '\n%s%s%s\n' "$bold" "$*" "$plain"; }

failures=0
# check WHAT VALUE EXPECTED
check()
{
	if [ "$2" = "$3" ]; then
		printf '  ok      %s\n' "$1"
	else
		printf '  WRONG   %s: %s instead of %s\n' "$1" "$2" "$3"
		failures=$((failures + 1))
	fi
}

devices='ann_phone ben_phone cleo_laptop'
id_of()
{
	case $1 in
		ann_phone) echo a0000000-0000-4000-8000-000000000001 ;;
		ben_phone) echo b0000000-0000-4000-8000-000000000002 ;;
		cleo_laptop) echo c0000000-0000-4000-8000-000000000003 ;;
	esac
}
owner_of() { echo "${1%%_*}"; }

# The next delta that a device wants to push, as a letter: $mail/NAME.delta
write_letter() { sql "$1" -c "SELECT device.next_delta('$(id_of "$1")')" >"$mail/$1.delta"; }

# Bring the letter to the server, as the device's owner: $mail/NAME.answer
post()
{
	sql server -U "$(owner_of "$1")" >"$mail/$1.answer" <<SQL
\set delta \`cat $mail/$1.delta\`
SELECT to_jsonb(a) || jsonb_build_object('corrections', a.corrections::text::jsonb)
FROM sync_apply_delta(:'delta'::delta) a;
SQL
	sql server <<SQL
\set answer \`cat $mail/$1.answer\`
SELECT format('  %-12s pushed: %s (%s applied, %s merged, %s superseded, %s rejected; %s conflicts)', '$1', a.status,
              a.applied, a.merged, a.superseded, a.rejected, a.conflicts)
FROM jsonb_to_record(:'answer') AS a (status text, applied int, merged int, superseded int, rejected int, conflicts int);
SQL
}

# Hand the answer to the device.
read_answer()
{
	sql "$1" >/dev/null <<SQL
\set delta \`cat $mail/$1.delta\`
\set answer \`cat $mail/$1.answer\`
SELECT device.take_answer('$(id_of "$1")', :'delta', :'answer');
SQL
}

push()
{
	write_letter "$1"
	while [ -s "$mail/$1.delta" ] && grep -q seq "$mail/$1.delta"; do
		post "$1"
		read_answer "$1"
		write_letter "$1"
	done
}

# Pull page by page until there is no more; then acknowledge.
pull()
{
	n=0 pages=0 more=t
	while [ "$more" = t ]; do
		sql "$1" -c "SELECT device.vector('$(id_of "$1")')" >"$mail/$1.vector"
		sql "$1" -c "SELECT device.resume('$(id_of "$1")')" >"$mail/$1.resume"
		sql server -U "$(owner_of "$1")" >"$mail/$1.page" <<SQL
\set vector \`cat $mail/$1.vector\`
\set resume \`cat $mail/$1.resume\`
SELECT sync_changes_since('$(id_of "$1")', :'vector', 300, nullif(:'resume', ''));
SQL
		more=$(sql "$1" <<SQL
\set page \`cat $mail/$1.page\`
SELECT device.take_page('$(id_of "$1")', :'page');
SQL
		)
		n=$((n + $(grep -o '"key":' "$mail/$1.page" | wc -l)))
		pages=$((pages + 1))
	done
	sql "$1" -c "SELECT device.vector('$(id_of "$1")')" >"$mail/$1.vector"
	sql server -U "$(owner_of "$1")" >/dev/null <<SQL
\set vector \`cat $mail/$1.vector\`
SELECT sync_ack('$(id_of "$1")', :'vector');
SQL
	printf '  %-12s pulled %d changes, pages: %d\n' "$1" $n $pages
}

# ---------------------------------------------------------------------------
title 'The server: a table of meetings, seeded with the public holidays of 20 countries'
psql -X -q -d postgres -c 'CREATE DATABASE server'
server -f "$here/server.sql" <"$here/holidays.csv" >/dev/null
table server -c "SELECT count(*) AS meetings, count(DISTINCT country) AS countries, min(day) AS first, max(day) AS last FROM meeting" \
	-c 'SELECT * FROM sync_tables' -x

title 'Three devices, each with a database of its own and no extension, fetch the calendar'
for d in $devices; do
	psql -X -q -d postgres -c "CREATE DATABASE $d"
	sql "$d" -f "$here/../test/device.sql"
	sql "$d" -v me="$(id_of "$d")" -f "$here/device.sql" >/dev/null
	pull "$d"
done

# ---------------------------------------------------------------------------
title 'Two days without a network: each edits what it has'
edits()
{
	printf '  %s\n' "$1"
	sql "$1" | sed 's/^/    /'
}
edits ann_phone <<'SQL'
SELECT edit(46, 'US', '2026-11-26', '{"set": {"title": "Thanksgiving dinner", "place": "canteen"}}');
SELECT edit(46, 'US', '2026-11-26', '{"add": {"attendees": ["ann"]}, "increment": {"seats": -2}}');
SELECT edit(31, 'DE', '2026-12-24', '{"set": {"title": "Christmas market, Nuremberg"}}');
SELECT edit(30, 'SE', '2026-12-10', '{"increment": {"seats": -7}, "add": {"attendees": ["ann"]}}');
SELECT create_meeting(29, '5e000000-0000-4000-8000-000000000001',
    '{"calendar": "team", "title": "Retrospective", "starts_at": "2026-12-04 14:00:00+00",
      "ends_at": "2026-12-04 15:00:00+00", "attendees": ["ann"], "seats": 8}');
SQL
edits ben_phone <<'SQL'
SELECT edit(30, 'US', '2026-11-26', '{"set": {"title": "Thanksgiving at Ben''s"}}');
SELECT edit(30, 'US', '2026-11-26', '{"add": {"attendees": ["ben", "eve"]}, "increment": {"seats": -3}}');
SELECT edit(25, 'DE', '2026-12-24', '{"delete": true}');
SELECT edit(20, 'SE', '2026-12-10', '{"increment": {"seats": -7}, "add": {"attendees": ["ben"]}}');
SQL
edits cleo_laptop <<'SQL'
SELECT edit(20, 'US', '2026-11-26', '{"set": {"starts_at": "2026-11-26 23:00:00+00", "ends_at": "2026-11-27 03:00:00+00"}}');
SELECT edit(19, 'US', '2026-11-26', '{"remove": {"attendees": ["eve"]}, "increment": {"seats": -1}}');
SELECT edit(18, 'JP', '2026-11-23', '{"set": {"title": "勤労感謝の日 (closed)"}}');
SQL

title 'Meanwhile the assistant works on the server, by plain SQL'
sql server -U dora <<'SQL' | sed 's/^/    /'
\set QUIET off
UPDATE meeting SET seats = seats - 1, attendees = array_append(attendees::text[], 'fritz')::orset WHERE (country, day) = ('US', '2026-11-26');
UPDATE meeting SET place = 'Berlin' WHERE country = 'DE' AND day < '2027-01-01';
DELETE FROM meeting WHERE (country, day) = ('PL', '2026-12-27');
SQL

# ---------------------------------------------------------------------------
title 'Back online: everybody pushes'
write_letter ann_phone
post ann_phone
echo '               ... the connection breaks before the answer arrives, so the phone sends the same again:'
post ann_phone
check 'the second copy is recognised' "$(sed 's/.*"status": "\([a-z]*\)".*/\1/' "$mail/ann_phone.answer")" duplicate
read_answer ann_phone
push ben_phone
push cleo_laptop

title 'What the devices were told about changes that did not simply apply'
for d in $devices; do
	sql "$d" <<'SQL'
SELECT format('  %-12s #%s  %-24s %s', current_database(), o->>'seq', coalesce(m.title, '(gone)') || ':',
              concat_ws(', ', o->>'outcome', o->>'conflicts' || ' conflict', o->>'message', o->>'sqlstate'))
FROM device.answer a, jsonb_array_elements(a.answer->'outcomes') o,
     jsonb_array_elements(a.delta->'changes') c LEFT JOIN meeting m ON m.key = c->'key'
WHERE c->'seq' = o->'seq' AND a.n = (SELECT max(b.n) FROM device.answer b)
ORDER BY (o->>'seq')::int;
SQL
done

title 'Everybody pulls'
for d in $devices; do
	pull "$d"
done

# ---------------------------------------------------------------------------
title 'The meetings of the story, as the server has them now'
table server <<'SQL'
SELECT coalesce(m.country, '') AS country, m.title, to_char(m.starts_at, 'YYYY-MM-DD HH24:MI') AS starts_at, m.place,
       array_to_string(ARRAY(SELECT orset_elements(m.attendees) ORDER BY 1), ', ') AS attendees, m.seats
FROM meeting m
WHERE (country, day) IN (('US', '2026-11-26'), ('SE', '2026-12-10'), ('JP', '2026-11-23'), ('DE', '2026-12-24'))
      OR country IS NULL
ORDER BY day;
SQL

title 'What was merged'
value() { sql server -c "SELECT $1 FROM meeting WHERE (country, day) = ('$2', '$3')"; }
check 'title: two wrote it, the later clock wins' "$(value title US 2026-11-26)" "Thanksgiving at Ben's"
check 'place and time: written by one each, both kept' \
	"$(value "concat_ws(' ', place, starts_at)" US 2026-11-26)" 'canteen 2026-11-26 23:00:00+00'
check 'attendees: everybody who was added; eve, removed by one and added by another, stays' \
	"$(value "array_to_string(ARRAY(SELECT orset_elements(attendees) ORDER BY 1), ',')" US 2026-11-26)" ann,ben,dora,eve,fritz
check 'seats: 12 - 2 - 3 - 1, and 1 by SQL; a push sent twice counts once' "$(value seats US 2026-11-26)" 5
check 'seats: the second group of seven is refused by the table'"'"'s own CHECK' \
	"$(value "seats || ' ' || array_to_string(ARRAY(SELECT orset_elements(attendees)), ',')" SE 2026-12-10)" '5 ann'
check 'an edit against a delete: the delete wins, and is on record' "$(value 'count(*)' DE 2026-12-24)" 0
check 'what nobody else touched is as it was written' "$(value title JP 2026-11-23)" '勤労感謝の日 (closed)'

title 'Do all four hold the same?'
{
	echo 'CREATE TEMP TABLE compared (holder text, rows int, checksum text);'
	for d in server $devices; do
		sql "$d" -c "SELECT format('INSERT INTO compared VALUES (%L, %s, %L);', current_database(), count(*),
			md5(string_agg(line, E'\n' ORDER BY line COLLATE \"C\"))) FROM content"
	done
	echo 'SELECT * FROM compared;'
} | table server
sums=$(for d in server $devices; do
	sql "$d" -c "SELECT md5(string_agg(line, E'\n' ORDER BY line COLLATE \"C\")) FROM content"
done | sort -u | wc -l)
check 'server, two phones and a laptop hold the same rows' "$sums" 1
check 'nothing waits to be pushed' "$(for d in $devices; do sql "$d" -c 'SELECT count(*) FROM device.outbox WHERE NOT is_settled'; done | sort -u)" 0

title 'The audit explains it: what each device sent, and what became of it'
table server -P format=wrapped -P columns=150 <<'SQL'
SELECT d.label AS device, a.seq, a.operation, a.incoming, a.previous, a.outcome, a.reason
FROM sync_audit a JOIN sync_devices d USING (device)
ORDER BY a.received_at, a.seq;
SQL

title 'Concurrent writes, and how they were decided'
table server -P format=wrapped -P columns=150 <<'SQL'
SELECT d.label AS device, c.seq, coalesce(c.column_name, '(row)') AS "column", c.current_value AS current,
       c.incoming_value AS incoming, c.decision, c.policy, c.state
FROM sync_conflicts c JOIN sync_devices d USING (device)
ORDER BY c.detected_at, c.seq, c.column_name;
SQL

title 'And the devices'
table server <<'SQL'
SELECT label, owner, status, acked_seq, lag_changes FROM sync_devices ORDER BY label;
SQL

echo
[ $failures = 0 ] && echo 'All checks passed.' || echo "$failures checks FAILED."
[ $failures = 0 ]
