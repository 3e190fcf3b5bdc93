# Keys chosen so that the server's own hash function gives them all one value cost no
# more than others: our tables of rows are hashed with a seed.

use strict;
use warnings FATAL => 'all';

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $rows = 12000;
my $device = '11111111-1111-1111-1111-111111111111';
my $dir = PostgreSQL::Test::Utils::tempdir();

is(system("make -s -f test/fuzz/Makefile PG_CONFIG=pg_config DIR='$dir' '$dir/collide'"),
	0, 'the program that makes the keys is built');
my @keys = split /\n/, `'$dir/collide' $rows`;
is(scalar(@keys), $rows, 'it makes them');

my $node = PostgreSQL::Test::Cluster->new('hash_flood');
$node->init;
$node->start;
$node->safe_psql('postgres', qq{
	CREATE EXTENSION offline_sync;
	CREATE TABLE note (id uuid PRIMARY KEY, title text);
	SELECT sync_enable_table('note');
	SELECT sync_register_device('$device');
});

my $seq = 0;

# Push rows with these keys, and pull them; returns the seconds that it took.
sub push_keys
{
	my @changes;
	for my $key (@_)
	{
		$seq++;
		push @changes, qq({"seq":$seq,"hlc":"2026-11-20T10:00:00.000Z/0","table":"note","key":{"id":"$key"},"insert":{"title":"x"}});
	}
	my $delta = qq({"format":1,"replica":"$device","changes":[) . join(',', @changes) . ']}';
	my $begun = time;
	is($node->safe_psql('postgres',
			"SELECT status, acked_seq FROM sync_apply_delta('$delta');
			 SELECT delta_count(sync_changes_since('$device', '{}', 1000000)) >= $rows"),
		"applied|$seq\nt", 'pushed and pulled');
	return time - $begun;
}

my $usual = push_keys(map { sprintf '%08x-0000-4000-8000-%012x', rand(2**32), $_ } 1 .. $rows);
my $chosen = push_keys(@keys);
cmp_ok($chosen, '<', 5 * $usual + 1, sprintf('keys with one hash value: %.2f s, other keys: %.2f s', $chosen, $usual));

done_testing();
