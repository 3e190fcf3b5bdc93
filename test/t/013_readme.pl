# The examples of the README: each block that is marked as SQL, from "Choosing a
# policy" on, does what it says.  A line "--> x" is what the statement before it
# returns: a row, its columns apart by "|"; "-->" alone is an empty one.

use strict;
use warnings FATAL => 'all';

use FindBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $readme = slurp_file("$FindBin::RealBin/../../README.md");
$readme =~ s/\A.*?^(?=## Choosing a policy$)//ms or die 'no chapter to test';

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION offline_sync');

my $n = 0;
while ($readme =~ /^```sql\n(.*?)^```$/msg)
{
	my $block = $1;
	my ($statement) = $block =~ /^(.*)$/m;
	my @wanted = $block =~ /^--> ?(.*)$/mg;

	next unless @wanted;
	my ($status, $out, $err) = $node->psql('postgres', $block);
	is("$err$out", join("\n", @wanted), 'example ' . ++$n . ": $statement");
}
cmp_ok($n, '>=', 12, 'there is an example for each policy');

$node->stop;
done_testing();
