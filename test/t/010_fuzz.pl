# Modules of test/fuzz: C code that drives our own with random input and compares
# it with an oracle.  SEED repeats a run, ROUNDS makes it longer.

use strict;
use warnings FATAL => 'all';

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# module => the sources that it drives
my %modules = (
	version_vector => [ 'src/types/version_vector.c', 'src/types/version_vector_io.c' ],
);

my $seed = $ENV{SEED} // int(rand(1_000_000));
my $rounds = $ENV{ROUNDS} // 5000;
note "SEED=$seed ROUNDS=$rounds";

sub pg_config
{
	my ($what) = @_;
	my $value = `pg_config --$what`;
	chomp $value;
	return $value;
}

my $dir = PostgreSQL::Test::Utils::tempdir_short();
chmod 0755, $dir;
my $build = join ' ', pg_config('cc'), pg_config('cflags'), pg_config('cflags_sl'),
  '-Wno-declaration-after-statement -shared -Wl,-Bsymbolic -Isrc',
  '-I' . pg_config('includedir-server');

my $node = PostgreSQL::Test::Cluster->new('fuzz');
$node->init;
$node->start;

for my $module (sort keys %modules)
{
	my $library = "$dir/fuzz_$module.so";
	is(system("$build -o $library test/fuzz/$module.c @{$modules{$module}}"), 0, "$module is built");
	$node->safe_psql('postgres',
		"CREATE FUNCTION fuzz_$module(rounds int, seed int) RETURNS void AS '$library' LANGUAGE C STRICT");
	my ($rc, $out, $err) = $node->psql('postgres', "SELECT fuzz_$module($rounds, $seed)");
	is($rc, 0, "$module, seed $seed") or diag $err;
}

done_testing();
