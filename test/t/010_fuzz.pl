# A short, fixed run of the fuzz targets, outside a server and built with gcc's
# sanitizers.  SEED and RUNS choose another; test/fuzz/run.sh does more.

use strict;
use warnings FATAL => 'all';

use PostgreSQL::Test::Utils;
use Test::More;

my $seed = $ENV{SEED} // 1;
my $runs = $ENV{RUNS} // 10000;
my $dir = PostgreSQL::Test::Utils::tempdir();
my @targets = split ' ', `sh test/fuzz/run.sh --list`;

cmp_ok(scalar(@targets), '>=', 11, 'there are targets');

$ENV{PG_CONFIG} = 'pg_config';
my $output = `sh test/fuzz/run.sh --dir '$dir' --fixed $runs --seed $seed 2>&1`;
is($?, 0, 'no finding') or diag $output;
for my $target (@targets)
{
	like($output, qr/^$target: \d+ seeds, $runs mutated inputs, seed $seed$/m, $target);
}

done_testing();
