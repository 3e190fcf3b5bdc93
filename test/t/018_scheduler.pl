# Without a preloaded library any scheduler does what the workers do: plain calls by
# a role that is no superuser; and pg_cron, where that is installed.

use strict;
use warnings FATAL => 'all';

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $device = 'd0000000-0000-4000-8000-000000000001';

my $node = PostgreSQL::Test::Cluster->new('scheduler');
$node->init;
$node->append_conf('postgresql.conf', "autovacuum = off\n");
$node->start;

sub sql { return $node->safe_psql('postgres', shift) }

my $seq = 0;
sub submit
{
	$seq++;
	return sql(qq{SELECT sync_submit_delta('{"format": 1, "replica": "$device", "changes": [
		{"seq": $seq, "hlc": "2026-01-01T00:00:00Z/0", "table": "note", "key": {"id": $seq}, "insert": {"body": "of a device"}}]}')});
}
sub status { return sql("SELECT status FROM sync_submission('$_[0]')") }
sub age_journal { return sql(q{UPDATE offline_sync.journal SET reconciliation = ('00000000-0' || substr(reconciliation::text, 11))::uuid}) }

sql(qq{
	CREATE EXTENSION offline_sync;
	CREATE TABLE note (id int PRIMARY KEY, body text);
	SELECT sync_enable_table('note');
	CREATE ROLE app;
	GRANT ALL ON note TO app;
	SELECT sync_register_device('$device', owner => 'app');
	CREATE ROLE scheduler LOGIN IN ROLE app;
	SELECT sync_grant_access('scheduler', 'admin');
});

# --- plain calls ---
my $submission = sql('SET ROLE app; ' . qq{SELECT sync_submit_delta('{"format": 1, "replica": "$device", "changes": [
	{"seq": 1, "hlc": "2026-01-01T00:00:00Z/0", "table": "note", "key": {"id": 1}, "insert": {"body": "of a device"}}]}')});
$seq = 1;
is(status($submission), 'pending', 'what was submitted waits');
for my $call (
	[ 'processed, failed, waiting FROM sync_process_queue()', '1|0|0' ],
	[ 'sync_send_notices() >= 0', 't' ],
	[ 'applied, rejected, expired, waiting FROM sync_retry_pending()', '0|0|0|0' ],
	[ 'sum(removed) FROM sync_maintenance()', '0' ])
{
	my ($rc, $out, $err) = $node->psql('postgres', "SELECT $call->[0]", extra_params => [ '-U', 'scheduler' ]);
	is("$out$err", $call->[1], "a role with access calls $call->[0]");
}
is(status($submission), 'applied', 'and it was processed');

# --- pg_cron ---
SKIP:
{
	skip 'pg_cron is not installed', 5
	  unless sql(q{SELECT count(*) FROM pg_available_extensions WHERE name = 'pg_cron'});
	$node->append_conf('postgresql.conf', <<'CONF');
shared_preload_libraries = 'pg_cron'
cron.database_name = 'postgres'
cron.use_background_workers = on
CONF
	$node->restart;
	sql(q{
		CREATE EXTENSION pg_cron;
		SELECT cron.schedule('sync queue', '* * * * *', 'SELECT sync_process_queue()');
		SELECT cron.schedule('sync notices', '* * * * *', 'SELECT sync_send_notices()');
		SELECT cron.schedule('sync pending', '* * * * *', 'SELECT sync_retry_pending()');
		SELECT cron.schedule('sync maintenance', '* * * * *', 'SELECT sync_maintenance()');
	});
	age_journal();
	$submission = submit();
	ok($node->poll_query_until('postgres', "SELECT status = 'applied' FROM sync_submission('$submission')"), 'pg_cron processes the queue');
	sql("SELECT sync_ack('$device', '{\"$device\": 2}')");
	ok( $node->poll_query_until('postgres', q{SELECT count(DISTINCT jobid) = 4 FROM cron.job_run_details WHERE status = 'succeeded'}),
		'all functions end well when pg_cron calls them');
	is(sql(q{SELECT string_agg(return_message, '; ') FROM cron.job_run_details WHERE status = 'failed'}), '', 'none fails');
	age_journal();
	ok($node->poll_query_until('postgres', 'SELECT count(*) = 1 FROM offline_sync.journal'), 'pg_cron cleans up');
	isnt(sql('SELECT seen FROM offline_sync.notice'), '', 'pg_cron sends notices');
}
$node->stop;
done_testing();
