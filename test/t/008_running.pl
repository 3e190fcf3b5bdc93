# What is running when a device pulls is not claimed, wherever the pull finds that
# out: on a standby, in an old snapshot, after the standby's promotion, across
# PREPARE TRANSACTION, and in the pulling transaction itself.

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

my $json = JSON::PP->new->canonical;
my @uuid = map { sprintf 'd0000000-0000-4000-8000-%012d', $_ } 0 .. 9;

my ($primary, $standby) = start_with_standby(conf => "max_prepared_transactions = 10\n");

sub primary { return $primary->safe_psql('postgres', shift) }

primary(q{
	CREATE EXTENSION offline_sync;
	CREATE TABLE note (id int PRIMARY KEY, body text);
	SELECT sync_enable_table('note');
});
primary("SELECT sync_register_device('$uuid[$_]')") for 1 .. 9;
my @device = map { SyncDevice->new($_) } @uuid;
$device[$_]->pull($primary) for 1 .. 9;
my $node = primary('SELECT sync_node()');
catch_up($primary, $standby);

# Pull on a standby: how many changes, and does the vector claim a transaction?
sub pull_claims
{
	my ($device, $server, $xid) = @_;
	my $n = $device->pull($server);
	return "$n " . $server->safe_psql('postgres',
		"SELECT vv_covers('" . $json->encode($device->{vector}) . "', '$node', $xid)");
}

# The same by a session that has begun something; the device takes nothing in.
sub session_claims
{
	my ($session, $device, $xid) = @_;
	my $vector = $json->encode($device->{vector});
	return $session->query_safe("SELECT format('%s %s', delta_changes, claims) FROM (SELECT (SELECT count(*) FROM delta_changes(d)) AS delta_changes,"
		  . " vv_covers(delta_to(d), '$node', $xid) AS claims FROM sync_changes_since('$device->{uuid}', '$vector') d) x");
}

my $late = $primary->background_psql('postgres');
my $session = $standby->background_psql('postgres');

# --- on a standby: an id handed out before it has written anything ---
my $xid = $late->query_safe('BEGIN; SELECT pg_current_xact_id()');
my $above = primary(q{INSERT INTO note VALUES (1, 'above') RETURNING pg_current_xact_id()});
cmp_ok($above, '>', $xid, 'a transaction commits while an older one has yet to write');
catch_up($primary, $standby);
is(pull_claims($device[1], $standby, $xid), '1 f', 'the standby serves it and does not claim the older one');
is($standby->safe_psql('postgres', 'SELECT pg_snapshot_xip(pg_current_snapshot())'), '',
	'(which the snapshot, as SQL shows it, knows nothing of)');
$late->query_safe(q{INSERT INTO note VALUES (2, 'late'); COMMIT});
catch_up($primary, $standby);
is(pull_claims($device[1], $standby, $xid), '1 t', 'that one comes, alone, once it has committed');
is(pull_claims($device[1], $standby, $xid), '0 t', 'and once');

# --- more subtransactions than a standby keeps track of ---
$xid = $late->query_safe('BEGIN; SELECT pg_current_xact_id()');
$late->query_safe(join '', map { "SAVEPOINT s$_; INSERT INTO note VALUES ($_ + 100, 'sub'); " } 1 .. 70);
$above = primary(q{INSERT INTO note VALUES (3, 'above') RETURNING pg_current_xact_id()});
$late->query_safe(join '', map { "SAVEPOINT t$_; INSERT INTO note VALUES ($_ + 200, 'sub'); " } 1 .. 70);
primary(q{INSERT INTO note VALUES (12, 'above')});
catch_up($primary, $standby);
is(pull_claims($device[1], $standby, $xid), '2 f', 'the standby serves what is above and does not claim the large one');
is(pull_claims($device[1], $standby, $above), '2 f', 'nor anything above it: its list of running ones overflowed');
is(pull_claims($device[2], $primary, $above), '4 t', 'on the primary it does not');
$late->query_safe('COMMIT');
catch_up($primary, $standby);
is(pull_claims($device[1], $standby, $xid), '142 t', 'all of it comes, and for the last time what is above');
is(pull_claims($device[1], $standby, $above), '0 t', 'and once');
is(pull_claims($device[1], $primary, $xid), '0 t', 'the primary agrees');
is(pull_claims($device[2], $standby, $xid), '140 t', 'also to the one that it had served before');

# --- a snapshot that is older than the vector ---
$session->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1');
$xid = $late->query_safe(q{BEGIN; INSERT INTO note VALUES (4, 'late') RETURNING pg_current_xact_id()});
primary(q{INSERT INTO note VALUES (5, 'above')});
is(pull_claims($device[1], $primary, $xid), '1 f', 'the primary serves what the snapshot does not see');
$late->query_safe('COMMIT');
catch_up($primary, $standby);
is(session_claims($session, $device[1], $xid), '0 f', 'and the snapshot does not claim what is below that');
$session->query_safe('COMMIT');
is(pull_claims($device[1], $standby, $xid), '1 t', 'so that it comes');

