# A server that dies by SIGKILL and comes back, for tests of what is durable.
#
# What has been written to the WAL and not flushed is lost then, for certain: the
# settings keep the WAL writer, autovacuum and checkpoints from flushing it by chance.
package SyncCrash;

use strict;
use warnings;
use Exporter 'import';
use PostgreSQL::Test::Utils;

our @EXPORT = qw(start_crashable kill_and_restart);

# Initialize and start a node, with synchronous_commit off.
sub start_crashable
{
	my ($node, $conf) = @_;
	$node->init;
	$node->append_conf('postgresql.conf',
		"fsync = on\nsynchronous_commit = off\nwal_writer_delay = 10s\nautovacuum = off\n" . ($conf || ''));
	$node->start;
	return;
}

# A start fails until the dead postmaster is reaped and its children are gone.
sub kill_and_restart
{
	my ($node) = @_;
	my ($pid) = slurp_file($node->data_dir . '/postmaster.pid') =~ /^(\d+)/;
	$node->kill9;
	for (1 .. 3000)
	{
		last unless kill 0, $pid;
		select undef, undef, undef, 0.01;
	}
	for (1 .. 300)
	{
		return if $node->start(fail_ok => 1);
		select undef, undef, undef, 0.1;
		$node->stop('fast', fail_ok => 1);
	}
	die 'the server does not start again';
}

1;
