# A server that dies by SIGKILL and comes back, for tests of what is durable.
#
# What has been written to the WAL and not flushed is lost then, for certain: the
# settings keep the WAL writer, autovacuum and checkpoints from flushing it by chance.
package SyncCrash;

use strict;
use warnings;
use Exporter 'import';
use PostgreSQL::Test::Utils;

our @EXPORT = qw(start_crashable server_pids kill_server start_again kill_and_restart);

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

# The ids of the postmaster and all of its children
sub server_pids
{
	my ($node) = @_;
	my ($pid) = slurp_file($node->data_dir . '/postmaster.pid') =~ /^(\d+)/;
	return ($pid, map { /^\s*(\d+)\s+$pid\s*$/ ? $1 : () } split /\n/, `ps -A -o pid=,ppid=`);
}

# Kill the postmaster and all of its children in one instant, and see them gone.  Who
# does not want to wait for them to be listed at that instant gives the list.
sub kill_server
{
	my ($node, @pids) = @_;
	@pids = server_pids($node) unless @pids;
	kill 'KILL', @pids;
	$node->kill9;
	for (1 .. 3000)
	{
		last unless grep { _is_alive($_) } @pids;
		select undef, undef, undef, 0.01;
	}
	# a dead postmaster that nobody has reaped yet would count as a running one
	unlink $node->data_dir . '/postmaster.pid', $node->host . '/.s.PGSQL.' . $node->port . '.lock';
	return;
}

sub _is_alive
{
	my ($pid) = @_;
	return 0 unless kill 0, $pid;
	open my $stat, '<', "/proc/$pid/stat" or return kill 0, $pid;
	return (readline $stat) !~ /\) Z /;
}

# A start fails while something is left of the one before.
sub start_again
{
	my ($node) = @_;
	for (1 .. 300)
	{
		return if $node->start(fail_ok => 1);
		select undef, undef, undef, 0.1;
		$node->stop('fast', fail_ok => 1);
	}
	die 'the server does not start again';
}

sub kill_and_restart
{
	my ($node) = @_;
	kill_server($node);
	start_again($node);
	return;
}

1;
