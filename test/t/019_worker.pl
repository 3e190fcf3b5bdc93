# The background workers of a preloaded library: they process the queue, send notices
# and clean up; survive errors and being terminated; follow the list of databases;
# and are in nobody's way.

use strict;
use warnings FATAL => 'all';

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $device = 'd0000000-0000-4000-8000-000000000001';

my $node = PostgreSQL::Test::Cluster->new('worker');
$node->init;
$node->append_conf('postgresql.conf', <<'CONF');
autovacuum = off
shared_preload_libraries = 'offline_sync'
offline_sync.worker_databases = 'app, "Later one"'
offline_sync.worker_naptime = 20ms
offline_sync.maintenance_interval = 1s
CONF
$node->start;

sub sql { my ($sql, $db) = @_; return $node->safe_psql($db || 'app', $sql) }
sub wait_for
{
	my ($what, $sql, $db) = @_;
	return ok($node->poll_query_until($db || 'postgres', $sql), $what);
}
sub worker_pid { return sql(q{SELECT string_agg(pid::text, ',') FROM pg_stat_activity WHERE backend_type = 'offline_sync worker' AND datname = 'app'}, 'postgres') }
sub is_running { return "SELECT count(*) > 0 FROM pg_stat_activity WHERE backend_type = 'offline_sync worker' AND datname = '$_[0]'" }
sub is_gone { return "SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'offline_sync worker' AND datname = '$_[0]'" }

my $seq = 0;
sub submit
{
	my ($first) = @_;
	$seq = $first || $seq + 1;
	return sql(qq{SELECT sync_submit_delta('{"format": 1, "replica": "$device", "changes": [
		{"seq": $seq, "hlc": "2026-01-01T00:00:00Z/0", "table": "note", "key": {"id": $seq}, "insert": {"body": "of a device"}}]}')});
}
sub is_answered { return "SELECT status = 'applied' FROM sync_submission('$_[0]')" }

# --- a database that comes later, an extension that comes later ---
ok($node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'offline_sync launcher'}), 'the launcher runs');
sql('CREATE DATABASE app', 'postgres');
wait_for('a worker comes to a database of the list', is_running('app'));
is(sql(q{SELECT count(*) FROM pg_extension WHERE extname = 'offline_sync'}), '0', 'though the extension is not there');
sql(qq{
	CREATE SCHEMA "Own";
	CREATE EXTENSION offline_sync SCHEMA "Own";
	ALTER DATABASE app SET search_path = "Own", public;
});
sql(qq{
	CREATE TABLE public.note (id int PRIMARY KEY, body text);
	SELECT sync_enable_table('note');
	SELECT sync_register_device('$device');
});

# --- what it does ---
my $submission = submit();
wait_for('it processes the queue', is_answered($submission), 'app');
is(sql('SELECT id, body FROM note'), '1|of a device', 'with the rights and the effect of a push');

