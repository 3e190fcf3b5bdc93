# Transactions are left open while others write all the time.  Everything else is
# delivered at once, nothing is delivered twice, pages stay as small as was asked for,
# and what a device knows of its gaps stays small, too.  When they end, what they wrote
# comes, alone and once.

use strict;
use warnings FATAL => 'all';

use FindBin;
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use lib "$FindBin::RealBin/../perl";
use SyncDevice;
use SyncSession;

my $json = JSON::PP->new->canonical;
my $page_changes = 7;
srand 1;

my $node = PostgreSQL::Test::Cluster->new('left_open');
$node->init;
$node->append_conf('postgresql.conf', "autovacuum = off\nlog_statement = none\n");
$node->start;

# every write of a row has a version of its own, and changes both columns
$node->safe_psql('postgres', q{
	CREATE EXTENSION offline_sync;
	CREATE TABLE item (id int PRIMARY KEY, version int, writer text);
	SELECT sync_enable_table('item');
	INSERT INTO item SELECT n, -n, 'before' FROM generate_series(1, 60) n;
});
my @uuid = map { sprintf 'd0000000-0000-4000-8000-%012d', $_ } 0 .. 5;
$node->safe_psql('postgres', "SELECT sync_register_device('$uuid[$_]')") for 1 .. 5;

my ($sql, $small, @open) = map { SyncSession->new($node, 'postgres') } 1 .. 5;
my $version = 100;
my %delivered;    # device -> version -> how often
my $largest = 0;
my $most_ranges = 0;

# Pull all; returns the versions that came, in order, and D and the key for what is gone
sub pulled
{
	my ($device, $max) = @_;
	my @versions;
	my $page;
	my $pages = 0;
	do
	{
		die 'there is no end of pages' if ++$pages > 100;
		my $text = $sql->ask($device->pull_sql($max // $page_changes));
		$page = $device->take_page($text);
		my $n = @{ $page->{changes} };
		$largest = $n if !defined $max && $n > $largest;
		for (@{ $page->{changes} })
		{
			push @versions, $_->{delete} ? "D$_->{key}{id}" : ($_->{insert} || $_->{set})->{version};
		}
		my ($node_vector) = map { $page->{to}{$_} } grep { $_ ne $device->{uuid} } keys %{ $page->{to} };
		my $ranges = () = ($node_vector // '') =~ /,/g;
		$most_ranges = $ranges if $ranges > $most_ranges;
	} while ($page->{more});
	$delivered{ $device->{uuid} }{$_}++ for grep { !/D/ } @versions;
	return join ' ', sort { $a cmp $b } @versions;
}
sub in_order { return join ' ', sort { $a cmp $b } @_ }

my ($early, $old, $new, $pusher) = map { SyncDevice->new($uuid[$_]) } 1 .. 4;
pulled($early);

# --- left open: one that has written, also in subtransactions, one that has an id and
# has not, and one that rolls back
$open[0]->ask('BEGIN');
for my $id (1 .. 10)
{
	$open[0]->ask('SAVEPOINT s') if $id % 2;
	$version++;
	$open[0]->ask("UPDATE item SET version = $version, writer = 'open $version' WHERE id = $id");
}
my $first_open = $version - 9;
$open[0]->ask('DELETE FROM item WHERE id = 11');
$open[0]->ask("INSERT INTO item VALUES (1000, " . ++$version . ", 'open')");
$open[1]->ask('BEGIN');
$open[1]->ask('SELECT pg_current_xact_id()');
$open[2]->ask('BEGIN');
$open[2]->ask("UPDATE item SET version = 999999, writer = 'rolled back' WHERE id BETWEEN 12 AND 15");

# --- everything else, at once
my @wrong;
for my $round (1 .. 25)
{
	my %latest;
	# not all of one round are committed in the order of their ids
	my $is_late = $round % 3 == 0;
	if ($is_late)
	{
		$small->ask('BEGIN');
		$latest{ 16 + $round % 4 } = ++$version;
		$small->ask("UPDATE item SET version = $version, writer = 'sql $version' WHERE id = 16 + $round % 4");
	}
	for (1 .. 1 + rand 4)
	{
		my $id = 20 + int rand 40;
		$latest{$id} = ++$version;
		$sql->ask("INSERT INTO item VALUES ($id, $version, 'sql $version') ON CONFLICT (id) DO UPDATE SET version = EXCLUDED.version, writer = EXCLUDED.writer");
	}
	if ($round % 5 == 0)
	{
		# larger than a page
		$sql->ask("UPDATE item SET version = $version + id, writer = 'many $version' WHERE id BETWEEN 20 AND 59");
		my $n = $sql->ask('SELECT string_agg(id::text, $$ $$) FROM item WHERE id BETWEEN 20 AND 59');
		$latest{$_} = $version + $_ for split / /, $n;
		$version += 59;
	}
	if ($round % 2)
	{
		my $id = 61 + int rand 15;
		$version++;
		$pusher->write('item', { id => $id }, { insert => { version => $version, writer => "device $version" } });
		my $answer = $pusher->take_answer($sql->ask($pusher->push_sql($pusher->delta)));
		is($answer->{status}, 'applied', 'a device pushes') if $answer->{status} ne 'applied';
		$latest{$id} = $version;
	}
	$small->ask('COMMIT') if $is_late;
	my $got = pulled($early);
	push @wrong, "round $round: $got instead of " . in_order(values %latest) if $got ne in_order(values %latest);
	my $again = pulled($early);
	push @wrong, "round $round, again: $again" if $again ne '';
	# one that pulls now and then, in a single page
	pulled($old, 1000) if $round % 6 == 0;
}
is("@wrong", '', 'what others wrote comes at once, and nothing else');

# a new device begins in the midst of it
my $all = $sql->ask('SELECT string_agg(version::text, $$ $$) FROM item');
is(pulled($new), in_order(split / /, $all), 'a new device gets all that is committed');
unlike($all, qr/\b(?:$first_open|999999)\b/, 'and nothing that is not');
is(pulled($new), '', 'and each row once');

# --- they end
my $expected = in_order($first_open .. $first_open + 10, 'D11');
$open[2]->ask('ROLLBACK');
is(pulled($early), '', 'what is rolled back never comes');
$open[0]->ask('COMMIT');
is(pulled($early), $expected, 'what was open comes when it has committed, alone');
is(pulled($new), $expected, 'to the new device, too');
is(pulled($early) . pulled($new), '', 'and once');
$open[1]->ask("UPDATE item SET version = " . ++$version . ", writer = 'late' WHERE id = 1");
$open[1]->ask('COMMIT');
is(pulled($early), $version, 'so does what was written after all else under an id from before');
is(pulled($new), $version, 'everywhere');
is(pulled($early) . pulled($new), '', 'once');
pulled($old, 1000);

for my $device ($early, $new, $old)
{
	is(join(' ', grep { $delivered{ $device->{uuid} }{$_} > 1 } keys %{ $delivered{ $device->{uuid} } }), '', 'no version was delivered twice');
	is($device->digest, $sql->ask("SELECT digest, row_count FROM sync_digest('$device->{uuid}', '')"), 'the device has all');
	is($device->{resets}, 0, 'and did not start again');
}
is($largest, $page_changes, 'no page had more than was asked for');
cmp_ok($most_ranges, '<=', 6, 'and no vector more gaps than there were open transactions and a page in the midst of one');

$_->finish for $sql, $small, @open;
$node->stop;
done_testing();
