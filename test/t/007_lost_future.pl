# A restored, copied or otherwise doubled database is a new node.  Old positions keep
# their meaning: a device from before carries on.  One that has seen what the copy
# never had comes from a lost future and starts again, and what the copy had never
# received from a device is asked for again.

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
my @names = qw(before behind ahead beside beside2 pusher echo fresh fresh2);
my %uuid = map { $names[$_] => sprintf 'd0000000-0000-4000-8000-%012d', $_ + 1 } 0 .. $#names;

my $primary = PostgreSQL::Test::Cluster->new('primary');
$primary->init(allows_streaming => 1, has_archiving => 1);
$primary->append_conf('postgresql.conf', "autovacuum = off\n");
$primary->start;
sub primary { return $primary->safe_psql('postgres', shift) }

# A device as it is now, to go on elsewhere
sub copy_of
{
	my ($device, $dbname) = @_;
	my $copy = bless $json->decode($json->encode({%$device})), 'SyncDevice';
	$copy->{dbname} = $dbname if defined $dbname;
	return $copy;
}

# Does a device hold what the server has?
sub is_equal
{
	my ($device, $node, $name) = @_;
	$device->pull($node);
	return is(
		$device->rows('note', 'body'),
		$node->safe_psql($device->{dbname},
			q{SELECT string_agg(line, E'\n' ORDER BY line COLLATE "C") FROM (SELECT id || '|' || body FROM note) x (line)}),
		$name);
}

primary(q{
	CREATE EXTENSION offline_sync;
	CREATE TABLE note (id int PRIMARY KEY, body text);
	INSERT INTO note SELECT n, 'first' FROM generate_series(1, 20) n;
	SELECT sync_enable_table('note');
});
primary("SELECT sync_register_device('$uuid{$_}')") for @names;
my %device = map { $_ => SyncDevice->new($uuid{$_}) } @names;
$device{$_}->pull($primary) for grep { !/fresh/ } @names;

# A crash ends a transaction, too, but nothing is lost that anybody has seen: devices
# claim it with good reason.
my $crashed = $primary->background_psql('postgres');
my $crashed_xid = $crashed->query_safe(q{BEGIN; INSERT INTO note VALUES (50, 'crashed') RETURNING pg_current_xact_id()});
primary(q{UPDATE note SET body = 'above' WHERE id = 20});
kill_and_restart($primary);
eval { $crashed->quit };
primary(q{UPDATE note SET body = 'after the crash' WHERE id = 19});
$device{$_}->pull($primary) for grep { !/fresh/ } @names;

$primary->backup('base');
my $node_of_primary = primary('SELECT sync_node()');
is(primary("SELECT vv_covers('" . $json->encode($device{before}{vector}) . "', '$node_of_primary', $crashed_xid)"), 't',
	'a transaction that a crash ended is claimed');

# --- up to the point of restoring ---
primary(q{UPDATE note SET body = 'second' WHERE id <= 10});
$device{pusher}->write('note', { id => 101 }, { insert => { body => 'kept' } });
is($device{pusher}->push($primary)->{acked_seq}, 1, 'a push before the point');
$device{$_}->pull($primary) for qw(before pusher ahead echo);

# A transaction that is open at that point while a later one has committed: what is
# lost then is below what is kept.
my $open = $primary->background_psql('postgres');
my $open_xid = $open->query_safe(q{BEGIN; UPDATE note SET body = 'lost beside' WHERE id = 11 RETURNING pg_current_xact_id()});
my $last_xid = primary(q{UPDATE note SET body = 'third' WHERE id = 1 RETURNING pg_current_xact_id()});
cmp_ok($last_xid, '>', $open_xid, 'a transaction is open below the last position that is kept');
$device{before}->pull($primary);
primary(q{SELECT pg_create_restore_point('the point')});