# --- the pulling transaction's own id ---
my $own = $primary->background_psql('postgres');
for my $level ('READ COMMITTED', 'REPEATABLE READ')
{
	$own->query_safe("BEGIN ISOLATION LEVEL $level");
	my $own_xid = $own->query_safe(q{UPDATE note SET body = 'own' WHERE id = 1 RETURNING pg_current_xact_id()});
	primary(q{UPDATE note SET body = 'other' WHERE id = 5});
	like(session_claims($own, $device[2], $own_xid), qr/ f$/, "$level: a pull does not claim its own transaction");
	$own->query_safe('COMMIT');
	my $vector = $json->encode($device[2]{vector});
	like(pull_claims($device[2], $primary, $own_xid), qr/ t$/, "$level: a later one does");
	is($device[2]->rows('note', 'body') =~ /^1\|own$/m, 1, "$level: and brings it");
	is($device[2]->pull($primary), 0, "$level: once");
	primary(q{UPDATE note SET body = 'back' WHERE id = 1});
	$device[2]->pull($primary);
}
my $before = $json->encode($device[2]{vector});
$own->query_safe('BEGIN');
my $own_xid = $own->query_safe(q{INSERT INTO note VALUES (6, 'own') RETURNING pg_current_xact_id()});
is($own->query_safe("SELECT delta_to(sync_changes_since('$uuid[2]', '$before')) = '$before'"), 't',
	'one that nobody else has written meanwhile leaves the vector as it was');
$own->query_safe('ROLLBACK');
$own->quit;

# --- prepared, and an old snapshot, across a promotion ---
$device[$_]->pull($primary) for 1 .. 5;
my $prepared = primary(q{BEGIN; INSERT INTO note VALUES (7, 'prepared') RETURNING pg_current_xact_id(); PREPARE TRANSACTION 'p1'});
my $dropped = primary(q{BEGIN; INSERT INTO note VALUES (8, 'prepared') RETURNING pg_current_xact_id(); PREPARE TRANSACTION 'p2'});
primary(q{INSERT INTO note VALUES (9, 'above')});
catch_up($primary, $standby);
is(pull_claims($device[3], $primary, $prepared), '1 f', 'a prepared transaction is not claimed by the primary');
is(pull_claims($device[4], $standby, $prepared), '1 f', 'nor by the standby');
$session->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1');
$xid = $late->query_safe(q{BEGIN; INSERT INTO note VALUES (10, 'late') RETURNING pg_current_xact_id()});
primary(q{INSERT INTO note VALUES (11, 'above')});
$device[5]->pull($primary);
$late->query_safe('COMMIT');
$late->quit;
catch_up($primary, $standby);
$primary->stop('immediate');
$standby->promote;

is(session_claims($session, $device[5], $xid), '0 f', 'a snapshot from before the promotion does not claim what came after it');
$session->query_safe('COMMIT');
isnt($session->query_safe('SELECT sync_node()'), $node, 'the session goes on with the new node');
is(pull_claims($device[5], $standby, $xid), '1 t', 'what that snapshot did not see comes');
is(pull_claims($device[3], $standby, $prepared), '2 f', 'what was prepared is still not claimed after the promotion');

# the session that was there before writes and is the new node to the rest of the world
$session->query_safe(q{UPDATE note SET body = 'after' WHERE id = 11});
is($session->query_safe(q{SELECT string_agg(DISTINCT (e.node = sync_node())::text, ',') FROM note, row_clock_entries('note', _sync) e
	WHERE id = 11 AND column_name = 'body'}), 'true', 'its writes are the new node\'s');
is($device[3]->pull($standby), 1, 'and served');
$session->query_safe(q{COMMIT PREPARED 'p1'});
$session->query_safe(q{ROLLBACK PREPARED 'p2'});
$session->quit;
is(pull_claims($device[3], $standby, $prepared), '1 t', 'what was prepared before and committed after the promotion comes');
$device[4]->pull($standby);
is($device[4]->rows('note', 'body') =~ /^7\|prepared$/m, 1, 'also to the device that pulled from the standby');
$_->pull($standby) for @device[ 1 .. 5 ];
my $fresh = SyncDevice->new($uuid[6]);
$fresh->pull($standby);
is($_->rows('note', 'body'), $fresh->rows('note', 'body'), 'a device has it all') for @device[ 1 .. 5 ];
is($_->{resets}, 0, 'and did not start again') for @device[ 1 .. 5 ];

# the predecessor's last position is past what was recorded when it ended
is($standby->safe_psql('postgres', "SELECT sync_ack('$uuid[3]', '" . $json->encode($device[3]{vector}) . "')"), '', 'the vector is acknowledged');
is($standby->safe_psql('postgres', "SELECT vv_covers(seen, '$node', $prepared) FROM offline_sync.device WHERE device = '$uuid[3]'"),
	't', 'and believed');

$standby->stop;
done_testing();
