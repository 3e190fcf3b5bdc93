# A schema change that is lost with a node's future, and another one of the same
# number after the restore: a device that had seen the first one gets what the
# second one brought, though no transaction that its vector claims was lost.

use strict;
use warnings FATAL => 'all';

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $uuid = 'd0000000-0000-4000-8000-000000000001';

# The rows that a pull from a vector brings, and the vector after it
sub pull
{
	my ($node, $vector) = @_;
	my $rows = $node->safe_psql('postgres', qq{
		SELECT string_agg(concat_ws(' ', c.kind, c.key, c.changes), E'\\n' ORDER BY c.key::text)
		FROM sync_changes_since('$uuid', '$vector') d, delta_changes(d) c});
	return ($rows, $node->safe_psql('postgres', "SELECT delta_to(sync_changes_since('$uuid', '$vector'))"));
}

my $primary = PostgreSQL::Test::Cluster->new('primary');
$primary->init(allows_streaming => 1, has_archiving => 1);
$primary->append_conf('postgresql.conf', "autovacuum = off\n");
$primary->start;
$primary->safe_psql('postgres', qq{
	CREATE EXTENSION offline_sync;
	CREATE TABLE note (id int PRIMARY KEY, body text);
	SELECT sync_enable_table('note');
	SELECT sync_register_device('$uuid');
	INSERT INTO note VALUES (1, 'x'), (2, 'y');
});
$primary->backup('base');
$primary->safe_psql('postgres', q{SELECT pg_create_restore_point('the point')});

my ($rows, $vector) = pull($primary, '{}');
like($rows, qr/body/, 'rows before the point');
$primary->safe_psql('postgres', 'ALTER TABLE note ADD lost int DEFAULT 1');
($rows, $vector) = pull($primary, $vector);
like($rows, qr/"lost": 1/, 'the column that is going to be lost');
$primary->safe_psql('postgres', 'SELECT pg_switch_wal()');

my $restored = PostgreSQL::Test::Cluster->new('restored');
$restored->init_from_backup($primary, 'base', has_restoring => 1, standby => 0);
$restored->append_conf('postgresql.conf',
	"recovery_target_name = 'the point'\nrecovery_target_action = 'promote'\narchive_mode = off\n");
$restored->start;
$restored->poll_query_until('postgres', 'SELECT NOT pg_is_in_recovery()') or die;
isnt($restored->safe_psql('postgres', 'SELECT sync_node()'), $primary->safe_psql('postgres', 'SELECT sync_node()'),
	'the restored database is another node');

$restored->safe_psql('postgres', 'ALTER TABLE note ADD kept int DEFAULT 2');
my ($brought, $after) = pull($restored, $vector);
my $told = () = $brought =~ /"kept": 2/g;
is($told, 2, 'the device gets the column that was declared after the restore');
($rows) = pull($restored, $after);
is($rows, '', 'once');

# where nothing was lost, nothing is sent twice
my $copy = PostgreSQL::Test::Cluster->new('copy');
$primary->backup('later');
$copy->init_from_backup($primary, 'later', has_streaming => 1);
$copy->start;
$primary->wait_for_catchup($copy);
$copy->promote;
($rows) = pull($copy, $vector);
is($rows, '', 'a promoted standby has the same history');

done_testing();
