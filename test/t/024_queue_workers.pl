# Several workers share one queue: each device's deltas are merged in the order of
# their seqs, whatever order they came in; devices that are busy hold up no other one;
# and neither does a delta that cannot be merged, which is put aside.

use strict;
use warnings FATAL => 'all';

use List::Util 'shuffle';
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $devices = 8;
my $deltas = 10;    # of each device, of 3 changes
srand 1;

my $node = PostgreSQL::Test::Cluster->new('queue_workers');
$node->init;
$node->append_conf('postgresql.conf', <<'CONF');
autovacuum = off
log_statement = none
shared_preload_libraries = 'offline_sync'
offline_sync.worker_databases = ''
offline_sync.worker_naptime = 10ms
offline_sync.queue_workers = 3
offline_sync.queue_attempts = 2
offline_sync.queue_retry_delay = 0
CONF
$node->start;
$node->safe_psql('postgres', 'CREATE DATABASE app');

my $dbname = 'app';
sub sql { return $node->safe_psql($dbname, shift) }
sub wait_for { my ($what, $sql) = @_; return ok($node->poll_query_until($dbname, $sql), $what) }
sub uuid { return sprintf 'd0000000-0000-4000-8000-%012d', shift }

# "merged" tells in which order, and by whom.  Devices 1 and 2 wait at a gate, device 3
# has a delta that fails each time.
sql(q{
	CREATE EXTENSION offline_sync;
	CREATE TABLE task (id int PRIMARY KEY, device int, seq int);
	CREATE TABLE merged (n bigserial, pid int DEFAULT pg_backend_pid(), device int, seq int);
	CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
		IF NEW.device IN (1, 2) AND NEW.seq = 1 THEN
			PERFORM pg_advisory_xact_lock_shared(1);
		ELSIF NEW.device = 3 AND NEW.seq = 10 THEN
			RAISE 'poison' USING ERRCODE = '58000';
		END IF;
		INSERT INTO merged (device, seq) VALUES (NEW.device, NEW.seq);
		RETURN NEW;
	END $$;
	CREATE TRIGGER note BEFORE INSERT ON task FOR EACH ROW EXECUTE FUNCTION note();
	SELECT sync_enable_table('task');
});
sql("SELECT sync_register_device('" . uuid($_) . "')") for 1 .. $devices;

sub submit_sql
{
	my ($device, $first) = @_;
	my $changes = join ', ', map {
		sprintf '{"seq": %d, "hlc": "2026-01-01T00:00:00Z/0", "table": "task", "key": {"id": %d}, "insert": {"device": %d, "seq": %d}}', $_,
		  1000 * $device + $_, $device, $_
	} $first .. $first + 2;
	return sprintf q{SELECT sync_submit_delta('{"format": 1, "replica": "%s", "changes": [%s]}');}, uuid($device), $changes;
}
# Those of the devices at the gate are the oldest: a worker commits many deltas at once,
# and one that comes to the gate with others' in hand would hold them up.
for my $those ([ 1, 2 ], [ 3 .. $devices ])
{
	sql(join "\n", map { submit_sql(@$_) } shuffle map { my $d = $_; map { [ $d, 3 * $_ + 1 ] } 0 .. $deltas - 1 } @$those);
}
is(sql(q{SELECT count(*), count(DISTINCT device) FROM sync_queue WHERE state = 'pending'}), $devices * $deltas . "|$devices", 'all is stored, nothing merged');

# --- with two devices at the gate ---
my $gate = $node->background_psql($dbname);
$gate->query_safe('SELECT pg_advisory_lock(1)');
$node->append_conf('postgresql.conf', "offline_sync.worker_databases = 'app, renamed'\n");
$node->reload;
wait_for('two workers wait, each with a device',
	q{SELECT count(DISTINCT pid) = 2 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND pid IN (SELECT pid FROM pg_stat_activity WHERE backend_type = 'offline_sync worker')});
wait_for('the third one merges what all others have sent', "SELECT count(*) = ($devices - 3) * $deltas FROM sync_queue WHERE state = 'answered' AND device NOT IN ('"
	  . join("', '", map { uuid($_) } 1 .. 3) . "')");
wait_for('what fails each time is put aside', q{SELECT count(*) = 1 FROM sync_queue WHERE state = 'quarantined'});
my $of_third = 'FROM sync_queue WHERE device = \'' . uuid(3) . "'";
is(sql("SELECT first_seq, attempts, last_sqlstate, last_error $of_third AND state = 'quarantined'"), '10|2|58000|poison', 'with its error');
is(sql("SELECT string_agg(concat_ws(' ', state, n), ', ' ORDER BY state) FROM (SELECT state, count(*) AS n $of_third GROUP BY state) x"),
	'answered 3, pending ' . ($deltas - 4) . ', quarantined 1', 'older ones of its device are merged, later ones wait');
is(sql(q{SELECT count(*) FROM merged WHERE device IN (1, 2)}), 0, 'those at the gate have merged nothing');

# --- and without ---
$gate->query_safe('SELECT pg_advisory_unlock(1)');
$gate->quit;
wait_for('let through, they go on', "SELECT count(*) = ($devices - 1) * $deltas FROM sync_queue WHERE state = 'answered' AND device <> '" . uuid(3) . "'");
is(sql('SELECT count(DISTINCT pid) FROM merged WHERE device IN (1, 2) AND seq = 1'), 2, 'two workers were at it at once');
is(sql("SELECT count(*) $of_third AND state = 'pending'"), $deltas - 4, 'what is behind the one that was put aside still waits');
sql(q{CREATE OR REPLACE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO merged (device, seq) VALUES (NEW.device, NEW.seq); RETURN NEW; END $$});
sql("SELECT sync_release_quarantine(submission) $of_third AND state = 'quarantined'");
wait_for('until that is released', q{SELECT count(*) = 0 FROM sync_queue WHERE state <> 'answered'});

# --- the order ---
is(sql('SELECT count(*), count(DISTINCT (device, seq)) FROM merged'), join('|', (3 * $devices * $deltas) x 2), 'each change was merged once');
is(sql('SELECT count(*) FROM (SELECT seq, lag(seq) OVER (PARTITION BY device ORDER BY n) AS before FROM merged) m WHERE seq <> coalesce(before, 0) + 1'),
	0, 'those of a device in the order of their seqs');
is(sql(q{SELECT count(*) FROM sync_queue WHERE status <> 'applied'}), 0, 'all were applied');

# --- a database that is renamed under its workers ---
$node->safe_psql('postgres', 'ALTER DATABASE app RENAME TO renamed');
$dbname = 'renamed';
sql(submit_sql(4, 3 * $deltas + 1));
wait_for('workers let a database be renamed, and come to it by its new name', q{SELECT count(*) = 0 FROM sync_queue WHERE state <> 'answered'});

$node->stop;
done_testing();