# --- the future that is going to be lost ---
$open->query_safe('COMMIT');
$open->quit;
$device{$_}->pull($primary) for qw(beside beside2);
like($device{beside}->rows('note', 'body'), qr/lost beside/, 'a device sees the open transaction committed');
is($device{beside}{vector}{$node_of_primary}, $last_xid, 'and claims no more than what will be kept');
my $beside_ack = $json->encode($device{beside}{vector});
primary(q{UPDATE note SET body = 'lost' WHERE id = 12; DELETE FROM note WHERE id = 13; INSERT INTO note VALUES (14 + 100, 'lost')});
$device{ahead}->pull($primary);
for (qw(pusher echo))
{
	$device{$_}->write('note', { id => 15 }, { set => { body => "pushed by $_" } });
	$device{$_}->write('note', { id => $_ eq 'echo' ? 102 : 103 }, { insert => { body => "pushed by $_" } });
	$device{$_}->push($primary);
}
$device{echo}->pull($primary);
is(primary("SELECT acked_seq FROM sync_hello('$uuid{pusher}')"), 3, 'pushes after the point are acknowledged');
# one more is in the midst of its first pull
my $page = $json->decode(primary("SELECT sync_changes_since('$uuid{fresh2}', '{}', 5)"));
$device{fresh2}->_take($_) for @{ $page->{changes} };
@{ $device{fresh2} }{qw(vector resume)} = @$page{qw(to resume)};
primary('SELECT pg_switch_wal()');

# --- restored to the point ---
my $restored = PostgreSQL::Test::Cluster->new('restored');
$restored->init_from_backup($primary, 'base', has_restoring => 1, standby => 0);
$restored->append_conf('postgresql.conf',
	"recovery_target_name = 'the point'\nrecovery_target_action = 'promote'\narchive_mode = off\n");
$restored->start;
sub restored { return $restored->safe_psql('postgres', shift) }
$restored->poll_query_until('postgres', 'SELECT NOT pg_is_in_recovery()') or die;

my $node_restored = restored('SELECT sync_node()');
isnt($node_restored, $node_of_primary, 'restored, the database is a new node');
is(restored('SELECT body FROM note WHERE id = 11') . restored('SELECT body FROM note WHERE id = 12'),
	'firstfirst', 'without what came after the point');
is(restored('SELECT body FROM note WHERE id = 1'), 'third', 'with what came before');
is(restored("SELECT count(*) FROM offline_sync.node WHERE node = '$node_restored'"), 0, 'it has not written yet');

# before it writes
my $midway = copy_of($device{fresh2});
$midway->pull($restored);
is_equal($midway, $restored, 'a first pull that goes on here ends equal, too');
is_equal($device{beside}, $restored, 'below what is kept, too, a lost change is forgotten');
is($device{beside}{resets}, 1, 'by starting again');
is($device{before}->pull($restored), 0, 'a device from before has nothing to pull');
is($device{behind}->pull($restored), 11, 'one from long before what it lacks');
is_equal(copy_of($device{ahead}), $restored, 'a lost change is forgotten');
restored("SELECT sync_ack('$uuid{beside2}', '$beside_ack')");
is( restored("SELECT vv_covers(seen, '$node_of_primary', $last_xid) FROM offline_sync.device WHERE device = '$uuid{beside2}'"),
	'f', 'an acknowledgement from a lost future is not believed');

# it writes
restored(q{UPDATE note SET body = 'after' WHERE id IN (2, 12)});
is(restored("SELECT node = '$node_restored' FROM offline_sync.node WHERE id = 2"), 't', 'its first write registers it');
is_equal($device{beside2}, $restored, 'then, too, the lost change below what is kept is forgotten');
is_equal($device{ahead}, $restored, 'and the one above');
is($device{beside2}{resets} + $device{ahead}{resets}, 2, 'by starting again');
is_equal($device{$_}, $restored, "the device $_ gets it") for qw(before behind);
is($device{before}{resets} + $device{behind}{resets}, 0, 'and does not start again');

# old positions keep their meaning: seen, and not seen
$device{before}->write('note', { id => 1 }, { set => { body => 'over the third' } });
is($device{before}->push($restored)->{conflicts}, 0, 'a write over a seen one of the old node is no conflict');
my $old = copy_of($device{fresh});
$old->pull($restored);
restored(q{UPDATE note SET body = 'meanwhile' WHERE id = 3});
$old->write('note', { id => 3 }, { set => { body => 'concurrent' } });
is($old->push($restored)->{conflicts}, 1, 'over one of the new node that was not seen it is');

