# Mutated binary values through COPY: the server refuses or stores them, no more.
# SEED and COUNT choose other ones.

use strict;
use warnings FATAL => 'all';

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $seed = $ENV{SEED} // 1;
my $count = $ENV{COUNT} // 5000;
my $dir = PostgreSQL::Test::Utils::tempdir();

is(system("make -s -f test/fuzz/Makefile PG_CONFIG=pg_config DIR='$dir' '$dir/copy_binary'"),
	0, 'the client is built');

my $node = PostgreSQL::Test::Cluster->new('copy_binary');
$node->init;
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION offline_sync');

for my $type (qw(delta version_vector orset row_clock hlc))
{
	local %ENV = (%ENV, PGHOST => $node->host, PGPORT => $node->port, PGDATABASE => 'postgres');
	my $output = `'$dir/copy_binary' $count $seed test/fuzz/corpus $type 2>&1`;
	like($output, qr/^$type: $count mutated values, [1-9]\d* accepted, [1-9]\d* refused/,
		"$type, seed $seed");
}
is($node->safe_psql('postgres', 'SELECT 1'), '1', 'the server is there');

done_testing();
