# The server is killed in the middle of a stream of pushes, several times.  What it
# acknowledged is there afterwards, what the device sends again counts once.

use strict;
use warnings FATAL => 'all';

use FindBin;
use IPC::Run;
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use lib "$FindBin::RealBin/../perl";
use SyncDevice;

my $device = SyncDevice->new('d0000000-0000-4000-8000-000000000001');

my $node = PostgreSQL::Test::Cluster->new('crash');
$node->init;
$node->append_conf('postgresql.conf', "fsync = on\nsynchronous_commit = off\nautovacuum = off\n");
$node->start;
$node->safe_psql('postgres', q{
	CREATE EXTENSION offline_sync;
	CREATE TABLE tally (id int PRIMARY KEY, total int NOT NULL DEFAULT 0);
	CREATE TABLE note (id int PRIMARY KEY, body text);
	INSERT INTO tally VALUES (1);
	SELECT sync_enable_table('tally', NULL, '{"total": "counter"}');
	SELECT sync_enable_table('note');
	SELECT sync_register_device('d0000000-0000-4000-8000-000000000001');
});
$device->pull($node);
is($device->rows('tally', 'total'), '1|0', 'the device starts with what there was');

# plain start fails until the dead postmaster is reaped and its children are gone
sub start_again
{
	for (1 .. 300)
	{
		return if $node->start(fail_ok => 1);
		select undef, undef, undef, 0.1;
		$node->stop('fast', fail_ok => 1);
	}
	die 'the server does not start again';
}

my $written = 0;
for my $round (1 .. 4)
{
	# A stream of deltas of different sizes: each adds one note and counts it.
	my $stream = "SELECT 'pid ' || pg_backend_pid();\n";
	my $context = $device->{vector};
	for my $size (map { ($_ * 7 + $round) % 13 + 1 } 1 .. 400)
	{
		my @changes;
		for (1 .. $size)
		{
			$written++;
			$device->write('note', { id => $written }, { insert => { body => "note $written" } });
			push @changes, $device->{outbox}[-1];
			$device->write('tally', { id => 1 }, { increment => { total => 1 } });
			push @changes, $device->{outbox}[-1];
		}
		$stream .= "SELECT 'acked ' || acked_seq FROM sync_apply_delta('" . $device->delta(@changes) . "'::delta);\n";
	}

	my $out = '';
	my $psql = IPC::Run::start(
		[ $node->installed_command('psql'), '-XAtq', '-d', $node->connstr('postgres'), '-f', '-' ],
		'<', \$stream, '>', \$out, '2>', \my $err,
		IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default));
	my $wanted = 20 * $round;
	$psql->pump until (() = $out =~ /^acked/mg) >= $wanted || !$psql->pumpable;
	my ($pid) = $out =~ /^pid (\d+)/m;
	$node->kill9;
	kill 'KILL', $pid;
	eval { $psql->finish };
	my @acked = $out =~ /^acked (\d+)\n/mg;
	cmp_ok(scalar @acked, '<', 400, "round $round: killed in the middle of the stream");

	start_again();
	my $acked = $node->safe_psql('postgres', "SELECT acked_seq FROM sync_hello('$device->{uuid}')");
	cmp_ok($acked, '>=', $acked[-1], "round $round: whatever was acknowledged is stored");
	is( $node->safe_psql('postgres', 'SELECT total = (SELECT count(*) FROM note), (SELECT count(*) FROM note) FROM tally'),
		't|' . ($acked / 2),
		"round $round: and it is all there, nothing half applied, nothing twice");
	is( $node->safe_psql('postgres', "SELECT coalesce(sum(last_seq - first_seq + 1), 0) FROM offline_sync.journal WHERE last_seq >= first_seq"),
		$acked, "round $round: the journal has each change once");

	# The device does not know what arrived: it sends everything that has no answer again.
	my $answer = $device->push($node);
	is($answer->{acked_seq}, $device->{seq}, "round $round: the resent changes are taken");
	is($answer->{status}, 'applied', "round $round: and apply");
	is( $node->safe_psql('postgres', 'SELECT total, (SELECT count(*) FROM note) FROM tally'),
		"$written|$written",
		"round $round: everything counts once");
	$device->pull($node);
	is($device->rows('tally', 'total'), "1|$written", "round $round: the device agrees");
	is($device->count('note'), $written, "round $round: and has each note");
}

# A device that starts from nothing finds the same.
$node->safe_psql('postgres', q{SELECT sync_register_device('d0000000-0000-4000-8000-000000000002')});
my $other = SyncDevice->new('d0000000-0000-4000-8000-000000000002');
$other->pull($node, 300);
is($other->rows('note', 'body'), $device->rows('note', 'body'), 'another device gets the same notes');
is($other->rows('tally', 'total'), $device->rows('tally', 'total'), 'and the same total');

$node->stop;
done_testing();