# what was acknowledged and lost is asked for again
is(restored("SELECT acked_seq FROM sync_hello('$uuid{pusher}')"), 1, 'the lost pushes are not acknowledged any more');
$device{pusher}->pull($restored);
is($device{pusher}{resets}, 0, 'a device that only pushed does not start again');
$device{pusher}->write('note', { id => 104 }, { insert => { body => 'next' } });
my $answer = $device{pusher}->push($restored);
is("$answer->{status} $answer->{acked_seq}", 'gap 1', 'it is told of the gap by its next push');
$answer = $device{pusher}->push($restored);
is("$answer->{status} $answer->{acked_seq} $answer->{applied}", 'applied 4 3', 'and sends everything since');

# one that asks first, as a client does that is told to start again
$device{echo}->pull($restored);
is($device{echo}{resets}, 1, 'a device that has its lost push from the server starts again');
$device{echo}->resend_from(1 + restored("SELECT acked_seq FROM sync_hello('$uuid{echo}')"));
is($device{echo}->push($restored)->{status}, 'applied', 'and sends what was lost');
is(restored('SELECT count(*) FROM note WHERE id IN (101, 102, 103, 104)'), 4, 'everything that devices wrote is there');

$device{fresh2}->pull($restored);
is_equal($device{$_}, $restored, "the device $_ ends equal") for grep { $_ ne 'fresh' } @names;
is_equal($old, $restored, 'so does the one with a conflict');
is($device{pusher}{resets}, 0, 'none starts again for nothing');
is($device{beside}{resets} + $device{beside2}{resets} + $device{ahead}{resets} + $device{echo}{resets}, 4,
	'and none twice');
$restored->stop;

# --- copied by CREATE DATABASE ---
my $follower = SyncDevice->new($uuid{fresh});
$follower->pull($primary);
primary(q{UPDATE note SET body = 'before the copy' WHERE id = 4});
primary('CHECKPOINT');
$primary->safe_psql('template1', 'CREATE DATABASE copy TEMPLATE postgres');
my $node_of_copy = $primary->safe_psql('copy', 'SELECT sync_node()');
isnt($node_of_copy, $node_of_primary, 'a copied database is a new node');
is(primary('SELECT sync_node()'), $node_of_primary, 'the original is not');
my $there = copy_of($follower, 'copy');
is($there->pull($primary), 1, 'a device carries on with the copy');
primary(q{UPDATE note SET body = 'only in the original' WHERE id = 5});
$follower->pull($primary);
is_equal(copy_of($follower, 'copy'), $primary, 'what the original wrote later is a lost future to the copy');
$primary->safe_psql('copy', q{UPDATE note SET body = 'only in the copy' WHERE id = 6});
is_equal($there, $primary, 'the copy serves its own writes');
is($there->{resets}, 0, 'from where the device was');
is_equal($follower, $primary, 'its devices go on');
is($follower->{resets}, 0, 'undisturbed');

# --- a disk snapshot: nothing but the administrator knows ---
$primary->stop;
$primary->backup_fs_cold('disk');
$primary->start;
my $snapshot = PostgreSQL::Test::Cluster->new('snapshot');
$snapshot->init_from_backup($primary, 'disk');
$snapshot->append_conf('postgresql.conf', "archive_mode = off\n");
$snapshot->start;
is($snapshot->safe_psql('postgres', 'SELECT sync_node()'), $node_of_primary, 'a disk snapshot takes itself for the same node');
my $session = $snapshot->background_psql('postgres');
$session->query_safe("SELECT sync_node(), sync_changes_since('$uuid{fresh2}', '{}')");
my $fresh_node = $snapshot->safe_psql('postgres', 'SELECT sync_new_incarnation()');
isnt($fresh_node, $node_of_primary, 'until it is told to be another one');
is($session->query_safe('SELECT sync_node()'), $fresh_node, 'which a session notices that was there before');
is_equal($follower, $snapshot, 'a device carries on');
my $original = copy_of($follower);
primary(q{UPDATE note SET body = 'not in the snapshot' WHERE id = 7});
$original->pull($primary);
$session->query_safe(q{UPDATE note SET body = 'in the snapshot' WHERE id = 8});
$session->quit;
is_equal(copy_of($original), $snapshot, 'a device that has seen the future of the original is told apart');
is_equal($follower, $snapshot, 'the other one goes on');
is($follower->{resets}, 0, 'undisturbed');
is_equal($original, $primary, 'so does the original');

$snapshot->stop;
$primary->stop;
done_testing();
