# A primary and a standby that streams from it, as most tests of standbys need them.
package SyncStandby;

use strict;
use warnings;
use Exporter 'import';
use PostgreSQL::Test::Cluster;

our @EXPORT = qw(start_with_standby catch_up);

# conf: lines for postgresql.conf, init: options of init(); both may be left out.
sub start_with_standby
{
	my (%option) = @_;
	my $primary = PostgreSQL::Test::Cluster->new('primary');
	$primary->init(allows_streaming => 1, @{ $option{init} || [] });
	$primary->append_conf('postgresql.conf', "autovacuum = off\n" . ($option{conf} || ''));
	$primary->start;
	$primary->backup('b1');
	my $standby = PostgreSQL::Test::Cluster->new('standby');
	$standby->init_from_backup($primary, 'b1', has_streaming => 1);
	$standby->start;
	return ($primary, $standby);
}

# Wait until the standby has replayed all that there is.
sub catch_up
{
	my ($primary, $standby) = @_;
	$primary->wait_for_catchup($standby, 'replay', $primary->lsn('insert'));
	return;
}

1;
