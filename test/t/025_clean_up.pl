# Clean-up and devices that pull from a hot standby, what a backend that dies leaves of a call, and a database
# whose log was cleaned up and that is dumped and restored.

use strict;
use warnings FATAL => 'all';

use FindBin;
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use lib "$FindBin::RealBin/../perl";
use SyncDevice;
use SyncStandby;

my @uuid = map { sprintf 'd0000000-0000-4000-8000-%012d', $_ } 0 .. 4;

my ($primary, $standby) = start_with_standby();

sub sql { return $primary->safe_psql('postgres', shift) }
sub ack { my $d = shift; return sql(sprintf "SELECT sync_ack('%s', '%s')", $d->{uuid}, JSON::PP->new->encode($d->{vector})) }
sub status { my ($node, $d) = @_; return $node->safe_psql('postgres', "SELECT status FROM sync_hello('$d->{uuid}')") }
sub silent
{
	my $d = shift;
	return sql("UPDATE offline_sync.device SET registered_at = now() - interval '1 year', last_ack_at = now() - interval '1 year' WHERE device = '$d->{uuid}'");
}
# until there is nothing more to remove; a tombstone goes later than the entries
sub clean_up { sql('SELECT sync_maintenance()') for 1 .. 3; return }
sub entries { return sql('SELECT count(*) FROM offline_sync.change_log WHERE scope IS NOT NULL') }
sub content { return sql("SELECT string_agg(line, E'\\n' ORDER BY line COLLATE \"C\") FROM (SELECT id || '|' || body AS line FROM note) x") }

sql(q{
	CREATE EXTENSION offline_sync;
	CREATE TABLE note (id int PRIMARY KEY, body text);
	SELECT sync_enable_table('note');
});
my ($ann, $bob) = map { SyncDevice->new($uuid[$_]) } 1, 2;
sql("SELECT sync_register_device('$_->{uuid}')") for $ann, $bob;
sql(q{INSERT INTO note SELECT n, 'first' FROM generate_series(1, 100) n});
catch_up($primary, $standby);
$_->pull($standby) for $ann, $bob;
ack($_) for $ann, $bob;

# --- who has acknowledged everything goes on ---
clean_up();
is(entries(), 0, 'the log is gone');
catch_up($primary, $standby);
is($bob->pull($standby), 0, 'a device goes on from there on the standby');
sql(q{UPDATE note SET body = 'second' WHERE id <= 10});
catch_up($primary, $standby);
is($bob->pull($standby), 10, 'and gets what is new');
ok($bob->rows('note', 'body') eq content(), 'as it is');

# --- who was silent too long begins afresh ---
$ann->pull($primary);
ack($ann);
silent($bob);
sql(q{DELETE FROM note WHERE id > 90; UPDATE note SET body = 'third' WHERE id = 1});
$ann->pull($primary);
ack($ann);
clean_up();
is(entries(), 0, 'the log does not wait for it');
is(sql('SELECT count(*) FROM offline_sync.tombstone'), 0, 'nor do tombstones');
catch_up($primary, $standby);
$bob->write('note', { id => 95 }, { set => { body => 'of a row that is gone' } });
$bob->write('note', { id => 200 }, { insert => { body => 'new' } });
is(status($standby, $bob), 'expired', 'it is told so on the standby');
my $answer = $bob->push($primary);
is("$answer->{status} $answer->{acked_seq}", 'partial 2', 'what it had not sent is taken');
is($answer->{outcomes}[0]{reason}, 'no_row', 'and does not bring a deleted row back');
catch_up($primary, $standby);
$bob->pull($standby, 7);
is($bob->{resets}, 1, 'it begins afresh on the standby');
ok($bob->rows('note', 'body') eq content(), 'and has what there is, deleted rows gone');
ack($bob);
is(status($primary, $bob), 'synced', 'it is back');

