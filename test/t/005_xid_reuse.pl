# After a crash PostgreSQL hands out again every transaction id that left nothing in
# the flushed WAL.  A vector must not claim such an id: its next owner may be a write
# that the device has to get.  And what a device was served is there afterwards.

use strict;
use warnings FATAL => 'all';

use FindBin;
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use lib "$FindBin::RealBin/../perl";
use SyncCrash;
use SyncDevice;

my $json = JSON::PP->new->canonical;
my @uuid = map { sprintf 'd0000000-0000-4000-8000-%012d', $_ } 0 .. 9;

my $node = PostgreSQL::Test::Cluster->new('reuse');
start_crashable($node);
sub sql { return $node->safe_psql('postgres', shift) }

# The id of a transaction that inserts a row
sub insert
{
	my ($id, $end) = @_;
	return sql("BEGIN; INSERT INTO note VALUES ($id, 'n') RETURNING pg_current_xact_id(); " . ($end || 'COMMIT'));
}

# The WAL writer is woken when a page of WAL is full, and flushes what comes before:
# begin a new page, so that the few records that follow do not fill it.
sub begin_wal_page { sql('SELECT pg_switch_wal()') }

sub rows_are
{
	my ($device, $name) = @_;
	is($device->rows('note', 'body'), sql(q{SELECT string_agg(id || '|' || body, E'\n' ORDER BY id::text COLLATE "C") FROM note}), $name);
}

sql(q{
	SET synchronous_commit = on;
	CREATE EXTENSION offline_sync;
	CREATE TABLE note (id int PRIMARY KEY, body text);
	SELECT sync_enable_table('note');
	CREATE TABLE apart (id int PRIMARY KEY, team text);
	SELECT sync_enable_table('apart', 'team');
});
sql("SET synchronous_commit = on; SELECT sync_register_device('$uuid[$_]', '{\"\",red}')") for 1 .. 4;
my $device = SyncDevice->new($uuid[1]);
$device->pull($node);
my $revoked = SyncDevice->new($uuid[4]);
$revoked->pull($node);
my $waiting = SyncDevice->new($uuid[2]);
$waiting->pull($node);

# --- handed out and rolled back, above what is stored ---
my $stored = insert(1);
is($device->pull($node), 1, 'a device pulls a change whose commit was asynchronous');
my $lost = insert(2, 'ROLLBACK');
is($lost, $stored + 1, 'the next id is handed out, and rolled back');
is($device->pull($node), 0, 'the device pulls, and sees nothing of it');
# a bootstrap flushes all WAL: so the id must come after it
my $begun = SyncDevice->new($uuid[3]);
$begun->pull($node);
begin_wal_page();
my $again = insert(3, 'ROLLBACK');
is($again, $lost + 1, 'another one is handed out');
is($begun->pull($node), 0, 'a device that has just begun pulls');
is($device->pull($node), 0, 'and the first one');
kill_and_restart($node);

is(sql('SELECT id FROM note'), 1, 'what a device was served is there after the crash');
my $reused = insert(4);
is($reused, $again, 'the id is handed out again');
is($device->pull($node), 1, 'the device gets what it stands for now');
rows_are($device, 'and has all rows');
is($begun->pull($node), 1, 'so does the one that had begun');
rows_are($begun, 'it has all rows, too');
is($waiting->pull($node), 2, 'so does one that had not pulled before the crash');
rows_are($waiting, 'it has all rows, too');

# --- committed, never flushed, never served ---
begin_wal_page();
my $unflushed = insert(5);
kill_and_restart($node);
is(sql('SELECT count(*) FROM note WHERE id = 5'), 0, 'a commit that nobody rests on is lost');
is(insert(6), $unflushed, 'its id is handed out again');
is($device->pull($node), 1, 'the device gets what it stands for now');
rows_are($device, 'and has all rows');

# --- ids in between: running when the device pulls, gone in the crash ---
my $open = $node->background_psql('postgres');
my $running = $open->query_safe(q{BEGIN; INSERT INTO note VALUES (7, 'n') RETURNING pg_current_xact_id()});
my $after = insert(8);
cmp_ok($after, '>', $running, 'an id is handed out while another one is running');
is($device->pull($node), 1, 'the device pulls the later one');
kill_and_restart($node);
eval { $open->quit };
cmp_ok(insert(9), '>', $after, 'ids below what was served are not handed out again');
is($device->pull($node), 1, 'the device gets what is new');
rows_are($device, 'and has all rows');

# --- positions that only events have ---
for my $event ("sync_revoke_scope('$uuid[4]', 'red')", "sync_grant_scope('$uuid[1]', 'blue')")
{
	my ($name) = $event =~ /sync_(\w+)/;
	my ($who) = $event =~ /'(.*?)'/;
	my $state = "SELECT string_agg(scope, ',' ORDER BY scope) FROM offline_sync.device_scope WHERE device = '$who' AND can_pull";
	my $xid = sql("BEGIN; SELECT sync_node(); INSERT INTO note VALUES (100, 'n') RETURNING pg_current_xact_id(); ROLLBACK") =~ s/.*\n//sr;
	is(sql("BEGIN; SELECT pg_current_xact_id(), $event; COMMIT"), $xid + 1 . '|', "$name has an id of its own");
	my $before = sql($state);
	my $vector = $json->encode(($who eq $uuid[1] ? $device : $revoked)->{vector});
	$vector = sql("SELECT delta_to(sync_changes_since('$who', '$vector'))");
	is(sql("SELECT vv_covers('$vector', sync_node(), $xid + 1)"), 't', "$name: the device is told of it");
	kill_and_restart($node);
	is(sql($state), $before, "$name: what it was told of is there after the crash");
	my $new = insert(10 + $xid);
	is(sql("SELECT vv_covers('$vector', sync_node(), $new)"), 'f', "$name: nothing is claimed that is written now");
}

$node->stop;
done_testing();