my $listener = $node->background_psql('app');
$listener->query_safe(q{SET client_min_messages = warning; DO $$ DECLARE c text; BEGIN FOR c IN SELECT channel FROM sync_channels('} . $device . q{') LOOP EXECUTE 'LISTEN ' || c; END LOOP; END $$});
sql(q{INSERT INTO note VALUES (1000, 'by sql')});
my $heard = '';
for (1 .. 600)
{
	$heard .= $listener->query_safe('SELECT 1');
	last if $heard =~ /Asynchronous notification "sync_[0-9a-f]{32}" received/;
	select undef, undef, undef, 0.05;
}
like($heard, qr/Asynchronous notification "sync_/, 'it sends notices');
$listener->quit;

sql(q{UPDATE offline_sync.journal SET reconciliation = ('00000000-0' || substr(reconciliation::text, 11))::uuid});
$submission = submit();
wait_for('another delta', is_answered($submission), 'app');
sql("SELECT sync_ack('$device', '{\"$device\": 2}')");
wait_for('it cleans up', 'SELECT count(*) = 1 FROM offline_sync.journal', 'app');

# --- idle ---
# each statement looks anew
my $samples = sql(join("\n", (q{SELECT wait_event = 'Extension', backend_xmin IS NULL AND xact_start IS NULL FROM pg_stat_activity WHERE backend_type = 'offline_sync worker' AND datname = 'app';}) x 50), 'postgres');
like($samples, qr/^t\|t$/m, 'it sleeps');
unlike($samples, qr/^t\|f$/m, 'and holds no snapshot meanwhile');
my $xid = sql('SELECT pg_snapshot_xmax(pg_current_snapshot())', 'postgres');
select undef, undef, undef, 0.3;    # fifteen naps
is(sql('SELECT pg_snapshot_xmax(pg_current_snapshot())', 'postgres'), $xid, 'nor writes anything when nothing happens');

# --- errors ---
my $pid = worker_pid();
my $log = -s $node->logfile;
sql('ALTER TABLE offline_sync.queue RENAME TO hidden');
$node->wait_for_log(qr/ERROR:.*offline_sync\.queue/, $log);
sql('ALTER TABLE offline_sync.hidden RENAME TO queue');
$submission = submit();
wait_for('it goes on after an error', is_answered($submission), 'app');
is(worker_pid(), $pid, 'as the same process');

sql(q{CREATE FUNCTION poison() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.id = 4 THEN RAISE 'poison' USING ERRCODE = '58000'; END IF; RETURN NEW; END $$;
	CREATE TRIGGER poison BEFORE INSERT ON note FOR EACH ROW EXECUTE FUNCTION poison()});
sql("SELECT sync_register_device('d0000000-0000-4000-8000-000000000002')");
$submission = submit();
my $other = sql(q{SELECT sync_submit_delta('{"format": 1, "replica": "d0000000-0000-4000-8000-000000000002", "changes": [
	{"seq": 1, "hlc": "2026-01-01T00:00:00Z/0", "table": "note", "key": {"id": 2000}, "insert": {"body": "of another"}}]}')});
wait_for('what fails stops no other device', is_answered($other), 'app');
sql('DROP TRIGGER poison ON note');
wait_for('and is tried again', is_answered($submission), 'app');

# --- terminated ---
sql("SELECT pg_terminate_backend($pid)", 'postgres');
wait_for('a worker that was terminated is replaced', "SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'offline_sync worker' AND datname = 'app' AND pid <> $pid");
sql(q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'offline_sync launcher'}, 'postgres');
wait_for('so is the launcher, with one worker', q{SELECT count(*) FILTER (WHERE backend_type = 'offline_sync launcher') = 1 AND count(*) FILTER (WHERE backend_type = 'offline_sync worker') = 1 FROM pg_stat_activity});
$submission = submit();
wait_for('and the work goes on', is_answered($submission), 'app');

# --- the list ---
$node->append_conf('postgresql.conf', "offline_sync.worker_databases = ''\n");
$node->reload;
wait_for('a database taken from the list loses its worker', is_gone('app'));
$submission = submit();
$node->append_conf('postgresql.conf', "offline_sync.worker_databases = 'app, nowhere, \"Later one\"'\n");
$node->reload;
wait_for('put back, it gets one again', is_answered($submission), 'app');
my ($rc, $out, $err) = $node->psql('postgres', q{ALTER SYSTEM SET offline_sync.worker_databases = 'a, "b'});
like($err, qr/invalid value for parameter "offline_sync.worker_databases"/, 'a malformed list is refused');

# --- several for one queue ---
$node->append_conf('postgresql.conf', "offline_sync.queue_workers = 2\n");
$node->reload;
wait_for('there can be several', q{SELECT count(*) = 2 FROM pg_stat_activity WHERE backend_type = 'offline_sync worker' AND datname = 'app'});
my $holder = $node->background_psql('app');
$holder->query_safe('BEGIN; INSERT INTO note VALUES (' . ($seq + 1) . ", 'in the way')");
$submission = submit();
$node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'offline_sync worker' AND wait_event_type = 'Lock'}) or die 'no worker waits';
$other = sql(q{SELECT sync_submit_delta('{"format": 1, "replica": "d0000000-0000-4000-8000-000000000002", "changes": [
	{"seq": 2, "hlc": "2026-01-01T00:00:00Z/0", "table": "note", "key": {"id": 2001}, "insert": {"body": "of another"}}]}')});
wait_for('while one waits for a lock another goes on', is_answered($other), 'app');
is(sql("SELECT status FROM sync_submission('$submission')"), 'pending', 'with another device');
$holder->query_safe('ROLLBACK');
$holder->quit;
wait_for('which then has its turn', is_answered($submission), 'app');

# --- in nobody's way ---
sql('DROP EXTENSION offline_sync CASCADE');
is(sql(q{SELECT count(*) FROM note}), '10', 'the extension can be dropped, the rows stay');
sql('CREATE EXTENSION offline_sync SCHEMA "Own"');
sql(qq{SELECT sync_enable_table('note'); SELECT sync_register_device('$device')});
$submission = submit(1);
wait_for('created anew, it is served again', "SELECT status <> 'pending' FROM sync_submission('$submission')", 'app');
sql('CREATE DATABASE copied TEMPLATE app', 'postgres');
wait_for('a database can be copied, and gets its worker again', is_running('app'));
sql('DROP DATABASE app', 'postgres');
is(sql('SELECT count(*) FROM pg_database WHERE datname = \'app\'', 'postgres'), '0', 'it can be dropped without FORCE');
sql('CREATE DATABASE "Later one"', 'postgres');
wait_for('a database that is made later gets its worker', is_running('Later one'));

# --- restart ---
$node->restart;
wait_for('after a restart it is there again', is_running('Later one'));
$node->stop;
unlike(slurp_file($node->logfile), qr/PANIC|TRAP|server process .* was terminated by signal/, 'nothing crashed');

# --- not preloaded ---
$node->append_conf('postgresql.conf', "shared_preload_libraries = ''\n");
$node->start;
is(sql(q{SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'offline_sync%'}, 'postgres'), '0', 'without preload there are no workers');
is(sql(q{SELECT processed, failed, waiting FROM "Own".sync_process_queue()}, 'copied'), '0|0|0', 'and everything can be called');
$node->stop;
done_testing();
