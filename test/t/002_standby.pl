# Devices pull from a hot standby: transactions that are still running on the
# primary are neither skipped nor claimed, also when their list overflows.  Then the
# standby is promoted: it is a new node, and devices carry on.

use strict;
use warnings FATAL => 'all';

use FindBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use lib "$FindBin::RealBin/../perl";
use SyncDevice;
use SyncStandby;

my @uuid = map { sprintf 'd0000000-0000-4000-8000-%012d', $_ } 0 .. 4;

my ($primary, $standby) = start_with_standby();

sub primary { return $primary->safe_psql('postgres', shift) }

primary(q{
	CREATE EXTENSION offline_sync;
	CREATE TABLE note (id int PRIMARY KEY, body text);
	INSERT INTO note SELECT n, 'before' FROM generate_series(1, 50) n;
	SELECT sync_enable_table('note');
});
primary("SELECT sync_register_device('$uuid[$_]')") for 1 .. 4;
catch_up($primary, $standby);

# --- reading ---
is($standby->safe_psql('postgres', 'SELECT sync_node()'), primary('SELECT sync_node()'), 'a standby is the same node');
is( $standby->safe_psql('postgres', "SELECT node = sync_node(), acked_seq FROM sync_hello('$uuid[1]')"),
	't|0', 'sync_hello works on a standby');
my $device = SyncDevice->new($uuid[1]);
$device->pull($standby, 20);
is($device->count('note'), 50, 'a device bootstraps from a standby');
is($device->pull($standby), 0, 'and has nothing left to pull');

# --- a transaction that commits late ---
my $late = $primary->background_psql('postgres');
$late->query_safe(q{BEGIN; INSERT INTO note VALUES (101, 'late')});
primary(q{INSERT INTO note VALUES (102, 'early')});
catch_up($primary, $standby);
is($device->pull($standby), 1, 'what is committed arrives');
ok($device->rows('note', 'body') =~ /^102\|early$/m, 'it is the one');
is($device->pull($standby), 0, 'while the other runs there is nothing new');
$late->query_safe('COMMIT');
catch_up($primary, $standby);
is($device->pull($standby), 1, 'the one that committed later arrives too, and the first one not again');
ok($device->rows('note', 'body') =~ /^101\|late$/m, 'it is the one');
is($device->pull($primary), 0, 'the primary agrees: nothing is missing');

# --- more subtransactions than a standby keeps track of ---
$late->query_safe('BEGIN');
$late->query_safe(join '', map { "SAVEPOINT s$_; INSERT INTO note VALUES ($_ + 200, 'sub'); " } 1 .. 100);
primary("INSERT INTO note VALUES (400 + $_, 'between')") for 1 .. 3;
catch_up($primary, $standby);
$device->pull($standby);
my $seen = () = $device->rows('note', 'body') =~ /between/g;
cmp_ok($seen, '==', 3, 'what is committed arrives although the list of running ones overflowed');
is($device->rows('note', 'body') =~ /sub/ ? 1 : 0, 0, 'and nothing that is not');
$late->query_safe('COMMIT');
$late->quit;
catch_up($primary, $standby);
$device->pull($standby);
my $subs = () = $device->rows('note', 'body') =~ /sub/g;
is($subs, 100, 'all of the large transaction arrives after its commit');
is($device->pull($primary), 0, 'the primary agrees');

# --- writing ---
for my $call (
	"sync_apply_delta('" . $device->delta({ seq => 1, hlc => '2026-11-20T10:00:00.000Z/0', table => 'note', key => { id => 1 }, delete => JSON::PP::true }) . "')",
	"sync_ack('$uuid[1]', '{}')", "sync_register_device('$uuid[0]')", "sync_revoke_scope('$uuid[1]', '')",
	"sync_enable_table('note')")
{
	my ($name) = $call =~ /^(\w+)/;
	my ($rc, $out, $err) = $standby->psql('postgres', "\\set VERBOSITY verbose\nSELECT $call");
	like($err, qr/ERROR:  25006: cannot execute $name\(\) (during recovery|in a read-only transaction)/,
		"$name() is refused on a standby, clearly");
}

# --- promotion ---
# One device has pushed and pulled only what the standby has; another pulls a change
# from the primary that the standby never gets.
$device->write('note', { id => 1 }, { set => { body => 'from the device' } });
$device->push($primary);
my $ahead = SyncDevice->new($uuid[2]);
$ahead->pull($primary);
my $ahead_too = SyncDevice->new($uuid[4]);
$ahead_too->pull($primary);
catch_up($primary, $standby);
my $session = $standby->background_psql('postgres');
my $node_before = $session->query_safe('SELECT sync_node()');
$session->query_safe(qq{SELECT sync_changes_since('$uuid[1]', '{}', 10)});

# The standby stops receiving; its session must stay, so stop the sender instead.
$standby->append_conf('postgresql.conf', "primary_conninfo = ''\n");
$standby->reload;
$standby->poll_query_until('postgres', 'SELECT count(*) = 0 FROM pg_stat_wal_receiver')
  or die 'the standby goes on receiving';
primary(q{INSERT INTO note VALUES (500, 'lost')});
is($ahead->pull($primary), 1, 'a device pulls a change that is going to be lost');
$ahead_too->pull($primary);
$primary->stop('immediate');
$standby->promote;

my $node_after = $session->query_safe('SELECT sync_node()');
isnt($node_after, $node_before, 'promoted, it is a new node, also for a session that was there before');
is($standby->safe_psql('postgres', 'SELECT sync_node()'), $node_after, 'every session says the same');

is($device->pull($standby), 0, 'a device that had everything has nothing to pull');
is($device->{resets}, 0, 'and does not start again');
$standby->safe_psql('postgres', q{UPDATE note SET body = 'after' WHERE id = 2});
$device->write('note', { id => 3 }, { set => { body => 'pushed after' } });
is($device->push($standby)->{status}, 'applied', 'it pushes on, from where it was');
is($device->pull($standby), 1, 'and pulls what is new');

$ahead->pull($standby);
is($ahead->{resets}, 1, 'a device that saw the lost change starts again');
unlike($ahead->rows('note', 'body'), qr/lost/, 'and forgets it');
is($ahead->rows('note', 'body'), $device->rows('note', 'body'), 'both devices hold the same');
my $fresh = SyncDevice->new($uuid[3]);
$fresh->pull($standby, 37);
is($fresh->rows('note', 'body'), $device->rows('note', 'body'), 'so does a new one');
is( $standby->safe_psql('postgres', q{SELECT string_agg(line, E'\n' ORDER BY line COLLATE "C") FROM (SELECT id || '|' || body FROM note) x (line)}),
	$device->rows('note', 'body'), 'and the table');


# The numbers of the lost future were handed out again; who has seen it pulls over the
# connection that lived through the promotion.
$session->query_safe(q{UPDATE note SET body = 'by the session' WHERE id = 2 + } . $_) for 1 .. 5;
1 while $ahead_too->take_page($session->query_safe($ahead_too->pull_sql(20)))->{more};
is($ahead_too->{resets}, 1, 'a device is told of a lost future by such a session, too');
$fresh->pull($standby);
is($ahead_too->rows('note', 'body'), $fresh->rows('note', 'body'), 'and gets what was written by it');
$session->quit;

$standby->stop;
done_testing();