# --- page by page on the standby, while the log is cleaned up ---
silent($bob);
sql(q{UPDATE note SET body = 'fourth' WHERE id <= 20});
$ann->pull($primary);
ack($ann);
clean_up();
is(status($primary, $bob), 'expired', 'it is silent again, and says hello');
catch_up($primary, $standby);
$bob->{resets} = 0;
for my $n (1 .. 8)
{
	my $page = $bob->take_page($standby->safe_psql('postgres', $bob->pull_sql(10)));
	sql("UPDATE note SET body = 'page $n' WHERE id % 8 = $n - 1; DELETE FROM note WHERE id = 40 + $n");
	$ann->pull($primary);
	ack($ann);
	clean_up();
	catch_up($primary, $standby);
}
cmp_ok(entries(), '>', 0, 'what has changed since is kept for it');
$bob->pull($standby, 10);
is($bob->{resets}, 1, 'it begins afresh once');
ok($bob->rows('note', 'body') eq content(), 'and has what there is');
ack($bob);
clean_up();
is(entries(), 0, 'then the log goes');

# --- a backend that dies leaves nothing half done ---
sql(q{UPDATE note SET body = 'fifth' WHERE id <= 30; DELETE FROM note WHERE id = 60});
for my $d ($ann, $bob) { $d->pull($primary); ack($d) }
my $before = entries();
my $session = $primary->background_psql('postgres', on_error_stop => 0);
$session->query_safe('BEGIN');
cmp_ok($session->query_safe("SELECT removed FROM sync_maintenance() WHERE task = 'change_log'"), '>', 0, 'a call removes entries');
is(sql("SELECT count(*) FROM sync_maintenance() WHERE removed > 0"), 0, 'another one meanwhile has nothing to do, and does not wait');
my $pid = $session->query_safe('SELECT pg_backend_pid()');
sql("SELECT pg_terminate_backend($pid, 60000)");
eval { $session->quit };
is(entries(), $before, 'it dies, and they are all there');
is($ann->pull($primary), 0, 'a device goes on');
clean_up();
is(entries(), 0, 'the next calls remove them');

# --- dump and restore ---
my $late = SyncDevice->new($uuid[3]);
sql("SELECT sync_register_device('$uuid[3]')");
$late->pull($primary);
my %old = (%$late, rows => { note => { %{ $late->{rows}{note} } } }, vector => { %{ $late->{vector} } });
sql(q{UPDATE note SET body = 'sixth' WHERE id <= 5; DELETE FROM note WHERE id = 61});
for my $d ($ann, $bob, $late) { $d->pull($primary); ack($d) }
clean_up();
my $dump = $primary->basedir . '/db.dump';
$primary->safe_psql('postgres', 'CREATE DATABASE new TEMPLATE template0');
$primary->command_ok([ 'pg_dump', '-Fc', '-f', $dump, '-d', $primary->connstr('postgres') ], 'pg_dump');
$primary->command_ok([ 'pg_restore', '--exit-on-error', '-d', $primary->connstr('new'), $dump ], 'pg_restore');
for my $table (qw(log_forgotten tombstone_release device))
{
	my $q = "SELECT md5(string_agg(t::text, E'\\n' ORDER BY t::text)) FROM offline_sync.$table t";
	is($primary->safe_psql('new', $q), sql($q), "state: $table");
}
$_->{dbname} = 'new' for $ann, $bob, $late;
is($ann->pull($primary), 0, 'who had acknowledged everything goes on in the copy');
$primary->safe_psql('new', q{UPDATE note SET body = 'seventh' WHERE id = 7});
is($ann->pull($primary), 1, 'and gets what is new there');
# one that was restored from a backup of its own, from before what was removed
%$late = (%$late, %old, dbname => 'new', resets => 0);
$late->pull($primary);
is($late->{resets}, 1, 'who comes from before begins afresh');
ok($late->rows('note', 'body') eq $ann->rows('note', 'body'), 'and has what there is');
# the copy removes what its former node wrote
$primary->safe_psql('new', sprintf "SELECT sync_ack('%s', '%s')", $_->{uuid}, JSON::PP->new->encode($_->{vector})) for $ann, $late;
$bob->pull($primary);
$primary->safe_psql('new', sprintf "SELECT sync_ack('%s', '%s')", $bob->{uuid}, JSON::PP->new->encode($bob->{vector}));
$primary->safe_psql('new', 'SELECT sync_maintenance()') for 1 .. 3;
is($primary->safe_psql('new', 'SELECT count(*) FROM offline_sync.change_log WHERE scope IS NOT NULL'), 0, 'its log goes as well');
is($_->pull($primary), 0, 'and nobody notices') for $ann, $bob, $late;

$standby->stop;
$primary->stop;
done_testing();
