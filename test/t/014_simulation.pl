# A few fixed seeds of the simulation.  SEED, SEEDS and STEPS choose others;
# test/simulation/run.sh does more.

use strict;
use warnings FATAL => 'all';

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my @seeds = defined $ENV{SEED} ? ($ENV{SEED} .. $ENV{SEED} + ($ENV{SEEDS} // 1) - 1) : (1 .. 3);
my $steps = $ENV{STEPS} // 250;
my $program = PostgreSQL::Test::Utils::tempdir() . '/simulation';

is(system("make -s -C test/simulation PROGRAM='$program'"), 0, 'the simulation compiles');

my $node = PostgreSQL::Test::Cluster->new('simulation');
$node->init;
$node->append_conf('postgresql.conf', "autovacuum = off\nlog_min_messages = panic\nrestart_after_crash = on\n");
$node->start;
$ENV{PGHOST} = $node->host;
$ENV{PGPORT} = $node->port;
for my $seed (@seeds)
{
	my $output = `'$program' --seed $seed --steps $steps 2>&1`;
	is($?, 0, "seed $seed") or diag $output;
}

# it was restarted without the help of this module
$node->_update_pid(1);
$node->stop('immediate');
done_testing();
